"""How does a Pillow image of any mode become RGB levels? One stated rule for each mode.

==========================  ============================================================================
mode                        rule
==========================  ============================================================================
RGB, RGBX                   the three channels
RGBA, LA, PA                the colour as stored; alpha is dropped, nothing is composited (as
                            ``convert("RGB")``, torchvision and timm do)
RGBa, La                    premultiplied colour is divided by its alpha first, then alpha is dropped
L                           three equal channels
1                           0 and 255
P                           the palette's RGB; a transparent entry keeps its colour
CMYK, YCbCr, HSV            Pillow's ``convert("RGB")`` (the inverted CMYK of Adobe's JPEG files included)
I;16, I;16B, I;16L, I;16N   ``round(value * 255 / 65535)``; Pillow's own ``convert`` would clip at 255
I, F, LAB, others           an error: no level is known to be white
==========================  ============================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mezzotint.data.arrays import scale_16_bit
from mezzotint.errors import ImageError, message

_FIRST_THREE = frozenset({"RGB", "RGBX", "RGBA"})
_GREY = frozenset({"L", "LA"})
_THROUGH_PILLOW = frozenset({"1", "P", "CMYK", "YCbCr", "HSV"})
_UNMULTIPLY = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


def rgb_from_pillow(image: Image.Image, *, name: str, white: int = 65535) -> npt.NDArray[np.uint8]:
    """The levels of a loaded Pillow image as a fresh uint8 array [H, W, 3].

    Args:
        image: a loaded image; it is not changed.
        name: how the error calls it.
        white: the level of white in a 16-bit image (4095 in a TIFF of 12 bits a sample).

    Raises:
        ImageError: the mode has no rule (see the table above).
    """
    if image.mode in _UNMULTIPLY:
        image = image.convert(_UNMULTIPLY[image.mode])
    if image.mode in _FIRST_THREE:
        return np.array(np.asarray(image)[:, :, :3], order="C")
    if image.mode in _GREY:
        return _repeated(np.asarray(image))
    if image.mode in _SIXTEEN_BIT:
        return _repeated(scale_16_bit(np.minimum(np.asarray(image), white), white))
    if image.mode in _THROUGH_PILLOW:
        return np.array(_without_transparency(image).convert("RGB"))
    fix = "Scale its values to 0..1 yourself, then pass them as a float array." if image.mode in {"I", "F"} else ""
    raise ImageError(
        message(
            name,
            received=f"an image of mode {image.mode!r}",
            allowed="grey, palette, RGB, CMYK or YCbCr images with 1 to 16 bits a channel, with or without alpha",
            fix=fix or "Save it as an RGB image first.",
        )
    )


def _repeated(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    plane = grey if grey.ndim == 2 else grey[:, :, 0]
    return np.repeat(plane[:, :, None], 3, axis=2)


def _without_transparency(image: Image.Image) -> Image.Image:
    """The image without its transparent colour, which ``convert`` would otherwise warn about."""
    if "transparency" not in image.info:
        return image
    plain = image.copy()
    del plain.info["transparency"]
    return plain
