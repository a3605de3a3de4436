"""``mezzotint data``: what can be done with a data set before a run? Pack it into one file that is fast to read."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli.output import console, line, note, warn

if TYPE_CHECKING:
    from mezzotint.data.packing import PackResult
    from mezzotint.data.source import Source

EXAMPLES = """\
  mezzotint data pack imagenet/ -o shards/train.tar --size 256
  mezzotint data pack imagenet/ --split val -o shards/val.tar --size 256
  mezzotint data pack photos/ -o photos.tar --shuffle 7 --on-error skip
  mezzotint data pack train-images.parquet -o train.tar
  mezzotint train run.toml --set data.path="'shards'"

`mezzotint data pack --help` shows the arguments. The same command goes on after a stop, however that came about.
"""

_LINES = 10  # where there is no terminal: a line for every tenth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    what = "write a data set as one tar that WebDataset reads, with an index beside it"
    pack = actions.add_parser("pack", help=what, summary=what, examples=EXAMPLES)
    pack.add_argument("source", metavar="SOURCE", help='data set of any kind: a path, a pattern, or "digits"')
    pack.add_argument("-o", "--output", metavar="OUT.tar", type=Path, required=True, help="archive to write")
    pack.add_argument("--split", default="train", help="part of the data set (default: train)")
    pack.add_argument(
        "--size", type=int, metavar="N", help="reduce shorter sides above N pixels to N (default: copy all images)"
    )
    pack.add_argument("--quality", type=int, default=90, help="JPEG quality of reduced images (default: 90)")
    pack.add_argument(
        "--shuffle",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="pack in a random order (seed 0 if none is given)",
    )
    pack.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="at an image that cannot be read: stop, or leave it out and list it at the end (default: fail)",
    )
    pack.add_argument(
        "--overwrite", action="store_true", help="replace OUT.tar, or an unfinished one of other settings"
    )
    pack.add_argument("--threads", type=int, metavar="N", help="that read and encode (default: one a core)")
    pack.add_argument("--json", action="store_true", help="no progress, and at the end one JSON object")
    pack.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Pack; 0, or 128 + the signal that stopped it."""
    from mezzotint.data.packing import PackSettings, pack
    from mezzotint.data.source import open_source
    from mezzotint.kernels.resources import resources
    from mezzotint.train.signals import StopRequest

    settings = PackSettings(size=arguments.size, quality=arguments.quality, shuffle=arguments.shuffle)
    source = open_source(arguments.source, arguments.split)
    threads = arguments.threads if arguments.threads is not None else resources().cores
    with StopRequest() as request, _progress(source, quiet=arguments.quiet or arguments.json) as watch:
        result = pack(
            source,
            arguments.output,
            settings,
            on_error=arguments.on_error,
            overwrite=arguments.overwrite,
            threads=threads,
            watch=watch,
            stop=lambda: request.signal is not None,
        )
    if arguments.json:
        line(_as_json(result))
        return 128 + request.signal if not result.finished and request.signal is not None else 0
    _tell(result)
    if result.finished or request.signal is None:
        return 0
    line(f"stopped by {request.signal.name}; {result.images:,} images are packed. The same command goes on.")
    return 128 + request.signal


def _as_json(result: PackResult) -> str:
    content = {"file": str(result.path), "finished": result.finished, "images": result.images, "bytes": result.bytes}
    left_out = [{"name": name, "reason": reason} for name, reason in result.skipped]
    return json.dumps({**content, "left_out": left_out})


def _tell(result: PackResult) -> None:
    for _, reason in result.skipped:
        warn(f"left out: {reason}")
    if result.finished:
        left_out = f", {len(result.skipped):,} left out" if result.skipped else ""
        line(f"{result.path}: {result.images:,} images, {result.bytes / 1e6:,.1f} MB{left_out}")


@contextmanager
def _progress(source: Source, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Something to tell how many are done: a bar on a terminal, a line for every tenth elsewhere, or nothing."""
    out, total = console(stderr=True), len(source)
    if quiet:
        yield None
    elif not out.is_terminal:
        yield _lines(source.describe(), total)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=out, expand=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda done: bar.update(task, completed=done)


def _lines(heading: str, total: int) -> Callable[[int], None]:
    began = time.perf_counter()
    first: int | None = None

    def watch(done: int) -> None:
        nonlocal first
        if first is None:
            first = done
            note(heading + (f", going on after {done:,}" if done else ""))
        elif done * _LINES // total > (done - 1) * _LINES // total:
            left = (time.perf_counter() - began) / (done - first) * (total - done)
            note(f"{done:,} of {total:,}, {left:.0f} s left")

    return watch
