"""``mezzotint predict``: what does a network see in images, and how sure is it?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.cli.output import console, line, note, shell

if TYPE_CHECKING:
    from mezzotint.deploy import Classifier, Guess

EXAMPLES = """\
  mezzotint predict runs/digits three.png
  mezzotint predict digits.safetensors *.png holiday/ --top 3 --json
  mezzotint predict digits.onnx three.png -o picture.png
  mezzotint predict resnet50.onnx photo.jpg --protocol torchvision --classes imagenet.txt \\
      --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="run folder, checkpoint, .safetensors or .onnx file")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", type=Path, help="image files of any format, or folders: all images below"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes are told (default: 5)")
    parser.add_argument("--json", action="store_true", help="write one JSON object an image instead of tables")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="PNG with the images and their bars")
    parser.add_argument(
        "--protocol", help="how an image becomes the input, NAME or NAME:SETTING=VALUE,... (default: the model's own)"
    )
    parser.add_argument("--classes", metavar="FILE", type=Path, help="names of the classes, one a line, or a JSON list")
    parser.add_argument("--mean", type=float, nargs="+", default=(), help="per channel, of pixels in [0, 1]")
    parser.add_argument("--std", type=float, nargs="+", default=(), help="likewise")
    parser.add_argument("--threads", type=int, help="of the arithmetic (default: PyTorch's own number)")
    parser.add_argument("--fallback", choices=("onnxruntime",), help="who runs an .onnx file that cannot be run here")


def run(arguments: argparse.Namespace) -> int:
    """Tell what is seen; 0, or 2 where one of several images cannot be read."""
    from mezzotint.data.preview_file import check_output
    from mezzotint.errors import InputError, MezzotintError, message

    if arguments.top < 1:
        raise InputError(message("--top", received=arguments.top, allowed="at least 1"))
    if arguments.output is not None:
        check_output(arguments.output)
    classifier = _classifier(arguments)
    images = list(_files(arguments.images))
    found: list[tuple[Path, tuple[Guess, ...]]] = []
    for path in images:
        try:
            guesses = classifier(path, arguments.top)
        except MezzotintError as error:
            if len(images) == 1:
                raise
            note(f"error: {error}")
            continue
        found.append((path, guesses))
        if arguments.json:
            line(json.dumps({"image": str(path), "top": [_as_json(guess) for guess in guesses]}))
        else:
            _table(path, guesses)
    if arguments.output is not None and found:
        from mezzotint.data.preview_bars import draw_bars

        rows = [(path, [(guess.name, guess.probability) for guess in guesses]) for path, guesses in found]
        draw_bars(rows, arguments.output)
        if not arguments.json:
            line(str(arguments.output))
    return 0 if len(found) == len(images) else 2


def _files(given: Iterable[Path]) -> Iterator[Path]:
    """The images named, and those in the folders named and below, by name."""
    from mezzotint.data.sources.files import images_below
    from mezzotint.errors import InputError, message

    for path in given:
        if not path.is_dir():
            yield path
            continue
        inside = [path / name for name in images_below(path)]
        if not inside:
            raise InputError(message("image", received=f"'{path}', a folder without images", allowed="image files"))
        yield from inside


def _classifier(arguments: argparse.Namespace) -> Classifier:
    from mezzotint import deploy
    from mezzotint.cli.export import network_of

    place = Path(arguments.model)
    _require_model(place, arguments.images)
    network = network_of(place)
    if network is None:
        session = deploy.Session(place, arguments.threads, fallback=arguments.fallback)
    else:
        loaded = deploy.load(place, model=network)
        session = deploy.Session(loaded, arguments.threads, description=deploy.describe(place))
    names = [] if arguments.classes is None else _names(arguments.classes)
    settings: dict[str, Any] = {"protocol": arguments.protocol, "mean": arguments.mean, "std": arguments.std}
    return deploy.Classifier(session, classes=names, **settings)


def _require_model(place: Path, images: Iterable[Path]) -> None:
    """Put right what is commonest: no such path, the two arguments exchanged, a folder that is no run.

    Raises:
        InputError: it is one of these.
    """
    from mezzotint.cli.files import near_to
    from mezzotint.data.sources.files import has_image_extension
    from mezzotint.errors import InputError, message

    allowed = "a run folder, a checkpoint, or a .safetensors or .onnx file"
    what = fix = ""
    if not place.exists():
        what, fix = "does not exist", near_to(place)
    elif place.is_file() and has_image_extension(place.name):
        first = next(iter(images))
        what, fix = "is an image", f"The network comes first: mezzotint predict {shell(first)} {shell(place)}"
    elif place.is_dir() and not any((place / name).exists() for name in ("checkpoints", "state.json", "latest")):
        runs = sorted(item.name for item in place.iterdir() if (item / "checkpoints").is_dir())
        what = "is a folder, but no run"
        fix = f"Runs inside it: {', '.join(runs[:8])}." if runs else "`mezzotint train` writes run folders below runs/."
    if what:
        raise InputError(message("MODEL", received=f"{str(place)!r}, which {what}", allowed=allowed, fix=fix))


def _names(path: Path) -> list[str]:
    from mezzotint.errors import InputError, message

    try:
        text = path.read_text(encoding="utf-8")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        received = f"the error {told}"
        raise InputError(
            message(f"--classes {path}", received=received, allowed="lines of text, or a JSON list")
        ) from error
    return [str(name).strip() for name in listed if str(name).strip()]


def _as_json(guess: Guess) -> dict[str, Any]:
    return {"class": guess.name, "index": guess.index, "probability": round(guess.probability, 6)}


def _table(path: Path, guesses: tuple[Guess, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    line(str(path))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for guess in guesses:
        bar = "\u2588" * round(20 * guess.probability)
        table.add_row(f"{100 * guess.probability:6.2f} %", Text(guess.name), Text(bar, style="blue"))
    console().print(table)
