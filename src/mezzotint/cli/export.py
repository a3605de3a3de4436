"""``mezzotint export``: how does a trained network leave the house?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli.output import line, note, shell

if TYPE_CHECKING:
    from torch import nn

    from mezzotint.errors import InputError

EXAMPLES = """\
  mezzotint export runs/digits -o digits.safetensors           # the name says the format
  mezzotint export runs/digits/checkpoints/step-00000110 -o digits.pt2
  mezzotint export runs/digits -o digits.onnx                  # zeros written out: any ONNX program runs it
  mezzotint export runs/digits -f onnx-sparse -o small.onnx    # values and indices alone
"""
_ENDINGS = {"safetensors": ".safetensors", "pt2": ".pt2", "onnx": ".onnx", "onnx-sparse": ".onnx"}
"""Of the files in each format; the keys are those of ``mezzotint.deploy.FORMATS``, which would load torch for a help
text."""
FORMATS = tuple(_ENDINGS)
_BY_NAME = {".safetensors": "safetensors", ".pt2": "pt2", ".onnx": "onnx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "checkpoint", metavar="CKPT", type=Path, help="run folder (its newest checkpoint) or checkpoint"
    )
    parser.add_argument("-f", "--format", choices=FORMATS, help="what to write (default: what FILE ends with)")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="where to; must be given")


def run(arguments: argparse.Namespace) -> int:
    """Write the file, and tell its path and what can be done with it; 0."""
    from mezzotint import deploy

    if arguments.output is None:
        raise _needs_output(arguments.checkpoint, arguments.format)
    format_ = arguments.format or _format_of(arguments.output)
    _check_name(arguments.output, format_)
    model = network_of(arguments.checkpoint)
    replaced = ", which replaced another" if arguments.output.exists() else ""
    deploy.export(arguments.checkpoint, format_, arguments.output, model=model)
    line(str(arguments.output))
    predict = f"next: mezzotint predict {shell(arguments.output)} IMAGE"
    read = "torch.export.load reads it" if format_ == "pt2" else predict
    zeros = " (-f onnx-sparse would leave the zeros out)" if format_ == "onnx" else ""
    note(f"{format_} file of {arguments.output.stat().st_size / 1e6:.3g} MB{zeros}{replaced}; {read}")
    return 0


def _needs_output(place: Path, format_: str | None) -> InputError:
    """Not argparse's own words: a line to copy tells which file to name."""
    from mezzotint.errors import InputError, message

    ending = _ENDINGS.get(format_ or "", ".onnx")
    option = f" -f {format_}" if format_ else ""
    name = (place.parent.parent if place.parent.name == "checkpoints" else place).resolve().stem
    fix = f"For example: mezzotint export {shell(place)}{option} -o {shell(name + ending)}"
    return InputError(message("--output", received="nothing", allowed="the file to write", fix=fix))


def _format_of(output: Path) -> str:
    from mezzotint.errors import InputError, message

    found = _BY_NAME.get(output.suffix.lower())
    if found is None:
        fix = f"Or say the format: --format {'|'.join(FORMATS)}."
        raise InputError(
            message("--output", received=f"'{output}'", allowed=f"a name in {', '.join(_BY_NAME)}", fix=fix)
        )
    return found


def _check_name(output: Path, format_: str) -> None:
    """Who opens the file goes by its name; one that says nothing is as good as any."""
    from mezzotint.errors import InputError, message

    ending, found = _ENDINGS[format_], output.suffix.lower()
    if found in _BY_NAME and found != ending:
        fix = f"Name it {shell(output.with_suffix(ending))}, or leave --format out."
        raise InputError(
            message("--output", received=f"'{output}' with --format {format_}", allowed=f"a name in {ending}", fix=fix)
        )


def network_of(place: Path) -> nn.Module | None:
    """The network of a run whose configuration names one of another package; None where the library has it.

    Files of weights never name code; the configuration of a run does, as it did when the run was trained.

    Raises:
        InputError: a file holds the weights of a network that only its owner's program has.
    """
    from mezzotint import deploy, models
    from mezzotint.errors import InputError, message
    from mezzotint.train import checkpoint
    from mezzotint.train.config import RunConfig
    from mezzotint.train.inputs import InputRecord
    from mezzotint.train.parts import dense_network
    from mezzotint.train.table import from_table

    if place.suffix == ".safetensors" and place.is_file() and deploy.describe(place).architecture is None:
        raise InputError(
            message(
                f"file {place}",
                received="weights alone, of a network that is not one of mezzotint.models",
                allowed="a file that holds its network, too",
                fix="In the program that has the network, write it as ONNX, for which no class is needed: "
                'mezzotint.deploy.export(model, "onnx", "net.onnx", description=...).',
            )
        )
    if not place.is_dir():
        return None
    state = checkpoint.load(checkpoint.locate(place)).state
    config = from_table(RunConfig, state["config"])
    if not models.is_external(config.model.name):
        return None
    return dense_network(config, InputRecord.from_json(state["data"]))
