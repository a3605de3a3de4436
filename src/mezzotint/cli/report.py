"""``mezzotint report``: how does one look at a run, or at several side by side?"""

from __future__ import annotations

import argparse
from pathlib import Path

from mezzotint.cli.output import line

EXAMPLES = """\
  mezzotint report runs/digits
  mezzotint report runs/dense runs/sparse -o comparison.html
  mezzotint report sweeps/mnist
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folder or sweep, finished or not")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="HTML file (default: RUN/report.html; comparison.html for several runs)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page and tell its path; 0."""
    from mezzotint import report

    if len(arguments.runs) == 1 and (arguments.runs[0] / "sweep.json").is_file():
        path = report.write_sweep(arguments.runs[0], arguments.output)
    elif len(arguments.runs) == 1:
        path = report.write_report(arguments.runs[0], arguments.output)
    else:
        path = report.write_comparison(arguments.runs, arguments.output or Path("comparison.html"))
    line(str(path))
    return 0
