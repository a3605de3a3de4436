"""How are reductions over axes translated? Axes from attributes or inputs; the mean over an image to pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.value import Refused, Value, checked_axis

Reduce = Callable[[Tensor, Sequence[int], bool], Tensor]


def mean(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Mean over ``axes``; whole numbers are rounded towards zero."""
    if not x.is_floating_point():
        return x.double().mean(tuple(axes), keep).to(x.dtype)
    return x.mean(tuple(axes), keep)


def total(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Sum over ``axes``, of the type of ``x``; over none it is ``x``, where PyTorch's is over all."""
    return x.sum(tuple(axes), keep, dtype=x.dtype) if axes else x


def greatest(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Greatest number over ``axes``."""
    return x.to(torch.uint8).amax(tuple(axes), keep).bool() if x.dtype is torch.bool else x.amax(tuple(axes), keep)


def least(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Least number over ``axes``."""
    return x.to(torch.uint8).amin(tuple(axes), keep).bool() if x.dtype is torch.bool else x.amin(tuple(axes), keep)


def product(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Product over ``axes``."""
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keep, dtype=x.dtype)
    return x


def norm1(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Sum of absolute values."""
    return total(x.abs(), axes, keep)


def norm2(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Root of the sum of squares."""
    return torch.sqrt(square_sum(x, axes, keep).double()).to(x.dtype)


def square_sum(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Sum of squares."""
    return total(x * x, axes, keep)


def log_sum(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Logarithm of the sum."""
    return torch.log(total(x, axes, keep))


def log_sum_exp(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Logarithm of the sum of exponentials."""
    return torch.logsumexp(x, tuple(axes), keep)


def _over_axes(function: Reduce, call: Call) -> Value:
    x, keep = call.value(0), call.flag("keepdims", True)
    said, nothing = call.ints("axes"), call.flag("noop_with_empty_axes")
    if call.optional(1) is not None:
        said = call.fixed(1)
    if not said and nothing:
        # The others leave one number as it is; so does the logarithm of its exponential.
        return call.emit(function, x, (), keep) if function in (norm1, norm2, square_sum, log_sum) else x
    rank = x.rank
    axes = sorted({checked_axis(axis, rank) for axis in said}) if said else list(range(rank))
    if 0 in [x.shape[axis] for axis in axes] and function in (greatest, least):
        return call.emit(_of_nothing, x, tuple(axes), keep, function is greatest)
    if function is mean and rank == 4 and axes == [2, 3] and x.dtype.is_floating_point:
        pooled = call.emit(nn.AdaptiveAvgPool2d(1), x)
        return pooled if keep else call.emit(torch.flatten, pooled, 1)
    return call.emit(function, x, tuple(axes), keep)


def _of_nothing(x: Tensor, axes: Sequence[int], keep: bool, is_greatest: bool) -> Tensor:
    """The greatest or least of no numbers: the least or greatest that the type has."""
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    if x.dtype is torch.bool:
        bound: float = not is_greatest
    else:
        low, high = (
            (-torch.inf, torch.inf) if x.is_floating_point() else (torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max)
        )
        bound = low if is_greatest else high
    y = torch.full(shape, bound, dtype=x.dtype, device=x.device)
    return y if keep else y.reshape([size for axis, size in enumerate(x.shape) if axis not in axes])


def _arg(call: Call, *, most: bool) -> Value:
    """``ArgMax`` and ``ArgMin``: of equal numbers the first, or the last."""
    x, keep, last = call.value(0), call.flag("keepdims", True), call.flag("select_last_index")
    return call.emit(place_of, x, x.axis(call.integer("axis", 0)), keep, last, most)


def place_of(x: Tensor, axis: int, keep: bool, last: bool, most: bool) -> Tensor:
    """int64 place of the greatest or least number along ``axis``."""
    find = torch.argmax if most else torch.argmin
    if not last:
        return find(x, axis, keep)
    return x.shape[axis] - 1 - find(x.flip(axis), axis, keep)


def _lp_normalization(call: Call) -> Value:
    x, p = call.value(0), call.integer("p", 2)
    if p not in (1, 2):
        raise Refused(f"its p is {p}; 1 and 2 can be run")
    return call.emit(scaled_to_one, x, x.axis(call.integer("axis", -1)), p)


def scaled_to_one(x: Tensor, axis: int, p: int) -> Tensor:
    """``x`` over its p-norm along ``axis``; zeros stay zeros."""
    length = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {
    "ReduceMean": partial(_over_axes, mean),
    "ReduceSum": partial(_over_axes, total),
    "ReduceMax": partial(_over_axes, greatest),
    "ReduceMin": partial(_over_axes, least),
    "ReduceProd": partial(_over_axes, product),
    "ReduceL1": partial(_over_axes, norm1),
    "ReduceL2": partial(_over_axes, norm2),
    "ReduceSumSquare": partial(_over_axes, square_sum),
    "ReduceLogSum": partial(_over_axes, log_sum),
    "ReduceLogSumExp": partial(_over_axes, log_sum_exp),
    "ArgMax": partial(_arg, most=True),
    "ArgMin": partial(_arg, most=False),
    "LpNormalization": _lp_normalization,
}
