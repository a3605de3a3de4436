"""``mezzotint preview``: what do the evaluation protocols keep of an image?"""

from __future__ import annotations

import argparse
from pathlib import Path

from mezzotint.cli.output import line

EXAMPLES = """\
  mezzotint preview photo.jpg -o preview.png
  mezzotint preview ../shared/data/imagenet_samples -o preview.png --seed 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("source", metavar="IMAGE_OR_FOLDER", type=Path, help="an image, or a folder to draw one from")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("preview.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="which image of the folder is drawn (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture and tell its path; 0."""
    from mezzotint.data.preview import draw_preview

    draw_preview(arguments.source, arguments.output, seed=arguments.seed)
    line(str(arguments.output))
    return 0
