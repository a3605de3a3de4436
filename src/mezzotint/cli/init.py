"""``mezzotint init``: how does one get a configuration for one's own images? By looking at them."""

from __future__ import annotations

import argparse
from pathlib import Path

from mezzotint.cli.output import line, shell, warn

EXAMPLES = """\
  mezzotint init photos/
  mezzotint init photos/ -o photos.toml --minutes 20
  mezzotint init ~/cifar-10-batches-bin -o cifar.toml
  mezzotint init photos/ --every --json

Looks at classes, counts, sizes and modes, finds damaged and doubtful files, and writes a configuration in which every
choice is explained. `mezzotint train photos/` does the same and trains at once.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("data", metavar="FOLDER", help="data set of any kind: class folders, tar, parquet, IDX, CIFAR")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("config.toml"), help="default: config.toml"
    )
    add_minutes(parser)
    parser.add_argument("--every", action="store_true", help="decode every image, however long that takes")
    parser.add_argument("--json", action="store_true", help="write what was found and chosen as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="write the file and tell only what looks odd")


def add_minutes(parser: argparse.ArgumentParser) -> None:
    """``--minutes``, which `train` has too."""
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="choose network and epochs for about N minutes (default: 60)"
    )


def minutes_of(arguments: argparse.Namespace) -> float:
    """The time that was asked for.

    Raises:
        InputError: it is none.
    """
    from mezzotint.errors import InputError, message
    from mezzotint.train.recipe import MINUTES

    if arguments.minutes is None:
        return MINUTES
    if not 0 < arguments.minutes < float("inf"):
        raise InputError(message("--minutes", received=arguments.minutes, allowed="a number above 0"))
    return float(arguments.minutes)


def run(arguments: argparse.Namespace) -> int:
    """Look, tell, write the file; 0."""
    from mezzotint.cli import looking
    from mezzotint.cli.files import refuse_present, written

    refuse_present(arguments.output)
    quiet = arguments.quiet or arguments.json
    found = looking.look(arguments.data, minutes=minutes_of(arguments), quiet=quiet, every=arguments.every)
    written(arguments.output, found.text)
    if arguments.json:
        line(looking.as_json(found, file=str(arguments.output)))
        return 0
    if not arguments.quiet:
        line("found")
        line(looking.block(looking.facts(found.survey)))
        line("chosen")
        line(looking.block(looking.chosen(found)))
    for sentence in looking.remarks(found.survey):
        warn(sentence)
    line(f"{arguments.output} · next: mezzotint train {shell(arguments.output)}")
    return 0
