"""How does a file, a buffer, an array or a Pillow image become RGB levels? ``read_image``, for all of them.

An encoded image goes down a chain. Its format is found by its magic bytes, never by its extension. JPEG files of three
or one channels are decoded by libjpeg-turbo itself (`mezzotint.data.jpeg`; Pillow's values), strictly: anything odd is
left to Pillow, which decodes it or fails. What fails is an `ImageError` that names the file, the reason and the remedy;
nothing is ever made up for missing data.

``read_part`` reads no more of an image than what will be looked at, for training crops and evaluation protocols.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from mezzotint.data import jpeg
from mezzotint.data.arrays import Layout, rgb_levels
from mezzotint.data.content import file_content
from mezzotint.data.convert import rgb_from_pillow
from mezzotint.data.magic import FORMATS, image_format, other_content
from mezzotint.data.orientation import Orientation, turned
from mezzotint.data.part import Part, Wanted
from mezzotint.data.pillow_file import PILLOW_ERRORS, check_size, exif_orientation, orientation_tag, read_with_pillow
from mezzotint.errors import ImageError, message, suggest
from mezzotint.kernels.images import Box, Resizing, Size

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[Any] | Tensor
)

MAX_PIXELS = 89_478_485
"""The default size limit, Pillow's own: a quarter of a GiB of RGB."""

_ALLOWED = f"a complete {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"


def read_image(
    source: ImageSource,
    *,
    orientation: Orientation = "ignore",
    max_pixels: int = MAX_PIXELS,
    layout: Layout = "auto",
    name: str | None = None,
) -> Tensor:
    """Read an image as RGB levels: a fresh uint8 tensor [H, W, 3], contiguous, on the CPU.

    ===================  ==========================================================================================
    stored               becomes
    ===================  ==========================================================================================
    RGB, YCbCr           RGB
    grey, 1 bit          three equal channels; 1 bit gives 0 and 255, 2 and 4 bits are spread over 0..255
    palette              its RGB; a transparent entry keeps its colour
    alpha                dropped: the colour stays as stored, nothing is composited (as ``convert("RGB")`` does)
    CMYK, YCCK           Pillow's conversion, Adobe's inverted JPEG files included
    16 bits a channel    ``round(value * 255 / 65535)``, in grey and in colour (Pillow clips the one and cuts the other)
    animation            the first frame (GIF, PNG, WebP), the first page (TIFF)
    32-bit int, float    an error: no value is known to be white
    a float array        values in [0, 1], rounded to the nearest level; see `mezzotint.data.arrays` for all types
    ===================  ==========================================================================================

    Colour profiles and gamma chunks are ignored, as in every common training pipeline.

    Args:
        source: a path; the bytes of an image file; a Pillow image; or an array or tensor, [H, W], [H, W, C] or
            [C, H, W] with 1 to 4 channels. A Pillow image is read by the mode that it has.
        orientation: ``"ignore"`` the EXIF orientation, as the published ImageNet results do, or ``"apply"`` it. The
            orientation tag of a TIFF file is treated alike (Pillow alone would always apply it).
        max_pixels: files and Pillow images that declare more pixels are refused before memory is spent on them.
        layout: where the channels of an array are; ``"auto"`` decides by the shape, or fails.
        name: how errors call the source, where that is better known than the path or "image bytes".

    Raises:
        ImageError: the source is missing, no image, damaged, too large, or of a kind without a rule.
    """
    _check_options(orientation, max_pixels)
    if isinstance(source, np.ndarray | Tensor):
        return rgb_levels(source, layout=layout, name=name or f"image {type(source).__name__}")
    if isinstance(source, Image.Image):
        return torch.from_numpy(_from_pillow(source, orientation, max_pixels, name or "Pillow image"))
    name, data = _named_bytes(source, name)
    return _decoded(data, name, orientation, max_pixels, None).levels


