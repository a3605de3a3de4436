"""How large is what a convolution or a pooling gives, and where does each tap read? The one arithmetic of all kernels.

Sizes may be numbers, ``torch.SymInt``, or ``None`` for a size that nobody knows; what depends on an unknown size is
unknown itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

Size = Any
"""``int``, ``torch.SymInt`` or ``None``."""


class Tap(NamedTuple):
    """One kernel tap: its place in the kernel, and the slice of each padded axis that it reads for all positions."""

    place: tuple[int, ...]
    reads: tuple[slice, ...]


def surely(condition: Any) -> bool:
    """Whether ``condition`` holds for certain: a comparison of sizes that are only known at run time does not."""
    if not isinstance(condition, torch.SymBool):
        return bool(condition)
    # Here and not above: it loads SymPy, which would make every program that imports a layer start a third of a second
    # later. Who comes here has it loaded.
    from torch.fx.experimental import symbolic_shapes

    return bool(getattr(symbolic_shapes, "guard_or_false", bool)(condition))


def effective_kernel(kernel: Size, dilation: Size) -> Size:
    """Extent of a dilated kernel: ``(k - 1) d + 1``."""
    return (kernel - 1) * dilation + 1


def output_size(
    size: Size, kernel: Size, *, before: Size, after: Size, stride: Size, dilation: Size, ceil: bool = False
) -> Size:
    """``floor((size + before + after - k_eff) / stride) + 1``; may be <= 0 when the kernel does not fit.

    With ``ceil`` the division rounds up, but a last window that would begin behind the input and the padding before it
    does not count.
    """
    if size is None or kernel is None:
        return None
    room = size + before + after - effective_kernel(kernel, dilation)
    if not ceil:
        return room // stride + 1
    length = -(-room // stride) + 1
    return length - 1 if surely((length - 1) * stride >= size + before) else length


def output_sizes(
    size: Sequence[Size],
    kernel: Sequence[Size],
    *,
    stride: Sequence[Size],
    padding: Sequence[Size],
    dilation: Sequence[Size],
    ceil: bool = False,
) -> list[Size]:
    """:func:`output_size` of every axis; ``padding`` is ``(before, after, ...)``."""
    return [
        output_size(n, k, before=before, after=after, stride=s, dilation=d, ceil=ceil)
        for n, k, s, d, (before, after) in zip(size, kernel, stride, dilation, pads_per_axis(padding), strict=True)
    ]


def transposed_output_size(
    size: Size, kernel: Size, *, before: Size, after: Size, stride: Size, dilation: Size, more: Size
) -> Size:
    """``(size - 1) stride + k_eff - before - after + more``: the sizes that a convolution takes to ``size``."""
    if size is None or kernel is None:
        return None
    return (size - 1) * stride + effective_kernel(kernel, dilation) - before - after + more


def same_padding(size: Size, kernel: Size, *, stride: Size, dilation: Size) -> tuple[Size, Size]:
    """Padding (before, after) that gives ``ceil(size / stride)`` outputs; the odd one goes to the end (TensorFlow)."""
    out = -(-size // stride)
    total = torch.sym_max(0, (out - 1) * stride + effective_kernel(kernel, dilation) - size)
    return total // 2, total - total // 2


def taps(kernel: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Iterator[Tap]:
    """Every tap of a kernel of any rank in row-major order."""
    for index in itertools.product(*map(range, kernel)):
        starts = [position * spread for position, spread in zip(index, dilation, strict=True)]
        reads = (
            slice(start, start + (size - 1) * step + 1, step)
            for start, size, step in zip(starts, output, stride, strict=True)
        )
        yield Tap(index, tuple(reads))


def window(position: int, size: int, output: int) -> tuple[int, int]:
    """(begin, end) of the inputs that output ``position`` of an adaptive pooling covers."""
    return position * size // output, -(-(position + 1) * size // output)


def trailing(parts: Iterable[Any]) -> tuple[Any, ...]:
    """An index of the last axes."""
    return (..., *parts)


def pads_per_axis(padding: Sequence[Size]) -> list[tuple[Size, Size]]:
    """``(before, after, before, after, ...)`` as a pair for each axis."""
    return list(zip(padding[::2], padding[1::2], strict=True))


def for_pad(padding: Sequence[int]) -> list[int]:
    """The same padding in the order of ``torch.nn.functional.pad``: the last axis first."""
    return [side for pair in reversed(pads_per_axis(padding)) for side in pair]
