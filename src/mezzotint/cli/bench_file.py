"""``mezzotint bench infer FILE``: how fast do the engines of this machine run the reader's own network?"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
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
    ours = [engine for engine in engines if engine.startswith("mezzotint")]
    if arguments.steps and not ours:
        fix = 'Say --engines "mezzotint bf16", say.'
        raise InputError(
            message("--steps", received="it with other engines alone", allowed="with one of ours", fix=fix)
        )
    known, fixed = infer_file.check_file(arguments.file, sizes)
    batches = numbers("--batch", arguments.batch or str(fixed or 1), int, _COUNTS)

    def settings(batch: int, folder: Path) -> list[Any]:
        return infer_file.settings_of_file(known, fixed, batch, arguments.threads, engines, folder)

    file = measure_inference(known.network, batches, settings, arguments.rounds, arguments.output)
    if arguments.steps:
        with TemporaryDirectory() as place:
            for batch in batches:
                for setting in infer_file.settings_of_file(known, fixed, batch, arguments.threads, ours, Path(place)):
                    line(f"{setting.engine}: {profile_of(setting)}")
    line(f"written: {file}")
    return 0


def profile_of(setting: Any) -> Any:
    """What each step of a session takes."""
    from mezzotint.bench import infer_engines, machine

    with machine.using_threads(setting.threads):
        return infer_engines.session_of(setting).profile([infer_engines.images(setting)])


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
