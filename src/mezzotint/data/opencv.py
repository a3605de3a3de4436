"""How does OpenCV resize with ``INTER_AREA``? By means over areas; by a linear rule of its own where it enlarges.

The rules are those of ``modules/imgproc/src/resize.cpp``, in OpenCV's precision and order, and give its values to the
bit for uint8 images (checked against 4.11 and 5.0):

===========================================  ========================================================================
ratio                                        values
===========================================  ========================================================================
both sides shrink by 2                       ``(sum of four + 2) >> 2``
both by whole numbers                        sum of the block times float32 1 / area, rounded half to even
both shrink, or stay                         means weighted by overlap, in float32, along rows and then down columns;
                                             overlaps of a thousandth of a pixel and less are left out
one side grows                               linear, in fixed point with 11 bits; output pixel ``i`` begins at
                                             ``floor(i * ratio)`` and only its last part is mixed with the next one
===========================================  ========================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.taps import Taps, weighted

_LEAST_OVERLAP = 1e-3
_ONE = 2048  # a weight of one in OpenCV's fixed point


def resize_area(image: Tensor, height: int, width: int) -> Tensor:
    """``cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)``.

    Args:
        image: [H, W, C], uint8 levels, or float32 of any range, which is not rounded.
        height, width: the new size in pixels, at least 1.

    Returns:
        [height, width, C] in the type of the image.
    """
    rows, columns = int(image.shape[0]), int(image.shape[1])
    if rows < height or columns < width:
        return _enlarged(image, height, width)
    if rows % height == 0 and columns % width == 0:
        return _block_means(image, height, width)
    means = weighted(image, _overlaps(columns, width), axis=1)
    return _rounded(weighted(means, _overlaps(rows, height), axis=0), image.dtype)


def _block_means(image: Tensor, height: int, width: int) -> Tensor:
    down, across = image.shape[0] // height, image.shape[1] // width
    blocks = image.reshape(height, down, width, across, -1)
    if image.dtype != torch.uint8:
        return blocks.mean(dim=(1, 3))
    sums = blocks.sum(dim=(1, 3), dtype=torch.int32)
    if down == across == 2:
        return ((sums + 2) >> 2).to(torch.uint8)
    return _rounded(sums * torch.tensor(1 / (down * across), dtype=torch.float32), torch.uint8)


def _overlaps(size: int, new_size: int) -> Taps:
    """Each output pixel as the mean of the input pixels below it, a part of the first and of the last one."""
    found = [list(_overlaps_of(i, size, 1 / (new_size / size))) for i in range(new_size)]
    count = max(map(len, found))
    padded = np.array([pairs + [(0, 0.0)] * (count - len(pairs)) for pairs in found])
    return Taps(torch.from_numpy(padded[..., 0].astype(np.int64)), torch.from_numpy(padded[..., 1].astype(np.float32)))


def _overlaps_of(i: int, size: int, ratio: float) -> Iterator[tuple[int, float]]:
    start, stop = i * ratio, i * ratio + ratio
    length = min(ratio, size - start)
    last = min(math.floor(stop), size - 1)
    first = min(math.ceil(start), last)
    if first - start > _LEAST_OVERLAP:
        yield first - 1, (first - start) / length
    yield from ((place, 1 / length) for place in range(first, last))
    if stop - last > _LEAST_OVERLAP:
        yield last, min(stop - last, 1, length) / length


def _enlarged(image: Tensor, height: int, width: int) -> Tensor:
    fixed = image.dtype == torch.uint8
    across, down = _fractions(image.shape[1], width, fixed), _fractions(image.shape[0], height, fixed)
    rows = weighted(image, across, axis=1)
    if not fixed:
        return weighted(rows, down, axis=0)
    parts = ((rows[down.index] >> 4) * down.weight[:, :, None, None]) >> 16  # [height, 2, width, C]
    return ((parts.sum(dim=1, dtype=torch.int32) + 2) >> 2).to(torch.uint8)


def _fractions(size: int, new_size: int, fixed: bool) -> Taps:
    """The two input pixels of each output pixel; weights as 11-bit integers (int32) if ``fixed``, else float32."""
    inverse = new_size / size
    place = np.arange(new_size)
    low = np.floor(place * (1 / inverse)).astype(np.int64)
    share = ((place + 1) - (low + 1) * inverse).astype(np.float32)
    share = np.where((share <= 0) | (low >= size - 1), np.float32(0), share - np.floor(share))
    index = np.stack([low, low + 1], axis=1).clip(0, size - 1)
    weight = np.stack([1 - share, share], axis=1)
    if fixed:
        weight = np.rint(weight * np.float32(_ONE)).astype(np.int32)
    return Taps(torch.from_numpy(index), torch.from_numpy(weight))


def _rounded(values: Tensor, kind: torch.dtype) -> Tensor:
    return values.round().clamp(0, 255).to(kind) if kind == torch.uint8 else values
