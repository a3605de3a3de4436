"""How are matrix products translated? To ``nn.Linear`` where the right matrix is constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators.convolution import filled
from mezzotint.deploy.onnx.value import Refused, Value


def gemm(call: Call) -> Value:
    """``Gemm``: ``alpha A' B' + beta C``."""
    a, b, c = call.value(0), call.value(1), call.optional(2)
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    flip_a, flip_b = call.flag("transA"), call.flag("transB")
    if a.rank != 2 or b.rank != 2:
        raise Refused(f"it multiplies tensors of {a.rank} and {b.rank} axes, and needs matrices")
    if flip_a:
        a = call.emit(torch.t, a)
    units = b.shape[0 if flip_b else 1]
    if b.constant is not None and b.dtype.is_floating_point and (c is None or _is_bias(c, units)):
        bias = None if c is None or c.constant is None else (beta * c.constant).reshape(-1).expand(units or 0).clone()
        weight = b.constant if flip_b else b.constant.t()
        return call.emit(_linear(weight if alpha == 1.0 else alpha * weight, bias), a)
    return call.emit(general_product, a, call.emit(torch.t, b) if flip_b else b, c, alpha, beta)


def general_product(a: Tensor, b: Tensor, c: Tensor | None, alpha: float, beta: float) -> Tensor:
    """``alpha a b + beta c``, of the type of ``a``."""
    y = a @ b if alpha == 1.0 else alpha * (a @ b)
    if c is not None:
        y = y + (c if beta == 1.0 else beta * c)
    return y.to(a.dtype)


def matmul(call: Call) -> Value:
    """``MatMul``: NumPy's rule."""
    a, b = call.value(0), call.value(1)
    if b.constant is not None and b.rank == 2 and a.rank >= 2 and b.dtype.is_floating_point:
        return call.emit(_linear(b.constant.t(), None), a)
    return call.emit(torch.matmul, a, b)


def _is_bias(c: Value, units: int | None) -> bool:
    shape = c.constant.shape if c.constant is not None else None
    return shape is not None and (shape.numel() in (1, units)) and all(size == 1 for size in shape[:-1])


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    return filled(made, weight=weight.contiguous(), bias=bias)


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {"Gemm": gemm, "MatMul": matmul}
