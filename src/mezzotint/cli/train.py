"""``mezzotint train``: how is a network trained from a shell, and a stopped run taken up again?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mezzotint.cli.init import add_minutes, minutes_of
from mezzotint.cli.output import console, line, note, shell, warn
from mezzotint.cli.progress import Patient

if TYPE_CHECKING:
    from mezzotint.errors import InputError
    from mezzotint.train import RunConfig, RunResult

EXAMPLES = """\
  mezzotint train photos/                                   # class folders, a tar, ...: what fits them is chosen
  mezzotint train photos/ --minutes 10 -o runs/first
  mezzotint train photos/ --density 0.05 --epochs 30 -o runs/five-percent
  mezzotint train configs/digits.toml
  mezzotint train configs/digits.toml --set sparsity.density=0.05 precision.mode=bf16 -o runs/five-percent
  mezzotint train configs/digits.toml -o runs/five-percent --resume
  mezzotint train runs/five-percent --resume
  mezzotint train runs/five-percent --from step-00000110
  torchrun --nproc-per-node 2 -m mezzotint train configs/digits.toml

--density, --method, --epochs and --lr are short forms of --set with sparsity.density, sparsity.method, schedule.epochs
and optimizer.lr.
Ctrl-C (SIGINT) and SIGTERM let the step finish, save and end with exit code 130 or 143; a second Ctrl-C ends at once.
`mezzotint config` lists all keys of a configuration, `mezzotint init photos/` writes one without training.
"""


_PREPARING: Final = "preparing: reading images, building the network ..."
_EDIT: Final = "each choice with its reason, to be changed and trained again"


class _Short(argparse.Action):
    """An option that stands for ``--set KEY=VALUE``; ``const`` is the key. Of several, the last on the line counts."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add it to the overrides, its value as TOML writes it."""
        namespace.overrides = [*namespace.overrides, f"{self.const}={json.dumps(values)}"]


_SHORT: Final[tuple[tuple[str, type, str, str, str], ...]] = (
    ("density", float, "D", "sparsity.density", "share of the weights that exist, above 0; 1 trains the dense network"),
    ("method", str, "NAME", "sparsity.method", "how weights move; `mezzotint config method` lists the methods"),
    ("epochs", int, "N", "schedule.epochs", "how often every image is trained on"),
    ("lr", float, "RATE", "optimizer.lr", "the learning rate"),
)


