"""How is an image file read with Pillow? Opened by its known format, checked for size, loaded, turned, made RGB.

Four things that ``Image.open`` does not do the way a data pipeline needs:

* The plugin is chosen by our magic bytes, so no other of Pillow's many formats is ever tried on a damaged file.
* The size limit is checked between the header and the pixels, without Pillow's process-wide setting and warning.
* Pillow's warnings about odd metadata are silenced for the moment of opening only; the pixels decide.
* 16-bit colour keeps its precision. Pillow reads only the high byte of each 16-bit RGB value; reading the file once
  more with the byte order exchanged gives the low bytes, and both together the exact 16-bit value. Two rare kinds of
  TIFF keep Pillow's eight bits, at most a level off: compressed separate planes, and premultiplied alpha.
"""

from __future__ import annotations

import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)
from PIL.Image import DecompressionBombError, Image
from PIL.ImageFile import ImageFile

from mezzotint.data.arrays import scale_16_bit
from mezzotint.data.convert import rgb_from_pillow
from mezzotint.data.orientation import ORIENTATION_TAG, Orientation, turned, turned_back
from mezzotint.errors import ImageError, message

PILLOW_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    DecompressionBombError,
)
"""What Pillow's plugins raise on damaged files. They parse untrusted bytes with plain Python, hence the variety."""

_PLUGINS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}

# The tags of TIFF that are looked at here.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES = 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE = 0, 2

# warnings.catch_warnings changes process-wide state; the lock keeps our own threads from undoing it out of order.
_warnings_lock = threading.Lock()


def read_with_pillow(
    data: bytes, kind: str, *, name: str, orientation: Orientation, max_pixels: int
) -> npt.NDArray[np.uint8]:
    """Decode the first frame of an image file with Pillow into a uint8 array [H, W, 3].

    Raises:
        ImageError: the size is over the limit, or the content has no rule.
        Exception: one of `PILLOW_ERRORS` for damaged data; the caller says what that means.
    """
    with opened(data, kind) as file:
        check_size(file.height, file.width, max_pixels, name)
        refuse_garbled(file, name)
        levels, applied = _levels(file, data, kind, name)
        if orientation == "ignore":
            return turned_back(levels, applied)
        return turned(levels, orientation_tag(file, name)) if applied == 1 else levels


def exif_orientation(data: bytes, kind: str, *, name: str) -> int:
    """The EXIF orientation of a file, 1 to 8, from its header alone; 1 where there is none."""
    with opened(data, kind) as file:
        return orientation_tag(file, name)


def check_size(height: int, width: int, max_pixels: int, name: str) -> None:
    """Refuse an image of more than ``max_pixels`` pixels before any memory is spent on it."""
    if height * width > max_pixels:
        received = f"an image that declares {width} x {height} = {width * height} pixels"
        fix = "If the file is genuine, raise max_pixels; otherwise it is damaged or made to exhaust the memory."
        raise ImageError(message(name, received=received, allowed=f"at most max_pixels = {max_pixels}", fix=fix))


