"""How is a pooling done tap by tap? Strided slices of the padded input, one for each place in the window.

It takes any padding, in any number of axes. In float64 it is the oracle of the pooling operators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels.geometry import Tap, for_pad, output_sizes, pads_per_axis, taps, trailing, window

Ints = Sequence[int]


def max_pool(
    x: Tensor, *, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """As :func:`mezzotint.kernels.pooling.max_pool`; the first of several largest counts, or the last NaN."""
    size = output_sizes(x.shape[2:], kernel_size, stride=stride, padding=padding, dilation=dilation, ceil=ceil_mode)
    padded = F.pad(x, for_pad(_reaching(x, size, kernel_size, stride, padding, dilation)), value=-math.inf)
    best = x.new_full((*x.shape[:2], *size), -math.inf)
    index = torch.full_like(best, -1, dtype=torch.int64)
    for tap in taps(kernel_size, size, stride, dilation):
        found, place = padded[trailing(tap.reads)], _places(x, tap, padding)
        take = (place >= 0) & ((found > best) | found.isnan() | (index < 0))
        best, index = torch.where(take, found, best), torch.where(take, place, index)
    return best, index


def max_pool_grad(gy: Tensor, indices: Tensor, *, input_size: Ints) -> Tensor:
    """``gy`` added up at ``indices`` in float64, by a comparison with every position."""
    positions = torch.arange(math.prod(input_size), device=gy.device).view(-1, 1)
    hits = (indices.flatten(2).unsqueeze(2) == positions).double()
    gx = (hits * gy.double().flatten(2).unsqueeze(2)).sum(-1)
    return gx.view(*gy.shape[:2], *input_size).to(gy.dtype)


def avg_pool(
    x: Tensor,
    *,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int,
    work: torch.dtype = torch.float64,
) -> Tensor:
    """As :func:`mezzotint.kernels.pooling.avg_pool`, summed in the type ``work``."""
    ones = [1] * len(kernel_size)
    size = output_sizes(x.shape[2:], kernel_size, stride=stride, padding=padding, dilation=ones, ceil=ceil_mode)
    padded = F.pad(x.to(work), for_pad(_reaching(x, size, kernel_size, stride, padding, ones)))
    y = padded.new_zeros(*x.shape[:2], *size)
    for tap in taps(kernel_size, size, stride, ones):
        y += padded[trailing(tap.reads)]
    return (y / _divisor(x.shape[2:], size, kernel_size, stride, padding, count_include_pad, divisor, y)).to(x.dtype)


def avg_pool_grad(
    gy: Tensor,
    *,
    input_size: Ints,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int,
    work: torch.dtype = torch.float64,
) -> Tensor:
    """Transpose of :func:`avg_pool`."""
    ones, size = [1] * len(kernel_size), gy.shape[2:]
    like = torch.empty((*gy.shape[:2], *input_size), dtype=work, device="meta")
    pads = _reaching(like, size, kernel_size, stride, padding, ones)
    lengths = (before + n + after for n, (before, after) in zip(input_size, pads_per_axis(pads), strict=True))
    gx = torch.zeros((*gy.shape[:2], *lengths), dtype=work, device=gy.device)
    wide = gy.to(work)
    share = wide / _divisor(input_size, size, kernel_size, stride, padding, count_include_pad, divisor, wide)
    for tap in taps(kernel_size, size, stride, ones):
        gx[trailing(tap.reads)] += share
    kept = (slice(before, before + n) for n, (before, _) in zip(input_size, pads_per_axis(pads), strict=True))
    return gx[trailing(kept)].to(gy.dtype)


def lp_pool(x: Tensor, *, norm: float, kernel_size: Ints, stride: Ints, ceil_mode: bool) -> Tensor:
    """As :func:`mezzotint.kernels.pooling.lp_pool`, in float64."""
    attrs = {"padding": [0] * (2 * len(kernel_size)), "count_include_pad": True, "divisor": 0}
    powers = x.double().pow(norm)
    mean = avg_pool(powers, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode, **attrs)  # type: ignore[arg-type]
    return (mean * math.prod(kernel_size)).pow(1 / norm).to(x.dtype)


def adaptive_avg_pool(x: Tensor, *, output_size: Ints) -> Tensor:
    """As :func:`mezzotint.kernels.pooling.adaptive_avg_pool`, window by window in float64."""
    y = x.new_zeros((*x.shape[:2], *output_size), dtype=torch.float64)
    for place, reads in _windows(x.shape[2:], output_size):
        y[trailing(place)] = x.double()[trailing(reads)].flatten(2).mean(-1)
    return y.to(x.dtype)


def adaptive_avg_pool_grad(gy: Tensor, *, input_size: Ints) -> Tensor:
    """Transpose of :func:`adaptive_avg_pool`."""
    gx = gy.new_zeros((*gy.shape[:2], *input_size), dtype=torch.float64)
    for place, reads in _windows(input_size, gy.shape[2:]):
        part = gx[trailing(reads)]
        share = gy.double()[trailing(place)] / math.prod(part.shape[2:])
        part += share.view(*share.shape, *(1,) * len(place))
    return gx.to(gy.dtype)


def adaptive_max_pool(x: Tensor, *, output_size: Ints) -> tuple[Tensor, Tensor]:
    """As :func:`mezzotint.kernels.pooling.adaptive_max_pool`, window by window."""
    y = x.new_zeros((*x.shape[:2], *output_size))
    index = torch.zeros_like(y, dtype=torch.int64)
    places = torch.arange(math.prod(x.shape[2:]), device=x.device).view(x.shape[2:])
    for place, reads in _windows(x.shape[2:], output_size):
        values = x[trailing(reads)].flatten(2)
        first = values.argmax(-1)
        y[trailing(place)] = values.gather(-1, first.unsqueeze(-1)).squeeze(-1)
        index[trailing(place)] = places[reads].flatten()[first]
    return y, index


def _windows(size: Ints, output: Ints) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    for place in itertools.product(*map(range, output)):
        spans = (window(p, n, o) for p, n, o in zip(place, size, output, strict=True))
        yield place, tuple(slice(begin, end) for begin, end in spans)


def _reaching(x: Tensor, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    """The padding, longer at the end where the last window of a rounded-up size sticks out."""
    reached = []
    for axis, (before, after) in enumerate(pads_per_axis(padding)):
        last = (size[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        reached += [before, max(after, last - before - x.shape[2 + axis])]
    return reached


def _places(x: Tensor, tap: Tap, padding: Ints) -> Tensor:
    """Flat position in ``x`` that each output reads at ``tap``; -1 outside."""
    flat, inside = torch.zeros((), dtype=torch.int64), torch.ones((), dtype=torch.bool)
    rank = len(tap.reads)
    for axis, read in enumerate(tap.reads):
        length = x.shape[2 + axis]
        at = torch.arange(read.start, read.stop, read.step) - padding[2 * axis]
        at = at.view(-1, *(1,) * (rank - 1 - axis))
        flat, inside = flat * length + at, inside & (at >= 0) & (at < length)
    return torch.where(inside, flat, -1).to(x.device)


def _divisor(
    size: Ints, output: Ints, kernel: Ints, stride: Ints, padding: Ints, with_pads: bool, fixed: int, like: Tensor
) -> Tensor:
    """What the sum of each window is divided by: a fixed number, or the elements of the window."""
    if fixed:
        return like.new_tensor(float(fixed))
    count, rank = torch.ones((), dtype=like.dtype), len(size)
    for axis, (before, after) in enumerate(pads_per_axis(padding)):
        begin = torch.arange(output[axis]) * stride[axis] - before
        end = (begin + kernel[axis]).clamp(max=size[axis] + after)
        if not with_pads:
            begin, end = begin.clamp(min=0), end.clamp(max=size[axis])
        count = count * (end - begin).view(-1, *(1,) * (rank - 1 - axis))
    return count.to(like)


def summing_in_fp32(compute: Any) -> Any:
    """``compute`` with sums in FP32, or in the wider type of its input."""

    def run(x: Tensor, **attrs: Any) -> Tensor:
        result: Tensor = compute(x, work=torch.promote_types(x.dtype, torch.float32), **attrs)
        return result

    return run
