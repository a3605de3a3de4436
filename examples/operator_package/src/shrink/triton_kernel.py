"""What does the GPU do? One program for each block of numbers; sums are not needed, 16-bit types compute in float32."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _soft_threshold(x, y, count, threshold, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(x + at, mask=inside).to(tl.float32)
    cut = tl.where(value > threshold, threshold, tl.where(value < -threshold, -threshold, value))
    tl.store(y + at, (value - cut).to(y.dtype.element_ty), mask=inside)


def launch(x: Tensor, y: Tensor, threshold: float) -> None:
    """Fill ``y``; an empty tensor starts no program."""
    if x.numel():
        _soft_threshold[(triton.cdiv(x.numel(), BLOCK),)](x, y, x.numel(), threshold, BLOCK=BLOCK)
