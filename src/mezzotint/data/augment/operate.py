"""How are Pillow's operations done fast? By the native library where it has Pillow's bits, and else by Pillow.

Pillow keeps pixels of four bytes, so that every call costs two conversions, and holds the interpreter lock for most of
its Python part. What changes each level by itself is a table here, made by Pillow from the 256 levels; the rest
(`mezzotint.kernels.tones`) repeats its arithmetic, which ``tests/data/test_operate.py`` compares bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageOps
from torch import Tensor

from mezzotint.data.augment.pillow_ops import OPERATIONS, Surface, to_image, to_picture
from mezzotint.kernels import native, tones

_PLAIN = Surface()
_RAMP = Image.frombytes("L", (256, 1), bytes(range(256)))


def run(image: Tensor, operations: Sequence[Sequence[object]], surface: Surface = _PLAIN) -> Tensor:
    """The operations of ``OPERATIONS``, pairs of a name and a number, one after the other.

    Args:
        image: uint8 [H, W, 1 or 3]; it is not changed.
        operations: in their order; the numbers as in ``OPERATIONS``.
        surface: of the operations that move pixels.

    Returns:
        uint8 of the same shape; without operations it is ``image``.
    """
    for name, value in operations:
        image = _operate(image, str(name), float(value), surface)  # type: ignore[arg-type]
    return image


def _operate(image: Tensor, name: str, value: float, surface: Surface) -> Tensor:
    if name == "identity":
        return image
    if name in _NATIVE and native.unavailable() is None and image.numel():
        result = _NATIVE[name](image, value, surface)
        if result is not None:
            return result
    return to_image(OPERATIONS[name](to_picture(image), value, surface))


@lru_cache(maxsize=1024)
def _table(name: str, value: float) -> bytes:
    """What an operation that looks at nothing but a level makes of each."""
    return OPERATIONS[name](_RAMP, value, _PLAIN).tobytes()


@lru_cache(maxsize=1024)
def _contrast_table(mean: int, value: float) -> bytes:
    return Image.blend(Image.new("L", _RAMP.size, mean), _RAMP, 1 + value).tobytes()


@lru_cache(maxsize=1024)
def _stretching_table(low: int, high: int) -> bytes:
    """Of the levels that there are, from the darkest to the lightest; the others are not looked up."""
    ramp = Image.frombytes("L", (high - low + 1, 1), bytes(range(low, high + 1)))
    return bytes(low) + ImageOps.autocontrast(ramp).tobytes() + bytes(255 - high)


def _by_level(name: str) -> Callable[[Tensor, float, Surface], Tensor]:
    return lambda image, value, surface: tones.by_tables(image, _table(name, value) * image.shape[2])


def _contrast(image: Tensor, value: float, surface: Surface) -> Tensor:
    mean = int(tones.luma_sum(image) / (image.shape[0] * image.shape[1]) + 0.5)
    return tones.by_tables(image, _contrast_table(mean, value) * image.shape[2])


def _autocontrast(image: Tensor, value: float, surface: Surface) -> Tensor:
    return tones.by_tables(image, b"".join(_stretching_table(*of_channel) for of_channel in tones.extremes(image)))


def _warp(image: Tensor, matrix: Sequence[float], surface: Surface) -> Tensor | None:
    return tones.warped(image, matrix, surface.fill) if surface.interpolation == "nearest" else None


def _rotate(image: Tensor, degrees: float, surface: Surface) -> Tensor | None:
    """The matrix is that of Pillow's ``Image.rotate``; quarter turns, for which it has other ways, are left to it."""
    degrees %= 360.0
    if degrees % 90 == 0:
        return None
    turn = -math.radians(degrees)
    cosine, sine = round(math.cos(turn), 15), round(math.sin(turn), 15)
    minus = round(-math.sin(turn), 15)
    x, y = image.shape[1] / 2.0, image.shape[0] / 2.0
    right, down = cosine * -x + sine * -y + 0.0 + x, minus * -x + cosine * -y + 0.0 + y
    return _warp(image, (cosine, sine, right, minus, cosine, down), surface)


_NATIVE: dict[str, Callable[[Tensor, float, Surface], Tensor | None]] = {
    **{name: _by_level(name) for name in ("brightness", "posterize", "solarize", "invert")},
    "contrast": _contrast,
    "autocontrast": _autocontrast,
    "equalize": lambda image, value, surface: tones.equalized(image),
    "color": lambda image, value, surface: tones.blended_with_grey(image, 1 + value),
    "sharpness": lambda image, value, surface: tones.blended_with_smooth(image, 1 + value),
    "shear_x": lambda image, value, surface: _warp(image, (1, value, 0, 0, 1, 0), surface),
    "shear_y": lambda image, value, surface: _warp(image, (1, 0, 0, value, 1, 0), surface),
    "translate_x": lambda image, value, surface: _warp(image, (1, 0, -int(value), 0, 1, 0), surface),
    "translate_y": lambda image, value, surface: _warp(image, (1, 0, 0, 0, 1, -int(value)), surface),
    "rotate": _rotate,
}
