"""How does a preview reach the disk without harm? Whole or not at all, and never over a file that is no preview."""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mezzotint.errors import InputError, message

_MARK = b"tEXtSoftware\0mezzotint preview"  # the chunk that this module writes right after the PNG's header


def check_output(target: Path) -> None:
    """Refuse a place where no preview may be written.

    Raises:
        InputError: not a .png, a folder, or a file that is no earlier preview.
    """
    allowed = "the path of a PNG file to write"
    if target.suffix.lower() != ".png":
        fix = f"Name it {target.with_suffix('.png').name!r}." if target.name else ""
        raise InputError(message(str(target), received="a name that does not end in .png", allowed=allowed, fix=fix))
    if target.is_dir():
        raise InputError(message(str(target), received="a folder", allowed=allowed))
    if target.exists() and not _is_preview(target):
        fix = "Choose another name, or remove it yourself; only earlier previews are replaced."
        raise InputError(message(str(target), received="an existing file", allowed=allowed, fix=fix))


def _is_preview(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _MARK in file.read(256)
    except OSError:
        return False


def _mark() -> PngInfo:
    keyword, text = _MARK[4:].decode().split("\0")
    mark = PngInfo()
    mark.add_text(keyword, text)
    return mark


def write_sheet(sheet: Image.Image, target: Path) -> None:
    """Write the sheet as a PNG that is known as a preview, in a folder that is made when absent.

    Raises:
        InputError: the system refuses.
    """
    data = BytesIO()
    sheet.save(data, "PNG", pnginfo=_mark())
    _write_whole(target, data.getvalue())


def _write_whole(target: Path, data: bytes) -> None:
    """Write beside the target first, then rename: whoever looks sees the old file or the new one, whole."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        received = f"{error.strerror or error}"
        fix = "Check the folder's permissions and the space on its disk, or choose another place."
        raise InputError(
            message(str(target), received=received, allowed="a place that can be written", fix=fix)
        ) from error