def refuse_garbled(file: ImageFile, name: str) -> None:
    """Refuse the one layout that Pillow would read wrongly without a word: it takes each 16-bit value for two of 8."""
    if not isinstance(file, TiffImagePlugin.TiffImageFile) or file.tag_v2.get(_PLANES) != _SEPARATE:
        return
    if file.tile[0][0] == "raw" and max(file.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8:
        fix = "Save it with interleaved channels, or compressed."
        received = "a TIFF with more than 8 bits a channel in separate, uncompressed planes"
        raise ImageError(message(name, received=received, allowed="any other TIFF layout", fix=fix))


@contextmanager
def opened(data: bytes, kind: str) -> Iterator[ImageFile]:
    """The file with its header read and its pixels not yet; closed at the end."""
    if kind == "WebP" and not features.check("webp"):
        raise OSError("this build of Pillow has no WebP support; install the wheel from PyPI")
    with _quiet():
        file = _PLUGINS[kind](BytesIO(data))
    try:
        yield file
    finally:
        file.close()


@contextmanager
def _quiet() -> Iterator[None]:
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _levels(file: ImageFile, data: bytes, kind: str, name: str) -> tuple[npt.NDArray[np.uint8], int]:
    """The levels [H, W, 3], and the orientation that loading has already applied (1 where it has not)."""
    high_mode = _raw_mode(file)
    exchanged = _exchanged(high_mode)
    white, inverted = _grey_scale(file)
    applied = _load(file)
    if exchanged is not None and file.mode in ("RGB", "RGBA"):
        with opened(data, kind) as twin:
            twin.tile = [_with_raw_mode(tile, exchanged) for tile in twin.tile]
            _load(twin)
            return scale_16_bit(_sixteen_bits(np.asarray(file), np.asarray(twin), exchanged)), applied
    if file.mode == "I" and kind == "PNG":  # how Pillow before 11 opens 16-bit grey
        return rgb_from_pillow(file.convert("I;16"), name=name), applied
    levels = rgb_from_pillow(file, name=name, white=white)
    return (255 - levels if inverted else levels), applied


def _load(file: ImageFile) -> int:
    """Load the pixels; the result is the orientation that the loading itself has applied, or 1.

    Pillow turns TIFF files, and no others, by their orientation tag while it loads them, and then forgets the tag.
    """
    if not isinstance(file, TiffImagePlugin.TiffImageFile):
        file.load()
        return 1
    tag = file.tag_v2.get(ORIENTATION_TAG, 1)
    with _quiet():  # only here does loading read metadata too
        file.load()
    return 1 if ORIENTATION_TAG in file.tag_v2 else int(tag)


def _raw_mode(file: ImageFile) -> str:
    """How the stored bytes of a pixel are laid out, in Pillow's words, such as ``"RGB;16B"``."""
    args = file.tile[0][3] if file.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    args = (raw_mode, *tile[3][1:]) if isinstance(tile[3], tuple) else raw_mode
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)


def _exchanged(raw_mode: str) -> str | None:
    """The raw mode that reads the low bytes of 16-bit colour where ``raw_mode`` reads the high ones, else None."""
    if raw_mode == "LA;16B":
        return "RGBA"  # grey high, grey low, alpha high, alpha low
    layout, _, order = raw_mode.partition(";")
    if layout not in ("RGB", "RGBA", "RGBX"):
        return None
    little = order == "16L" or (order == "16N" and sys.byteorder == "little")
    return f"{layout};16{'B' if little else 'L'}" if order in ("16B", "16L", "16N") else None


def _sixteen_bits(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8], exchanged: str) -> npt.NDArray[np.uint16]:
    if exchanged == "RGBA":
        high, low = low[:, :, (0, 0, 0)], low[:, :, (1, 1, 1)]
    return high[:, :, :3].astype(np.uint16) * 256 + low[:, :, :3]


def _grey_scale(file: ImageFile) -> tuple[int, bool]:
    """The level of white of 16-bit grey, and whether it counts backwards, which Pillow leaves as it is."""
    if not isinstance(file, TiffImagePlugin.TiffImageFile) or not file.mode.startswith("I;16"):
        return 65535, False
    bits = file.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
    return 2**bits - 1, file.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def orientation_tag(file: Image, name: str) -> int:
    """The EXIF orientation of a Pillow image; 1 where it says nothing.

    Raises:
        ImageError: the metadata is damaged.
    """
    try:
        with _quiet():
            return int(file.getexif().get(ORIENTATION_TAG, 1))
    except PILLOW_ERRORS as error:
        fix = 'Read it with orientation="ignore", which does not look at the metadata.'
        received = f"metadata that cannot be read ({error})"
        raise ImageError(message(name, received=received, allowed="readable EXIF metadata", fix=fix)) from error
