"""``mezzotint preview``: what do protocols and augmentations make of an image, and what is in a data set?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli.output import line
from mezzotint.cli.parser import at_least

if TYPE_CHECKING:
    from torch import Tensor

    from mezzotint.data.source import Source

EXAMPLES = """\
  mezzotint preview photo.jpg -o preview.png
  mezzotint preview ../shared/data/imagenet_samples -o preview.png --seed 7
  mezzotint preview photo.jpg --augment rand_augment --augment colour_jitter --epoch 3
  mezzotint preview photo.jpg --protocol squash256 --protocol timm:crop_mode=border,crop_pct=0.95
  mezzotint preview photo.jpg --augment all
  mezzotint preview --config run.toml --epoch 12 --sample 4711
  mezzotint preview data/cifar10 --contact 48 --split test
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    help_source = "an image, or a folder to draw one from; with --contact a data set; with --config it may be left out"
    parser.add_argument("source", metavar="IMAGE_OR_FOLDER", type=Path, nargs="?", help=help_source)
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("preview.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="which image of the folder is drawn (default: 0)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--augment", metavar="NAME", action="append", help='a grid of this augmentation, or of "all"')
    what.add_argument("--config", metavar="FILE", type=Path, help="a grid of what a run with this configuration sees")
    what.add_argument("--contact", metavar="N", type=int, help="a sheet of N labelled images of the data set")
    what.add_argument(
        "--protocol",
        metavar="NAME",
        action="append",
        help="protocols side by side, NAME or NAME:SETTING=VALUE,... (default: two)",
    )
    parser.add_argument("--epoch", type=at_least(0), default=0, help="first epoch of the grid (default: 0)")
    parser.add_argument(
        "--sample", type=at_least(0), default=0, help="number of the sample in the data set (default: 0)"
    )
    parser.add_argument("--split", default="train", help="part of the data set on the contact sheet (default: train)")


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture and tell its path; 0."""
    from mezzotint.errors import InputError, message

    if arguments.source is None and arguments.config is None:
        raise InputError(message("IMAGE_OR_FOLDER", received="nothing", allowed="an image, a folder, or --config FILE"))
    if arguments.contact is not None:
        _contact(arguments)
    elif arguments.augment or arguments.config:
        _grid(arguments)
    else:
        from mezzotint.data.preview import draw_preview

        protocols = arguments.protocol or ("squash256", "central875")
        draw_preview(arguments.source, arguments.output, seed=arguments.seed, protocols=protocols)
    line(str(arguments.output))
    return 0


def _contact(arguments: argparse.Namespace) -> None:
    from mezzotint.data.preview_grid import draw_contact_sheet
    from mezzotint.data.source import open_source

    source = open_source(str(arguments.source), arguments.split)
    draw_contact_sheet(source, arguments.output, count=arguments.contact, seed=arguments.seed)


def _grid(arguments: argparse.Namespace) -> None:
    from mezzotint.data.decode import read_image
    from mezzotint.data.preview import pick_image
    from mezzotint.data.preview_grid import draw_augmentations
    from mezzotint.data.transform import build_transform

    chain, seed, names = None, arguments.seed, [name for name in arguments.augment or () if name != "all"]
    path, image = arguments.source, None
    if arguments.config is not None:
        from mezzotint.train.config_file import load_config
        from mezzotint.train.inputs import open_part

        config = load_config(arguments.config)
        chain, seed = build_transform(config.data.augment), config.seed
        if path is None:
            image = _sample(open_part(config.data, config.data.train_split), arguments.sample)
    if image is None:
        image = read_image(pick_image(path, arguments.seed, leave_out=arguments.output) if path.is_dir() else path)
    place = {"seed": seed, "epoch": arguments.epoch, "sample": arguments.sample}
    draw_augmentations(image, arguments.output, names=names, transform=chain, **place)


def _sample(source: Source, index: int) -> Tensor:
    from mezzotint.errors import InputError, message

    if not 0 <= index < len(source):
        raise InputError(message("--sample", received=index, allowed=f"0 to {len(source) - 1}"))
    return source.read(index)[0]
