"""How large is the result of a convolution, and where does each tap read? The one arithmetic that all kernels share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Taps(NamedTuple):
    """One kernel tap: its position, and the slices of the padded input that it reads for every output position."""

    ky: int
    kx: int
    rows: slice
    cols: slice


def effective_kernel(kernel: int, dilation: int) -> int:
    """Extent of a dilated kernel: ``(k - 1) d + 1``."""
    return (kernel - 1) * dilation + 1


def output_size(size: int, kernel: int, *, before: int, after: int, stride: int, dilation: int) -> int:
    """``floor((size + before + after - k_eff) / stride) + 1``; may be <= 0 when the kernel does not fit."""
    return (size + before + after - effective_kernel(kernel, dilation)) // stride + 1


def same_padding(size: int, kernel: int, *, stride: int, dilation: int) -> tuple[int, int]:
    """Padding (before, after) that gives ``ceil(size / stride)`` outputs; the odd one goes to the end (TensorFlow)."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + effective_kernel(kernel, dilation) - size)
    return total // 2, total - total // 2


def taps(
    kernel: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[Taps]:
    """Every tap of a 2-D kernel in row-major order."""
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            top, left = ky * dilation[0], kx * dilation[1]
            yield Taps(
                ky,
                kx,
                slice(top, top + (output[0] - 1) * stride[0] + 1, stride[0]),
                slice(left, left + (output[1] - 1) * stride[1] + 1, stride[1]),
            )
