"""What are mean and deviation of the training images, channel by channel?"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.source import Source
from mezzotint.errors import DataError, ImageError, message

_SAMPLES: Final = 10_000


def channel_statistics(
    source: Source, samples: int = _SAMPLES, *, skip_bad: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels of each channel, in units of the range 0 to 1.

    Args:
        source: images uint8 [H, W, C], before any augmentation; every image counts with all of its pixels.
        samples: how many images are looked at, spread evenly over the source.
        skip_bad: leave out images that cannot be read; they will be in the loader's report.

    Returns:
        One mean and one deviation per channel, rounded to six decimals. A channel without any variation gets the
        deviation 1, which leaves it constant.

    Raises:
        ImageError, DataError: an image cannot be read, or none can.
    """
    chosen = np.unique(np.linspace(0, len(source) - 1, min(samples, len(source))).astype(np.int64))
    sums: Tensor | None = None
    for index in chosen.tolist():
        try:
            image, _ = source.read(index)
        except (ImageError, DataError):
            if not skip_bad:
                raise
            continue
        sums = _sums(image) if sums is None else sums + _sums(image)
    if sums is None:
        raise DataError(message(source.describe(), received="no image that can be read", allowed="at least one"))
    # Exact sums of whole numbers: the result does not depend on the order.
    count, total, squares = sums.to(torch.float64)
    mean = total / count / 255
    variance = (squares / count / 255**2 - mean**2).clamp(min=0)
    deviation = torch.where(variance > 1e-8, variance.sqrt(), torch.ones_like(variance))
    return _rounded(mean), _rounded(deviation)


def _sums(image: Tensor) -> Tensor:
    """int64 [3, C]: number of pixels, their sum and the sum of their squares."""
    pixels = image.reshape(-1, image.shape[-1]).to(torch.int64)
    count = torch.full((pixels.shape[1],), pixels.shape[0], dtype=torch.int64)
    return torch.stack([count, pixels.sum(0), (pixels * pixels).sum(0)])


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