def read_part(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    wanted: Wanted | None,
    *,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> Part:
    """Read of an image file what is wanted, or more; its EXIF orientation is ignored.

    The levels are those of `read_image`. Only JPEG files can be read in part; of all others the whole is returned. A
    fault in a JPEG file behind the last row that is wanted goes unnoticed, except that the file is cut off.

    Args:
        source: a path, or the bytes of an image file.
        wanted: says for the size of the image which part of it is needed, or how it shall be resized: JPEG files are
            then resized at once, of all others the part, or the whole, is returned. None: all of it.
        max_pixels, name: as in `read_image`.

    Raises:
        ImageError: as `read_image`, and whatever ``wanted`` raises.
    """
    _check_options("ignore", max_pixels)
    name, data = _named_bytes(source, name)
    return _decoded(data, name, "ignore", max_pixels, wanted)


def _check_options(orientation: str, max_pixels: int) -> None:
    if orientation not in get_args(Orientation):
        raise ImageError(message("orientation", received=orientation, allowed='"ignore" or "apply"'))
    if not isinstance(max_pixels, int) or max_pixels < 1:
        raise ImageError(message("max_pixels", received=max_pixels, allowed="a whole number of pixels, at least 1"))


def _named_bytes(source: object, name: str | None) -> tuple[str, bytes]:
    if isinstance(source, str | os.PathLike):
        name = name or str(os.fspath(source))
        return name, _file_bytes(Path(source), name)
    if isinstance(source, bytes | bytearray | memoryview):
        return name or "image bytes", bytes(source)
    received = f"an object of type {type(source).__name__}"
    allowed = "a path, bytes, a Pillow image, a NumPy array or a tensor"
    raise ImageError(message(name or "image", received=received, allowed=allowed))


def _file_bytes(path: Path, name: str) -> bytes:
    try:
        kind = path.stat().st_mode
        if stat.S_ISREG(kind) or stat.S_ISDIR(kind):  # a pipe or a device might never end
            return file_content(path)
        received, fix = "something that is not a regular file", "Read it yourself and pass the bytes."
    except FileNotFoundError:
        received, fix = "no such file", _missing(path, name)
    except IsADirectoryError:
        received, fix = "a folder", "Name one image in it; `mezzotint preview` accepts a folder and picks one."
    except PermissionError:
        received, fix = "a file that may not be read", "Change its permissions, or run as its owner."
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        received, fix = f"an unreadable file ({error})", "Check the path and the disk."
    raise ImageError(message(name, received=received, allowed=_ALLOWED, fix=fix))


def _missing(path: Path, name: str) -> str:
    if name.startswith(("http://", "https://")):
        return "Addresses are not fetched: download it and pass the file or its bytes."
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist."
    try:
        return f"Check the path.{suggest(path.name, os.listdir(path.parent))}"
    except OSError:  # the folder may be entered, not listed
        return "Check the path."


def read_parts(
    files: Sequence[bytes], wanted: Sequence[Wanted], *, names: Sequence[str], max_pixels: int = MAX_PIXELS
) -> list[Part | None]:
    """`read_part` of several image files; None where it raises an error.

    What is resized while it is decoded is made in one call: threads that read images do not wait for each other.
    """
    _check_options("ignore", max_pixels)
    parts: list[Part | None] = [None] * len(files)
    resized: dict[int, tuple[Size, Resizing]] = {}
    for place, (data, want, name) in enumerate(zip(files, wanted, names, strict=True)):
        with suppress(Exception):  # whatever it is, read_part will raise it where somebody expects it
            request = _fast_request(data, name, max_pixels, want) if image_format(data[:64]) == "JPEG" else None
            if request is not None:
                size, what = request
                if isinstance(what, Resizing):
                    resized[place] = size, what
                else:
                    parts[place] = _decoded_box(data, size, what)
    made = jpeg.resize([(files[place], how) for place, (_, how) in resized.items()])
    for (place, (size, how)), levels in zip(resized.items(), made, strict=True):
        if levels is not None:
            parts[place] = Part(levels, how.box, size, how)
    for place, part in enumerate(parts):
        if part is None:
            with suppress(Exception):
                parts[place] = read_part(files[place], wanted[place], max_pixels=max_pixels, name=names[place])
    return parts


def _decoded(data: bytes, name: str, orientation: Orientation, max_pixels: int, wanted: Wanted | None) -> Part:
    kind = image_format(data[:64])
    if kind is None:
        received, fix = other_content(data)
        raise ImageError(message(name, received=received, allowed=_ALLOWED, fix=fix))
    request = _fast_request(data, name, max_pixels, wanted) if kind == "JPEG" else None
    try:  # without ``wanted``: what fails there is no fault of the file
        part = _fast_jpeg(data, *request) if request is not None else None
        if part is None:
            levels = read_with_pillow(data, kind, name=name, orientation=orientation, max_pixels=max_pixels)
            return _whole(levels)
        if orientation == "apply":
            return _whole(turned(part.levels.numpy(), exif_orientation(data, kind, name=name)))
        return part
    except ImageError:
        raise
    except PILLOW_ERRORS as error:
        raise ImageError(_damaged(data, kind, name, error)) from error


def _whole(levels: npt.NDArray[np.uint8]) -> Part:
    size = Size(*levels.shape[:2])
    return Part(torch.from_numpy(levels), size.whole, size)


def _fast_jpeg(data: bytes, size: Size, what: Box | Resizing) -> Part | None:
    """The levels, or None where Pillow shall decide: everything that is not flawless."""
    if isinstance(what, Resizing):
        (levels,) = jpeg.resize([(data, what)])
        if levels is not None:
            return Part(levels, what.box, size, what)
        what = what.box
    return _decoded_box(data, size, what)


def _decoded_box(data: bytes, size: Size, box: Box) -> Part | None:
    levels = jpeg.decode(data, box, size)
    return None if levels is None else Part(levels, box, size)


def _fast_request(data: bytes, name: str, max_pixels: int, wanted: Wanted | None) -> tuple[Size, Box | Resizing] | None:
    """The size of a JPEG file and what is wanted of it; None where Pillow shall decide: CMYK, and no whole header."""
    header = jpeg.header(data)
    if header is None or not header.channels:
        return None
    size = Size(header.height, header.width)
    check_size(*size, max_pixels, name)
    return size, size.whole if wanted is None else wanted(size)


def _damaged(data: bytes, kind: str, name: str, error: Exception) -> str:
    """The text for a file that begins like an image and cannot be decoded."""
    received = f"a {kind} file of {len(data)} bytes that cannot be decoded ({_reason(error)})"
    fix = "It is damaged or cut off: fetch or copy it again, or leave it out."
    if isinstance(error, Image.DecompressionBombError):
        fix = "Raise PIL.Image.MAX_IMAGE_PIXELS as well as max_pixels if the file is genuine."
    elif isinstance(error, MemoryError):
        fix = "There is not enough memory for it: leave it out or make it smaller first."
    return message(name, received=received, allowed=_ALLOWED, fix=fix)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _from_pillow(image: Image.Image, orientation: Orientation, max_pixels: int, name: str) -> npt.NDArray[np.uint8]:
    check_size(image.height, image.width, max_pixels, name)
    if image.width < 1 or image.height < 1:
        raise ImageError(message(name, received=f"{image.width} x {image.height} pixels", allowed="at least one pixel"))
    try:
        image.load()
        levels = rgb_from_pillow(image, name=name)
        return turned(levels, orientation_tag(image, name)) if orientation == "apply" else levels
    except ImageError:
        raise
    except PILLOW_ERRORS as error:
        received = f"pixels that cannot be loaded ({_reason(error)})"
        fix = "Its file is damaged, or was closed before its pixels were loaded."
        allowed = "a Pillow image whose pixels can be loaded"
        raise ImageError(message(name, received=received, allowed=allowed, fix=fix)) from error