class _Asked(NamedTuple):
    """A configuration, where it goes, and the text to keep of it where it has comments."""

    config: RunConfig
    folder: Path | None
    text: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "config", metavar="CONFIG_OR_DATA", help="TOML file, the folder of a run to resume, or images to train on"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change keys of the configuration; values in TOML's notation, quotes may be left out around one word",
    )
    for name, kind, shown, key, meaning in _SHORT:
        parser.add_argument(f"--{name}", action=_Short, const=key, type=kind, metavar=shown, help=meaning)
    parser.add_argument(
        "-o", "--output", metavar="RUN", type=Path, help="run folder (default: runs/<name of the configuration>)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run folder")
    parser.add_argument(
        "--from", dest="checkpoint", metavar="STEP", help="go on from this checkpoint, for example step-00000110"
    )
    add_minutes(parser)
    parser.add_argument("--json", action="store_true", help="no progress, and at the end one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 128 + the number of the signal that stopped it."""
    from mezzotint.train import train
    from mezzotint.train.progress import Silent, make_progress
    from mezzotint.train.ranks import described, restarted
    from mezzotint.train.run_folder import default_folder

    quiet = arguments.quiet or arguments.json
    leads = described().leads
    asked = _asked(arguments, quiet=quiet or not leads)
    folder = asked.folder or default_folder(asked.config.name)
    finished = arguments.checkpoint is None and (folder / "summary.json").is_file()
    watcher = Silent() if quiet else make_progress(console())
    with Patient(watcher, "" if quiet or not leads else _PREPARING) as progress:
        result = train(
            asked.config,
            folder=folder,
            resume=arguments.resume or restarted(),
            from_checkpoint=arguments.checkpoint,
            progress=progress,
            text=asked.text,
        )
    if leads:
        if finished and not arguments.json:
            note(
                f"{result.folder} was finished before, nothing was left to train; a longer one is a run of its own (-o)"
            )
        line(_as_json(result) if arguments.json else _last_words(result, asked.config))
    return 128 + result.signal if result.signal is not None else 0


def _asked(arguments: argparse.Namespace, *, quiet: bool) -> _Asked:
    """What the argument means: a run, a file, or images."""
    from mezzotint.errors import InputError, message
    from mezzotint.train import load_config

    place, folder = Path(arguments.config).expanduser(), arguments.output
    kept = place / "config.toml"
    images = _is_data(arguments.config, place)
    if arguments.minutes is not None and not images:
        received = f"it with {arguments.config!r}, which is no data set"
        fix = "Set schedule.epochs in the configuration."
        raise InputError(message("--minutes", received=received, allowed="with images", fix=fix))
    if images:
        return _for_images(arguments, quiet=quiet)
    if place.suffix != ".toml" and (not place.exists() or _is_one_image(place)):
        raise _neither(place)
    if kept.is_file():
        of_run = (place / "checkpoints").is_dir()
        return _Asked(load_config(kept, arguments.overrides), folder or (place if of_run else None))
    return _Asked(load_config(place, arguments.overrides), folder)


def _is_data(word: str, place: Path) -> bool:
    """Whether the argument names images. A folder that holds a configuration counts as a run or as that file."""
    if word == "digits" and not place.exists():
        return True
    if place.is_dir():
        return not (place / "config.toml").is_file()
    if place.suffix == ".toml":
        return False
    return place.suffix in (".tar", ".parquet") or (not place.exists() and any(sign in word for sign in "*?[{"))


def _for_images(arguments: argparse.Namespace, *, quiet: bool) -> _Asked:
    """A run on images without a configuration: the one that was begun, or one with what fits them."""
    from mezzotint.cli import looking
    from mezzotint.errors import InputError, message
    from mezzotint.train import load_config
    from mezzotint.train.ranks import described, restarted
    from mezzotint.train.recipe import run_name
    from mezzotint.train.run_folder import default_folder, refuse_existing

    folder = arguments.output or default_folder(run_name(arguments.config))
    begun = folder / "config.toml"
    goes_on = arguments.resume or arguments.checkpoint is not None
    if goes_on and arguments.minutes is not None:
        fix = "A run goes on with the epochs that it was started with; -o names the folder of another one."
        raise InputError(message("--minutes", received="it for a run that goes on", allowed="with a new run", fix=fix))
    if (goes_on or restarted()) and begun.is_file():
        return _Asked(load_config(begun, arguments.overrides), folder)
    if goes_on:
        received, fix = f"it, and no run lies in {str(folder)!r}", "Leave it out to start one, or name the run with -o."
        raise InputError(message("--resume", received=received, allowed="with a run that was started", fix=fix))
    if described().size > 1:
        raise _needs_file(arguments.config)
    refuse_existing(folder)
    found = looking.look(arguments.config, minutes=minutes_of(arguments), overrides=arguments.overrides, quiet=quiet)
    if not quiet:
        line(looking.block([*looking.facts(found.survey), *looking.chosen(found), ("written", f"{begun}: {_EDIT}")]))
    for sentence in looking.remarks(found.survey):
        warn(sentence)
    return _Asked(found.config, folder, found.text)


def _is_one_image(place: Path) -> bool:
    from mezzotint.data.sources.files import is_image

    return place.is_file() and is_image(place)


def _neither(place: Path) -> InputError:
    from mezzotint.cli.files import near_to
    from mezzotint.errors import InputError, message

    what, fix = "does not exist", near_to(place, "digits")
    if place.exists():
        what = "is a single image"
        fix = f"Give the folder above its class folder, perhaps {str(place.absolute().parent.parent)!r}."
    allowed = 'a TOML file, the folder of a run, or images (a folder with one subfolder for each class, ..., "digits")'
    return InputError(message("CONFIG_OR_DATA", received=f"{str(place)!r}, which {what}", allowed=allowed, fix=fix))


def _needs_file(where: str) -> InputError:
    from mezzotint.errors import InputError, message

    fix = f"Write one with `mezzotint init {shell(where)}` first."
    return InputError(message("CONFIG", received="images", allowed="a TOML file with several processes", fix=fix))


def _as_json(result: RunResult) -> str:
    signal = result.signal.name if result.signal is not None else None
    finished = result.summary is not None
    content = {"run": str(result.folder), "finished": finished, "step": result.step, "signal": signal}
    return json.dumps({**content, "summary": result.summary})


def _last_words(result: RunResult, config: RunConfig) -> str:
    if result.summary is None:
        name = result.signal.name if result.signal is not None else "request"
        return (
            f"stopped by {name} after step {result.step}; everything is saved."
            f" Go on with: mezzotint train {shell(result.folder)} --resume"
        )
    summary = result.summary
    found = f"test accuracy {_accuracy(summary)} · {result.folder}"
    if summary["diverged"]:
        smaller = min(config.optimizer.lr / 10, 0.1 * config.data.batch_size / 128)
        fix = f"try a smaller learning rate, with another -o: --set optimizer.lr={smaller:.2g}"
        return f"diverged: the loss has run away · {found} · {fix}"
    folder = shell(result.folder)
    told = [found, *_doubts(summary, config), f"next: mezzotint report {folder}, mezzotint predict {folder} IMAGE"]
    return " · ".join(told)


def _doubts(summary: dict[str, Any], config: RunConfig) -> list[str]:
    """What should be known of a result before it is believed: it is a guess, or the way to it was rough."""
    found = []
    if summary["as_a_guess"]:
        chance = f"always naming the largest class gets {100 * summary['chance']:.0f} % right"
        if summary["test_accuracy"] > summary["chance"]:
            found.append(f"too few test images to tell it from guessing ({chance}): test on more")
        else:
            found.append(f"no better than guessing ({chance}): train longer (--epochs) or at another rate (--lr)")
    lost = summary["diverged_epochs"]
    if lost:
        epochs = f"epoch {lost[0] + 1}" if len(lost) == 1 else f"{len(lost)} epochs (last in {lost[-1] + 1})"
        found.append(f"the loss had run away in {epochs} and came back: a smaller learning rate may end better")
    skipped = summary["skipped_steps"]
    if skipped and not config.precision.scales:
        found.append(f"{skipped} steps left out, as their gradients were not finite")
    return found


def _accuracy(summary: dict[str, Any]) -> str:
    """The share, with the numbers where there are too few images for its digits."""
    from mezzotint.report.numbers import ENOUGH_IMAGES, percent

    share, images = summary["test_accuracy"], summary["test_images"]
    if images >= ENOUGH_IMAGES:
        return f"{100 * share:.2f} %"
    told = percent(share, 2).replace("\N{NO-BREAK SPACE}", " ")
    return f"{told} ({round(share * images)} of {images} images)"
