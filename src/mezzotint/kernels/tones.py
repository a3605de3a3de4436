"""How does the native library change the tones and places of pixels? As Pillow does, to the bit, without its copies.

All take uint8 [H, W, C], C 1 or 3, and give a new tensor of that shape, contiguous. The GIL is released.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.images import empty_levels, levels_argument, with_packed_rows


def by_tables(image: Tensor, tables: bytes) -> Tensor:
    """Every level replaced by that in its channel's table; ``tables``: 256 bytes for each channel."""
    native.require()
    image, result = with_packed_rows(image), empty_levels(image.shape)
    native.extension().level_tables(levels_argument(image), tables, levels_argument(result))
    return result


def extremes(image: Tensor) -> list[tuple[int, int]]:
    """The darkest and the lightest level of each channel."""
    native.require()
    found = native.extension().level_extremes(levels_argument(with_packed_rows(image)))
    return [(low, high) for low, high in found]


def equalized(image: Tensor) -> Tensor:
    """``PIL.ImageOps.equalize``."""
    native.require()
    image, result = with_packed_rows(image), empty_levels(image.shape)
    native.extension().equalize_levels(levels_argument(image), levels_argument(result))
    return result


def luma_sum(image: Tensor) -> int:
    """The sum of what the image's pixels are as "L" picture of Pillow."""
    native.require()
    return int(native.extension().luma_sum(levels_argument(with_packed_rows(image))))


def blended_with_grey(image: Tensor, factor: float) -> Tensor:
    """``PIL.ImageEnhance.Color``: the factor 0 is grey, 1 the image; images of one channel stay as they are."""
    native.require()
    image, result = with_packed_rows(image), empty_levels(image.shape)
    native.extension().blend_with_grey(levels_argument(image), factor, levels_argument(result))
    return result


def blended_with_smooth(image: Tensor, factor: float) -> Tensor:
    """``PIL.ImageEnhance.Sharpness``: the factor 0 is smooth, 1 the image."""
    native.require()
    image, result = with_packed_rows(image), empty_levels(image.shape)
    native.extension().blend_with_smooth(levels_argument(image), factor, levels_argument(result))
    return result


def warped(image: Tensor, matrix: Sequence[float], fill: int) -> Tensor | None:
    """``Image.transform`` by the nearest pixel: (x, y) is the old one at (a x + b y + c, d x + e y + f).

    None where Pillow does not reckon in units of 2^-16 pixels: coordinates beyond 2^15.

    Args:
        image: uint8 [H, W, C].
        matrix: a .. f.
        fill: the level of what comes in from outside.
    """
    a, b, c, d, e, f = matrix
    corners = [(x, y) for x in (0, image.shape[1]) for y in (0, image.shape[0])]
    if any(max(abs(a * x + b * y + c), abs(d * x + e * y + f)) >= _FARTHEST for x, y in corners):
        return None
    native.require()
    image, result = with_packed_rows(image), empty_levels(image.shape)
    units = [_units(v) for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)]
    native.extension().warp_levels(levels_argument(image), units, fill, levels_argument(result))
    return result


_FARTHEST = 32767  # pixels; a little less than what fits 32 bits, for the half pixel that is added


def _units(value: float) -> int:
    return int((value * 65536.0 + 0.5) // 1)
