"""``mezzotint report``: how does one look at a run, or at several side by side?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mezzotint.cli.output import line, note, shell

EXAMPLES = """\
  mezzotint report runs/digits
  mezzotint report runs/digits --live
  mezzotint report runs/dense runs/sparse -o comparison.html
  mezzotint report sweeps/mnist
  mezzotint report runs/dense sweeps/mnist -o comparison.html   # a sweep among several stands for its runs

With --live the page is served on this machine alone, also while another process trains, and renews itself.
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
    parser.add_argument("--live", action="store_true", help="serve the page on 127.0.0.1 and renew it; Ctrl-C ends it")
    parser.add_argument("--port", type=int, metavar="N", help="with --live (default: any that is free)")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and tell its path, or serve it until Ctrl-C; 0."""
    from mezzotint import report
    from mezzotint.errors import ConfigError, message

    if arguments.live and arguments.output is not None:
        raise ConfigError(message("--output", received=str(arguments.output), allowed="nothing together with --live"))
    if arguments.port is not None and not arguments.live:
        raise ConfigError(message("--port", received=arguments.port, allowed="a port together with --live"))
    _require_html(arguments.output)
    if arguments.live:
        return _serve(arguments.runs, arguments.port or 0)
    if len(arguments.runs) == 1 and (arguments.runs[0] / "sweep.json").is_file():
        path = report.write_sweep(arguments.runs[0], arguments.output)
    elif len(arguments.runs) == 1:
        path = report.write_report(arguments.runs[0], arguments.output)
    else:
        path = report.write_comparison(arguments.runs, arguments.output or Path("comparison.html"))
    line(str(path))
    note(f"open it in a browser: all is in this one file, which can be mailed{_and_live(arguments.runs)}")
    return 0


def _and_live(runs: list[Path]) -> str:
    """How a page of a run that is under way renews itself."""
    from mezzotint.report.lock import being_trained

    under_way = len(runs) == 1 and being_trained(runs[0])
    return f". The run is under way: mezzotint report {shell(runs[0])} --live renews the page" if under_way else ""


def _require_html(output: Path | None) -> None:
    from mezzotint.errors import ConfigError, message

    if output is not None and output.suffix.lower() not in (".html", ".htm", ""):
        received, fix = f"{str(output)!r}", f"{str(output.with_suffix('.html'))!r}, say; a browser prints it as PDF."
        raise ConfigError(message("--output", received=received, allowed="a name that ends in .html", fix=fix))


def _serve(runs: list[Path], port: int) -> int:
    from mezzotint.report.live import LiveReport

    with LiveReport(runs, port=port) as live:
        line(f"{live.address} shows {', '.join(map(str, runs))} as it trains; Ctrl-C ends it")
        sys.stdout.flush()  # also where somebody reads it through a pipe
        try:
            live.serve()
        except KeyboardInterrupt:
            line("ended")
    return 0
