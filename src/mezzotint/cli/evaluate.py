"""``mezzotint eval``: how accurate is a checkpoint, on its own test images or on others?"""

from __future__ import annotations

import argparse
import json

from mezzotint.cli.output import line, warn
from mezzotint.cli.progress import counted

EXAMPLES = """\
  mezzotint eval runs/digits
  mezzotint eval runs/digits/checkpoints/step-00000110
  mezzotint eval runs/lenet5 ../shared/data/mnist
  mezzotint eval runs/resnet50 ~/imagenet-val --protocol squash256
  mezzotint eval runs/photos --json | jq .accuracy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("checkpoint", metavar="CKPT_OR_RUN", help="run folder (its newest checkpoint) or checkpoint")
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help='another data set, or "digits" (default: the run\'s own)'
    )
    parser.add_argument("--split", help="another part of the data set, for example train")
    parser.add_argument(
        "--protocol", help="another evaluation protocol, NAME or NAME:SETTING=VALUE,... (default: the run's own)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a sentence")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; 0."""
    from mezzotint.train.evaluate_checkpoint import evaluate_checkpoint

    with counted("evaluating", quiet=arguments.quiet or arguments.json) as watch:
        found = evaluate_checkpoint(
            arguments.checkpoint,
            data=arguments.data,
            split=arguments.split,
            protocol=arguments.protocol,
            watch=watch,
        )
    for warning in found.warnings:
        warn(warning)
    result = found.result
    if arguments.json:
        numbers = {"accuracy": result.accuracy, "loss": result.loss, "correct": result.correct, "count": result.count}
        line(json.dumps({"checkpoint": str(found.folder), "data": found.data, **numbers}))
    else:
        line(
            f"accuracy {100 * result.accuracy:.2f} % ({result.correct:,} of {result.count:,}), loss {result.loss:.4f}"
            f" · {found.data} · {found.folder}"
        )
    return 0
