"""How does a quantised model run in floats? By rounding where it says so, and scaling back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.tensors import DTYPES, NAMES
from mezzotint.deploy.onnx.value import Refused, Value
from mezzotint.deploy.rounding import rounded

_TYPES: Final = (torch.uint8, torch.int8, torch.int16, torch.int32)


def quantize(call: Call) -> Value:
    """``QuantizeLinear`` to 8, 16 or 32 bits, one scale, or one for each entry of an axis or each block of entries."""
    x, scale, zero = call.value(0), call.value(1), call.optional(2)
    axis, block, code = call.integer("axis", 1), call.integer("block_size", 0), call.integer("output_dtype", 0)
    call.integer("saturate", 1)
    call.integer("precision", 0)
    dtype = zero.dtype if zero is not None else _type(code, torch.uint8)
    if dtype not in _TYPES:
        raise Refused(f"it makes numbers of type {dtype}")
    found = call.emit(quantized, x, scale, zero, _axis(x, scale, axis), block, dtype)
    if scale.constant is not None and (zero is None or zero.constant is not None):
        found.quantised = (x, scale.constant, None if zero is None else zero.constant)
    return found


def quantized(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int, dtype: torch.dtype) -> Tensor:
    """``round(x / scale) + zero`` within the bounds of ``dtype``."""
    limits = torch.iinfo(dtype)
    y = torch.round(x / _along(scale, x, axis, block))
    if zero is not None:
        y = y + _along(zero, x, axis, block).to(y.dtype)
    return y.clamp(limits.min, limits.max).to(dtype)


def dequantize(call: Call) -> Value:
    """``DequantizeLinear``; of a constant weight the float weight."""
    x, scale, zero = call.value(0), call.value(1), call.optional(2)
    axis, block, code = call.integer("axis", 1), call.integer("block_size", 0), call.integer("output_dtype", 0)
    if x.dtype not in _TYPES:
        raise Refused(f"it reads numbers of type {x.dtype}")
    dtype = _type(code, scale.dtype)
    return _at_once(call, x, scale, zero, dtype) or call.emit(
        dequantized, x, scale, zero, _axis(x, scale, axis), block, dtype
    )


def _at_once(call: Call, x: Value, scale: Value, zero: Value | None, dtype: torch.dtype) -> Value | None:
    """Both roundings of ``DequantizeLinear(QuantizeLinear(...))`` with one number each, as one that sessions fuse."""
    if x.quantised is None or scale.constant is None:
        return None
    before, its_scale, its_zero = x.quantised
    point = None if zero is None else zero.constant
    one_number = its_scale.numel() == 1 and (its_zero is None or its_zero.numel() == 1)
    same = torch.equal(its_scale, scale.constant) and _number(its_zero) == _number(point)
    if not one_number or not same or before.dtype != torch.float32 or dtype != torch.float32 or float(its_scale) <= 0:
        return None
    limits, offset = torch.iinfo(x.dtype), _number(its_zero) or 0
    return call.emit(rounded, before, float(its_scale), limits.min - offset, limits.max - offset)


def _number(zero: Tensor | None) -> int | None:
    """A zero point; None: it is not one number."""
    if zero is None:
        return 0
    return int(zero) if zero.numel() == 1 else None


def dequantized(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int, dtype: torch.dtype) -> Tensor:
    """``(x - zero) * scale``."""
    y = x.to(torch.float32)
    if zero is not None:
        y = y - _along(zero, x, axis, block).to(torch.float32)
    return (y * _along(scale, x, axis, block)).to(dtype)


def _type(code: int, default: torch.dtype) -> torch.dtype:
    if code and code not in DTYPES:
        raise Refused(f"it makes numbers of type {NAMES.get(code, code)}")
    return DTYPES.get(code, default)


def _axis(x: Value, scale: Value, axis: int) -> int:
    return x.axis(axis) if scale.rank >= 1 and scale.shape != (1,) else 0


def _along(numbers: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """One number, or one for each entry of ``axis`` or each block of entries, as a tensor that broadcasts."""
    if block:
        return numbers.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    if numbers.numel() == 1:
        return numbers.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return numbers.reshape(shape)


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
}
