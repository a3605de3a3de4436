"""``mezzotint bench infer FILE``: how fast do the engines of this machine run the reader's own network?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mezzotint.cli.bench import check, measure_inference, numbers
from mezzotint.cli.export import network_of
from mezzotint.cli.output import line
from mezzotint.errors import InputError, message

_SIZES = "sizes from 1, as 3,224,224"
_COUNTS = "whole numbers from 1, as 1,8,32"


def run(arguments: argparse.Namespace) -> int:
    """Check, measure, print a table, write a file; 0."""
    _check_file(arguments)
    sizes = None
    if arguments.shape is not None:
        sizes = numbers("--shape", arguments.shape, int, _SIZES, once=False)
        if min(sizes) < 1:
            raise InputError(message("--shape", received=arguments.shape, allowed=_SIZES))
    check(arguments, numbers("--batch", arguments.batch or "1", int, _COUNTS))

    from mezzotint.bench import infer, infer_file

    engines = infer.chosen(arguments.engines)
    known, fixed = infer_file.check_file(arguments.file, sizes)
    batches = numbers("--batch", arguments.batch or str(fixed or 1), int, _COUNTS)

    def settings(batch: int, folder: Path) -> list[Any]:
        return infer_file.settings_of_file(known, fixed, batch, arguments.threads, engines, folder)

    file = measure_inference(known.network, batches, settings, arguments.rounds, arguments.output)
    line(f"written: {file}")
    return 0


def _check_file(arguments: argparse.Namespace) -> None:
    path: Path | None = arguments.file
    if path is None:
        raise InputError(message("--shape", received="it without a file", allowed="with `bench infer FILE`"))
    if arguments.action != "infer":
        received = f"{path} with `bench {arguments.action}`"
        raise InputError(message("FILE", received=received, allowed="with `bench infer` only"))
    for option, given in (("--network", arguments.network), ("--densities", arguments.densities)):
        if given:
            allowed = "one of the two: a file holds its network and its zeros"
            raise InputError(message(option, received=f"it with {path}", allowed=allowed))
    if network_of(path) is not None:
        received = f"{path}, whose network is of another package"
        fix = "Write it as ONNX: mezzotint export RUN -f onnx -o net.onnx."
        raise InputError(message("FILE", received=received, allowed="a file that holds its network", fix=fix))
