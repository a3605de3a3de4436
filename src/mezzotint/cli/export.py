"""``mezzotint export``: how does a trained network leave the house?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli.output import line

if TYPE_CHECKING:
    from torch import nn

EXAMPLES = """\
  mezzotint export runs/digits -f safetensors -o digits.safetensors
  mezzotint export runs/digits/checkpoints/step-00000110 -f pt2 -o digits.pt2
  mezzotint export runs/digits -f onnx -o digits.onnx          # zeros written out: any ONNX program runs it
  mezzotint export runs/digits -f onnx-sparse -o small.onnx    # values and indices alone
"""
FORMATS = ("safetensors", "pt2", "onnx", "onnx-sparse")
"""The keys of ``mezzotint.deploy.FORMATS``, which would load torch for a help text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "checkpoint", metavar="CKPT", type=Path, help="run folder (its newest checkpoint) or checkpoint"
    )
    parser.add_argument("-f", "--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, type=Path, help="where to")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and tell its path; 0."""
    from mezzotint import deploy

    model = network_of(arguments.checkpoint)
    deploy.export(arguments.checkpoint, arguments.format, arguments.output, model=model)
    line(str(arguments.output))
    return 0


def network_of(place: Path) -> nn.Module | None:
    """The network of a run whose configuration names one of another package; None where the library has it.

    Files of weights never name code; the configuration of a run does, as it did when the run was trained.
    """
    from mezzotint import models
    from mezzotint.train import checkpoint
    from mezzotint.train.config import RunConfig
    from mezzotint.train.inputs import InputRecord
    from mezzotint.train.parts import dense_network
    from mezzotint.train.table import from_table

    if not place.is_dir():
        return None
    state = checkpoint.load(checkpoint.locate(place)).state
    config = from_table(RunConfig, state["config"])
    if not models.is_external(config.model.name):
        return None
    return dense_network(config, InputRecord.from_json(state["data"]))
