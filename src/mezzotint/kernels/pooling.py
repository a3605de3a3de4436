"""How does PyTorch itself pool? Its kernels for one, two and three axes, on any device.

PyTorch pads both ends of an axis alike; where they differ, :mod:`mezzotint.kernels.pooling_taps` is asked. What PyTorch
has for two axes only is used for one axis with a second one of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels.problem import Problem

Ints = Sequence[int]
_ADAPTIVE_AVG: dict[int, Callable[..., Tensor]] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def pads_alike(problem: Problem) -> str | None:
    """``None``, or why PyTorch cannot pad so."""
    padding = problem.attr("padding")
    return None if padding[::2] == padding[1::2] else "PyTorch pads both ends of an axis alike"


def maxima(problem: Problem) -> str | None:
    """``None``, or why PyTorch cannot take such maxima."""
    padding, kernel = problem.attr("padding"), problem.attr("kernel_size")
    if len(kernel) == 3 and any(pad > k // 2 for pad, k in zip(padding[::2], kernel, strict=True)):
        return "PyTorch pads three axes by half of the undilated window at most"
    return pads_alike(problem)


def averages(problem: Problem) -> str | None:
    """``None``, or why PyTorch cannot take such means."""
    size, kernel = dict(problem.attrs).get("input_size") or problem.shape("x")[2:], problem.attr("kernel_size")
    if len(kernel) == 3 and any(n < k for n, k in zip(size, kernel, strict=True)):
        return "PyTorch's windows over three axes are not larger than the input without its padding"
    return pads_alike(problem)


def max_pool(
    x: Tensor, *, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """Largest element of each window (NaN wins) and its flat position among the spatial axes of ``x``."""
    pads = list(padding[::2])
    if x.dim() == 3:
        return torch.max_pool1d_with_indices(x, list(kernel_size), list(stride), pads, list(dilation), ceil_mode)
    pool = F.max_pool2d if x.dim() == 4 else F.max_pool3d
    found: tuple[Tensor, Tensor] = pool(
        x, list(kernel_size), list(stride), pads, list(dilation), ceil_mode, return_indices=True
    )
    return found


def max_pool_grad(gy: Tensor, indices: Tensor, *, input_size: Ints) -> Tensor:
    """``gy`` added up at ``indices``, in at least FP32."""
    wide = torch.promote_types(gy.dtype, torch.float32)
    gx = torch.zeros((*gy.shape[:2], math.prod(input_size)), dtype=wide, device=gy.device)
    gx.scatter_add_(2, indices.flatten(2), gy.flatten(2).to(wide))
    return gx.view(*gy.shape[:2], *input_size).to(gy.dtype)


def avg_pool(x: Tensor, **attrs: Any) -> Tensor:
    """Sum of each window over its divisor; ``divisor`` 0 means the elements of the window."""
    if x.dim() == 3:
        return avg_pool(x.unsqueeze(2), **_with_an_axis(attrs)).squeeze(2)
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
    return pool(_computable(x), *_average(attrs)).to(x.dtype)


def avg_pool_grad(gy: Tensor, *, input_size: Ints, **attrs: Any) -> Tensor:
    """Transpose of :func:`avg_pool` for an input of spatial size ``input_size``."""
    if gy.dim() == 3:
        return avg_pool_grad(gy.unsqueeze(2), input_size=[1, *input_size], **_with_an_axis(attrs)).squeeze(2)
    like = _computable(gy).new_empty((*gy.shape[:2], *input_size))
    if not like.numel():
        return like.to(gy.dtype)
    back = torch.ops.aten.avg_pool2d_backward if gy.dim() == 4 else torch.ops.aten.avg_pool3d_backward
    gx: Tensor = back(_computable(gy), like, *_average(attrs))
    return gx.to(gy.dtype)


def lp_pool(x: Tensor, *, norm: float, kernel_size: Ints, stride: Ints, ceil_mode: bool) -> Tensor:
    """``(sum over the window of x^norm)^(1 / norm)``; a window that sticks out is weighed up to a whole one."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    attrs = {"padding": [0] * (2 * len(kernel_size)), "count_include_pad": True, "divisor": 0}
    mean = avg_pool(wide.pow(norm), kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode, **attrs)
    return (mean * math.prod(kernel_size)).pow(1 / norm).to(x.dtype)


def adaptive_avg_pool(x: Tensor, *, output_size: Ints) -> Tensor:
    """Mean of each of ``output_size`` windows, which share out the axes of ``x`` evenly."""
    if x.dim() == 3:
        return adaptive_avg_pool(x.unsqueeze(2), output_size=[1, *output_size]).squeeze(2)
    return _ADAPTIVE_AVG[x.dim() - 2](x, list(output_size))


def adaptive_avg_pool_grad(gy: Tensor, *, input_size: Ints) -> Tensor:
    """Transpose of :func:`adaptive_avg_pool`."""
    if gy.dim() == 3:
        return adaptive_avg_pool_grad(gy.unsqueeze(2), input_size=[1, *input_size]).squeeze(2)
    like = gy.new_empty((*gy.shape[:2], *input_size))
    if not gy.numel():
        return like.zero_()
    aten = torch.ops.aten
    back = aten._adaptive_avg_pool2d_backward if gy.dim() == 4 else aten._adaptive_avg_pool3d_backward
    gx: Tensor = back(gy, like)
    return gx


def adaptive_max_pool(x: Tensor, *, output_size: Ints) -> tuple[Tensor, Tensor]:
    """Largest element of each adaptive window and its flat position among the spatial axes of ``x``."""
    pools = {3: F.adaptive_max_pool1d, 4: F.adaptive_max_pool2d, 5: F.adaptive_max_pool3d}
    found: tuple[Tensor, Tensor] = pools[x.dim()](x, list(output_size), return_indices=True)
    return found


def global_only(problem: Problem) -> str | None:
    """``None``, or why a mean over whole axes is not what is asked for."""
    return None if set(problem.attr("output_size")) == {1} else "it has one output per channel only"


def global_avg_pool(x: Tensor, *, output_size: Ints) -> Tensor:
    """Mean over all of each channel, summed in at least FP32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.mean(tuple(range(2, x.dim())), keepdim=True, dtype=wide).to(x.dtype)


def _computable(x: Tensor) -> Tensor:
    """``x``, in FP32 where PyTorch has no kernel for its type: means over three axes in 16 bits on a CPU."""
    return x.float() if x.dim() == 5 and x.dtype.itemsize == 2 and x.device.type == "cpu" else x


def _average(attrs: dict[str, Any]) -> tuple[Any, ...]:
    return (
        list(attrs["kernel_size"]),
        list(attrs["stride"]),
        list(attrs["padding"][::2]),
        attrs["ceil_mode"],
        attrs["count_include_pad"],
        attrs["divisor"] or None,
    )


def _with_an_axis(attrs: dict[str, Any]) -> dict[str, Any]:
    ones = {name: [1, *attrs[name]] for name in ("kernel_size", "stride")}
    return {**attrs, **ones, "padding": [0, 0, *attrs["padding"]]}
