"""How does an array or a tensor become an image? By its type for the scale, and by its shape for the layout.

The type decides the scale, never the values: a dark ``uint8`` image stays dark, and a float image with a value of 7 is
an error, not a guess.

=====================  ===========================================================================
``uint8``              levels 0 to 255
``uint16``             levels 0 to 65535
``float16/32/64``,     already within [0, 1]; values outside, NaN and infinities are errors
``bfloat16``
``bool``               False is black, True is white
anything else          an error
=====================  ===========================================================================

The layout ``"auto"`` takes the axis of length 1 to 4 as the channels: the last axis gives HWC, the first one CHW. When
both qualify, the one of length 3 is meant; when that does not decide either, it is an error that asks for ``layout``.
Two axes are a grey image. One channel is repeated three times; the second of two and the fourth of four channels is
alpha and is dropped.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mezzotint.errors import ImageError, message

Layout: TypeAlias = Literal["auto", "HWC", "CHW"]

_MAX_CHANNELS = 4
_TYPES = "uint8, uint16, bool, or a float type with values from 0 to 1"


def rgb_levels(source: npt.NDArray[Any] | Tensor, *, layout: Layout, name: str) -> Tensor:
    """An array as a uint8 image [H, W, 3]; 16-bit and float values are rounded to the nearest of 256 levels.

    Raises:
        ImageError: the type, the shape or a value is not usable.
    """
    array = _three_channels(source, layout, name)
    if array.dtype == np.uint16:
        array = scale_16_bit(array)
    elif array.dtype != np.uint8:
        array = np.rint(array * 255).astype(np.uint8)
    return torch.from_numpy(array)


def rgb_unrounded(source: npt.NDArray[Any] | Tensor, *, layout: Layout, name: str) -> Tensor:
    """An array as an image [H, W, 3] that keeps its precision: uint8 stays uint8, all else becomes float32 in [0, 1].

    Raises:
        ImageError: the type, the shape or a value is not usable.
    """
    array = _three_channels(source, layout, name)
    if array.dtype == np.uint16:
        array = (array / 65535).astype(np.float32)
    return torch.from_numpy(array)


def scale_16_bit(values: npt.NDArray[Any], white: int = 65535) -> npt.NDArray[np.uint8]:
    """Levels 0 to ``white`` as levels 0 to 255, to the nearest: ``round(value * 255 / white)``."""
    return ((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8)


def _three_channels(source: npt.NDArray[Any] | Tensor, layout: Layout, name: str) -> npt.NDArray[Any]:
    """A fresh array [H, W, 3] of uint8, uint16, or checked float32."""
    array = _checked_values(_as_numpy(source), name)
    array = _channels_last(array, layout, name)
    if array.size == 0:
        raise ImageError(
            message(name, received=f"an array of shape {tuple(array.shape)}", allowed="at least one pixel")
        )
    if array.shape[2] < 3:
        array = np.repeat(array[:, :, :1], 3, axis=2)
    return np.array(array[:, :, :3], order="C", copy=True)


def _as_numpy(source: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    if isinstance(source, Tensor):
        source = source.detach().cpu()
        return (source.float() if source.is_floating_point() else source).numpy()
    return source.astype(source.dtype.newbyteorder("="), copy=False)


def _checked_values(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        fix = "Convert it with .astype(numpy.uint8) if it holds levels from 0 to 255."
        raise ImageError(message(name, received=f"an array of {array.dtype}", allowed=_TYPES, fix=fix))
    if array.size and not (array.min() >= 0 and array.max() <= 1):  # written so that NaN fails as well
        values = "NaN" if np.isnan(array).any() else f"values from {array.min():g} to {array.max():g}"
        fix = "Divide by 255 if it holds levels; undo the normalisation if it was normalised."
        raise ImageError(message(name, received=f"{array.dtype} with {values}", allowed=_TYPES, fix=fix))
    return array.astype(np.float32)


def _channels_last(array: npt.NDArray[Any], layout: Layout, name: str) -> npt.NDArray[Any]:
    if layout not in get_args(Layout):
        raise ImageError(message("layout", received=layout, allowed='"auto", "HWC" or "CHW"'))
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim != 3:
        fix = "Pass the images of a batch one at a time, or all to mezzotint.preprocess." if array.ndim == 4 else ""
        allowed = "[H, W], [H, W, C] or [C, H, W]"
        raise ImageError(message(name, received=f"an array of shape {tuple(array.shape)}", allowed=allowed, fix=fix))
    last = _decided_layout(array.shape, name) == "HWC" if layout == "auto" else layout == "HWC"
    image = array if last else array.transpose(1, 2, 0)
    if not 1 <= image.shape[2] <= _MAX_CHANNELS:
        received = f"an array of shape {tuple(array.shape)} with {image.shape[2]} channels ({layout})"
        raise ImageError(message(name, received=received, allowed="1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)"))
    return image


def _decided_layout(shape: tuple[int, ...], name: str) -> Layout:
    first, last = shape[0], shape[2]
    fits_last, fits_first = 1 <= last <= _MAX_CHANNELS, 1 <= first <= _MAX_CHANNELS
    if fits_last and fits_first and (last == 3) != (first == 3):
        fits_last, fits_first = last == 3, first == 3
    if fits_last == fits_first:
        what = "more than one axis that may be the channels" if fits_last else "no axis of length 1 to 4"
        fix = 'Say which axis holds the channels: layout="HWC" or layout="CHW".' if fits_last else ""
        allowed = "[H, W], [H, W, C] or [C, H, W] with 1 to 4 channels"
        raise ImageError(message(name, received=f"shape {tuple(shape)}, with {what}", allowed=allowed, fix=fix))
    return "HWC" if fits_last else "CHW"
