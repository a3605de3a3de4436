"""``mezzotint export``: how does a trained network leave the house?"""

from __future__ import annotations

import argparse
from pathlib import Path

from mezzotint.cli.output import line

EXAMPLES = """\
  mezzotint export runs/digits -f safetensors -o digits.safetensors
  mezzotint export runs/digits/checkpoints/step-00000110 -f pt2 -o digits.pt2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "checkpoint", metavar="CKPT", type=Path, help="run folder (its newest checkpoint) or checkpoint"
    )
    parser.add_argument("-f", "--format", required=True, choices=("safetensors", "pt2"), help="what to write")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, type=Path, help="where to")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and tell its path; 0."""
    from mezzotint import deploy

    deploy.export(arguments.checkpoint, arguments.format, arguments.output)
    line(str(arguments.output))
    return 0
