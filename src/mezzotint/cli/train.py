"""``mezzotint train``: how is a network trained from a shell, and a stopped run taken up again?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli.output import console, line

if TYPE_CHECKING:
    from mezzotint.train import RunResult

EXAMPLES = """\
  mezzotint train configs/digits.toml
  mezzotint train configs/digits.toml --set sparsity.density=0.05 precision.mode=bf16 -o runs/five-percent
  mezzotint train configs/digits.toml -o runs/five-percent --resume
  mezzotint train runs/five-percent --resume
  mezzotint train runs/five-percent --from step-00000110
  torchrun --nproc-per-node 2 -m mezzotint train configs/digits.toml

Ctrl-C (SIGINT) and SIGTERM let the step finish, save and end with exit code 130 or 143; a second Ctrl-C ends at once.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help="TOML file, or the folder of a run to resume")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change keys of the configuration; values in TOML's notation, quotes may be left out around one word",
    )
    parser.add_argument(
        "-o", "--output", metavar="RUN", type=Path, help="run folder (default: runs/<name of the configuration>)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run folder")
    parser.add_argument(
        "--from", dest="checkpoint", metavar="STEP", help="go on from this checkpoint, for example step-00000110"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 128 + the number of the signal that stopped it."""
    from mezzotint.train import load_config, train
    from mezzotint.train.progress import Silent, make_progress
    from mezzotint.train.ranks import described, restarted

    file, folder = arguments.config, arguments.output
    if (file / "config.toml").is_file():
        file, folder = file / "config.toml", folder or file
    config = load_config(file, arguments.overrides)
    leads = described().leads
    result = train(
        config,
        folder=folder,
        resume=arguments.resume or restarted(),
        from_checkpoint=arguments.checkpoint,
        progress=Silent() if arguments.quiet else make_progress(console()),
    )
    if leads:
        line(_last_words(result))
    return 128 + result.signal if result.signal is not None else 0


def _last_words(result: RunResult) -> str:
    if result.summary is None:
        name = result.signal.name if result.signal is not None else "request"
        return (
            f"stopped by {name} after step {result.step}; everything is saved."
            f" Go on with: mezzotint train {result.folder} --resume"
        )
    accuracy = 100 * result.summary["test_accuracy"]
    return f"test accuracy {accuracy:.2f} % · {result.folder} · next: mezzotint report {result.folder}"
