"""What do the protocols make of an image? ``draw_preview`` shows the original and their results in one PNG."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.data.decode import read_image
from mezzotint.data.magic import FORMATS, HEAD_BYTES, image_format
from mezzotint.data.picture import View, compose
from mezzotint.data.preview_file import check_output, write_sheet
from mezzotint.data.protocols import get_protocol
from mezzotint.errors import ImageError, InputError, message

_FORMATS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


@dataclass(frozen=True, kw_only=True)
class PreviewResult:
    """What was drawn.

    Attributes:
        source: the image.
        output: the PNG.
        height, width: the image's size in pixels.
        protocols: the names of the protocols shown.
        seed: what picked the image in its folder, so that it can be picked again; None where the image was named.
    """

    source: Path
    output: Path
    height: int
    width: int
    protocols: tuple[str, ...]
    seed: int | None


def draw_preview(
    image_or_folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    seed: int | None = None,
    protocols: Sequence[str] = ("squash256", "central875"),
) -> PreviewResult:
    """Draw an image and what the protocols make of it side by side into a PNG.

    The file is written whole or not at all. An existing file is replaced only if it is an earlier preview, so that no
    image is ever lost.

    Args:
        image_or_folder: an image, or a folder; of a folder, one image at any depth is picked at random, going by the
            files' contents and not by their names.
        output: the PNG to write; its folder is made when absent.
        seed: of the pick; equal seeds pick equal images of equal folders. None draws a new one, see `PreviewResult`.
        protocols: names of `mezzotint.data.protocols`, at least one.

    Raises:
        ImageError: there is no such image, or none in the folder, or it cannot be read.
        InputError: the output cannot be written, or is a file that is no preview, or no protocol is named.
        NotRegistered: there is no protocol of that name.
    """
    source, target = Path(image_or_folder), Path(output)
    check_output(target)
    if not protocols:
        raise InputError(message("protocols", received="no name", allowed="at least one name of a protocol"))
    chosen = [get_protocol(name) for name in protocols]
    folder = source if source.is_dir() else None
    if folder is None:
        seed = None
    else:
        seed = secrets.randbelow(2**32) if seed is None else seed
        source = pick_image(folder, seed, leave_out=target)
    image = read_image(source)
    views = [View(protocol=protocol, values=protocol(image)) for protocol in chosen]
    height, width = image.shape[0], image.shape[1]
    title = str(source.relative_to(folder)) if folder else source.name
    sheet = compose(image, views, title=title, subtitle=f"{_kind(source)}, {width} x {height} pixels")
    write_sheet(sheet, target)
    return PreviewResult(
        source=source, output=target, height=height, width=width, protocols=tuple(protocols), seed=seed
    )


def pick_image(folder: Path, seed: int, *, leave_out: Path | None = None) -> Path:
    """A random image of a folder and its subfolders, every one equally likely; the same for the same seed.

    Files are looked at in a random order until one begins like an image, so that a folder of a million files costs a
    listing and not a million openings.

    Raises:
        ImageError: there is no image.
    """
    files = [path for path in _files_below(folder) if leave_out is None or not _same(path, leave_out)]
    count, order = len(files), random.Random(seed)
    while files:
        place = order.randrange(len(files))
        files[place], files[-1] = files[-1], files[place]
        path = files.pop()
        if _kind(path) is not None:
            return path
    received = f"a folder with {count} files and no image among them" if count else "a folder without any file"
    raise ImageError(message(str(folder), received=received, allowed=f"a folder with a {_FORMATS} image at any depth"))


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, in an order that depends on their names alone."""
    try:
        for place, folders, names in os.walk(folder, onerror=_fail):
            folders.sort()
            yield from (Path(place, name) for name in sorted(names))
    except OSError as error:
        received = f"the system's answer {str(error.strerror or error)!r}"
        allowed = "a folder that may be listed, with all of its subfolders"
        raise ImageError(message(str(error.filename), received=received, allowed=allowed)) from error


def _fail(error: OSError) -> None:
    raise error


def _kind(path: Path) -> str | None:
    """The format of an image file, or None for everything that is not a readable image."""
    if not path.is_file():  # a pipe, a socket, a dangling link
        return None
    try:
        with path.open("rb") as file:
            return image_format(file.read(HEAD_BYTES))
    except OSError:
        return None


def _same(one: Path, other: Path) -> bool:
    return one.name == other.name and one.resolve() == other.resolve()
