"""How are JPEG files decoded fast, and only the part of them that is looked at? By the libjpeg-turbo of Pillow's wheel.

Pillow itself decodes whole files, and copies the pixels twice. The native library calls the same libjpeg-turbo without
that detour, and can leave out the columns beside a crop, the rows above it (both are still parsed, which is most of the
work) and everything below it. The levels are Pillow's, bit for bit, whole or in part.

Its slowest part, the decoding of Huffman codes, is done by a faster one of our own where the file is baseline (nearly
all are) and the library lets us. A thread keeps its decompressor from file to file.

simplejpeg stands in where Pillow brings no library of its own (a Linux distribution's uses the system's, which is tried
first) and decodes whole files. All of them are strict: what is not flawless, they leave to Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes.util import find_library
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.kernels import images, native
from mezzotint.kernels.images import Box, JpegHeader, Resizing, Size

try:
    import simplejpeg
except ImportError:  # the extra "fast" is not installed
    simplejpeg = None


def header(data: bytes) -> JpegHeader | None:
    """What the header says; None where something is wrong with it, or nothing here reads JPEG files fast."""
    if turbo_problem() is None:
        return images.jpeg_header(data)
    if simplejpeg is None:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, MemoryError):
        return None
    return JpegHeader(height, width, 0 if colours in ("CMYK", "YCCK") else 3)


def decode(data: bytes, box: Box, size: Size) -> Tensor | None:
    """The part ``box`` of a file of ``size`` as RGB levels, uint8 [box.height, box.width, 3]; or None: Pillow decides.

    None where the file is not RGB, YCbCr or grey, or not flawless. Faults behind the last row of the box go unnoticed,
    except that the file is cut off: whether it ends as it should is looked at.
    """
    if turbo_problem() is None:
        return images.jpeg_decode(data, box, size)
    if simplejpeg is None:
        return None
    try:
        whole = torch.from_numpy(simplejpeg.decode_jpeg(data))
    except (ValueError, MemoryError):
        return None
    return whole[box.top :, box.left :][: box.height, : box.width]


def resize(files: Sequence[tuple[bytes, Resizing]]) -> list[Tensor | None]:
    """Of each file what is seen after a resize, uint8 [window.height, window.width, 3]; or None as `decode`."""
    return images.jpeg_resize(files) if turbo_problem() is None else [None] * len(files)


def decoder() -> str:
    """What decodes JPEG files here, in a few words."""
    if turbo_problem() is None:
        ours = ", Huffman codes by mezzotint" if native.extension().jpeg_own_entropy() else ""
        return f"{Path(str(_library_path())).name}, also in part{ours}"
    return "Pillow" if simplejpeg is None else "simplejpeg"


@cache
def turbo_problem() -> str | None:
    """None, or one sentence why the native library cannot decode JPEG files here."""
    if (reason := native.unavailable()) is not None:
        return reason
    path = _library_path()
    if path is None:
        return "no libjpeg was found beside Pillow, nor in the system"
    reason = images.jpeg_use(path)
    return f"{path} cannot be used: {reason}" if reason else None


def _library_path() -> str | None:
    try:
        beside = [file for file in files("pillow") or [] if file.name.startswith("libjpeg")]
    except PackageNotFoundError:
        beside = []
    return str(beside[0].locate()) if beside else find_library("jpeg")
