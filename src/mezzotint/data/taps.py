"""Which input pixels make an output pixel, and with what weights? The rules of several libraries, along one axis.

Indices and weights are computed in the precision and the order of the library, since both decide the last bit. An
axis has ``size`` pixels before and ``new_size`` after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_TABLE = 1024  # TensorFlow looks the weights of its bicubic interpolation up in a table of so many places a pixel


@dataclass(frozen=True)
class Taps:
    """Output pixel ``i`` is the sum of ``weight[i, k] * input[index[i, k]]`` over ``k``.

    Attributes:
        index: int64 [new_size, K].
        weight: float32 or an integer type [new_size, K].
    """

    index: Tensor
    weight: Tensor


def weighted(image: Tensor, taps: Taps, *, axis: int) -> Tensor:
    """The sums along an axis of [H, W, C], added up in the order of ``k``, each product rounded on its own."""
    image = image.to(taps.weight.dtype)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    pairs = zip(taps.index.unbind(1), taps.weight.unbind(1), strict=True)
    return reduce(Tensor.add_, (image.index_select(axis, index) * weight.view(shape) for index, weight in pairs))


def nearest(size: int, new_size: int) -> Tensor:
    """The one input pixel of each output pixel: ``tf.image.resize(..., "nearest")`` of TensorFlow 2."""
    place = (np.arange(new_size, dtype=np.float32) + np.float32(0.5)) * _ratio(size, new_size)
    return torch.from_numpy(np.minimum(np.floor(place).astype(np.int64), size - 1))


def linear_from_the_corner(size: int, new_size: int) -> Taps:
    """TensorFlow 1's ``resize_bilinear``: output pixel ``i`` lies at ``i * size / new_size``."""
    place = np.arange(new_size, dtype=np.float32) * _ratio(size, new_size)
    low = np.floor(place)
    share = place - low
    index = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
    return _taps(np.minimum(index, size - 1), np.stack([1 - share, share], axis=1))


def cubic(size: int, new_size: int) -> Taps:
    """TensorFlow 2's bicubic interpolation: Keys' kernel with a = -0.5 at half-pixel centres, not antialiased.

    Pixels beyond the edge have no weight, and the others are raised to a sum of one (``resize_bicubic_op.cc``).
    """
    half = np.float32(0.5)
    place = (np.arange(new_size, dtype=np.float32) + half) * _ratio(size, new_size) - half
    low = np.floor(place)
    offset = np.rint((place - low) * np.float32(_TABLE)) / np.float32(_TABLE)
    index = low[:, None] + np.arange(-1, 3)
    weight = np.stack([_keys(1 + offset), _keys(offset), _keys(1 - offset), _keys(2 - offset)], axis=1)
    weight = np.where((index >= 0) & (index < size), weight, 0)
    return _taps(index.clip(0, size - 1), weight / weight.sum(axis=1, keepdims=True))


def _keys(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE Trans. ASSP 29, 1981), for 0 <= x <= 2."""
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, outer).astype(np.float32)


def _ratio(size: int, new_size: int) -> np.float32:
    return np.float32(size) / np.float32(new_size)


def _taps(index: npt.NDArray[Any], weight: npt.NDArray[Any]) -> Taps:
    return Taps(torch.from_numpy(index.astype(np.int64)), torch.from_numpy(weight.astype(np.float32)))
