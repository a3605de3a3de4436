"""What does a call give, as far as shapes go? Found without asking PyTorch, which would load its compiler to answer.

Its shape rules for broadcasting, windows, batch norm and linear layers are written in Python. The first one that is
used loads SymPy and ``torch._dynamo``, which takes longer than all else that makes a session.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint.deploy.onnx.value import Refused
from mezzotint.kernels.geometry import effective_kernel, output_sizes

Shape = tuple[int, ...]


def foreseen(target: Callable[..., Any] | nn.Module, args: tuple[Any, ...]) -> Tensor | None:
    """A tensor on the device "meta" like the result of ``target(*args)``; None: PyTorch is to be asked.

    Raises:
        Refused: shapes that do not go together.
    """
    if target in _BROADCASTING:
        return _empty(_broadcast(args), torch.result_type(*args))
    rule = _RULES.get(type(target))
    if rule is None or not args[0].is_floating_point() or args[0].numel() == 0:
        return None
    shape = rule(target, args[0])
    return None if shape is None else _empty(shape, args[0].dtype)


def _broadcast(args: tuple[Any, ...]) -> Shape:
    try:
        return np.broadcast_shapes(*(tuple(arg.shape) for arg in args))
    except ValueError as error:
        raise Refused(f"tensors of the shapes {[list(arg.shape) for arg in args]} do not go together") from error


def _kept(module: Any, x: Tensor) -> Shape:
    return tuple(x.shape)


def _normalised(norm: Any, x: Tensor) -> Shape | None:
    return tuple(x.shape) if not norm.training and x.dim() > 1 and x.shape[1] == norm.num_features else None


def _multiplied(linear: Any, x: Tensor) -> Shape | None:
    fits = x.dim() > 0 and x.shape[-1] == linear.in_features and x.dtype == linear.weight.dtype
    return (*x.shape[:-1], linear.out_features) if fits else None


def _convolved(conv: Any, x: Tensor) -> Shape | None:
    weight = conv.weight
    if x.dim() != weight.dim() or x.shape[1] != conv.in_channels or x.dtype != weight.dtype:
        return None
    sizes = _windowed(x, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return None if sizes is None else (x.shape[0], conv.out_channels, *sizes)


def _pooled(pool: Any, x: Tensor) -> Shape | None:
    def each(value: int | Shape) -> Shape:
        return value if isinstance(value, tuple) else (value,) * (x.dim() - 2)

    kernel, padding, dilation = each(pool.kernel_size), each(pool.padding), each(getattr(pool, "dilation", 1))
    lengths = {len(kernel), len(padding), len(dilation), len(each(pool.stride)), x.dim() - 2}
    if len(lengths) > 1 or getattr(pool, "return_indices", False):
        return None
    if any(2 * side > effective_kernel(k, d) for side, k, d in zip(padding, kernel, dilation, strict=True)):
        return None
    sizes = _windowed(x, kernel, each(pool.stride), padding, dilation, ceil=pool.ceil_mode)
    return None if sizes is None else (*x.shape[:2], *sizes)


def _averaged(pool: Any, x: Tensor) -> Shape | None:
    size = pool.output_size
    wanted = size if isinstance(size, tuple) else (size,) * (x.dim() - 2)
    if len(wanted) != x.dim() - 2:
        return None
    return (*x.shape[:2], *(n if one is None else one for one, n in zip(wanted, x.shape[2:], strict=True)))


def _windowed(
    x: Tensor, kernel: Shape, stride: Shape, padding: Shape | str, dilation: Shape, *, ceil: bool = False
) -> Shape | None:
    """None where PyTorch has something to say against it."""
    if isinstance(padding, str):
        return None
    sides = [side for size in padding for side in (size, size)]
    sizes = output_sizes(x.shape[2:], kernel, stride=stride, padding=sides, dilation=dilation, ceil=ceil)
    return tuple(sizes) if min(sizes) > 0 else None


def _empty(shape: Shape, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


_BROADCASTING: Final = (operator.add, operator.sub, operator.mul)
_RULES: Final[dict[type, Callable[[Any, Tensor], Shape | None]]] = {
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish, nn.SiLU), _kept),
    **dict.fromkeys((nn.LeakyReLU, nn.Tanh, nn.ELU), _kept),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _normalised),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolved),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _pooled),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _pooled),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _averaged),
    nn.Linear: _multiplied,
}
