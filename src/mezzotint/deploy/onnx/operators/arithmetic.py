"""How is arithmetic on numbers translated? One table of functions of one, two or many tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Final

import torch
from torch import Tensor

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.tensors import DTYPES, NAMES
from mezzotint.deploy.onnx.value import Refused, Value


def quotient(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``; whole numbers are rounded towards zero."""
    if a.is_floating_point() or b.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """``base ** exponent``, of the type of ``base``."""
    return torch.pow(base, exponent).to(base.dtype)


def average(*tensors: Tensor) -> Tensor:
    """Mean of tensors, number by number."""
    return reduce(torch.add, tensors) / len(tensors)


def remainder(call: Call) -> Value:
    """``Mod``: the sign of the divisor, or with ``fmod`` of the dividend."""
    return call.emit(torch.fmod if call.flag("fmod") else torch.remainder, call.value(0), call.value(1))


def cast(call: Call) -> Value:
    """``Cast`` between numbers that PyTorch has."""
    code = call.integer("to", 0)
    call.integer("saturate", 1)  # of 8-bit floats alone
    call.text("round_mode", "up")
    if code not in DTYPES:
        raise Refused(f"it makes numbers of type {NAMES.get(code, code)}, which PyTorch has no arithmetic for")
    return call.emit(torch.Tensor.to, call.value(0), DTYPES[code])


def cast_like(call: Call) -> Value:
    """``CastLike``: to the type of another tensor."""
    call.integer("saturate", 1)
    call.text("round_mode", "up")
    return call.emit(torch.Tensor.to, call.value(0), call.value(1).dtype)


def where(call: Call) -> Value:
    """``Where``."""
    return call.emit(torch.where, call.value(0), call.value(1), call.value(2))


_UNARY: Final[dict[str, Callable[..., Tensor]]] = {
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
    "Erf": torch.erf,
    "Reciprocal": torch.reciprocal,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
    "Not": torch.logical_not,
    "IsNaN": torch.isnan,
}
_BINARY: Final[dict[str, Callable[..., Tensor]]] = {  # sums are those of Python's operators, which lowering knows
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": quotient,
    "Pow": power,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}
_MANY: Final[dict[str, Callable[..., Tensor]]] = {"Min": torch.minimum, "Max": torch.maximum, "Sum": operator.add}


def _one(function: Callable[..., Tensor], call: Call) -> Value:
    return call.emit(function, call.value(0))


def _two(function: Callable[..., Tensor], call: Call) -> Value:
    return call.emit(function, call.value(0), call.value(1))


def _many(function: Callable[..., Tensor], call: Call) -> Value:
    values = [call.value(place) for place in range(len(call.inputs))]
    if not values:
        raise Refused("it has no inputs")
    return reduce(partial(call.emit, function), values)


def _mean(call: Call) -> Value:
    return call.emit(average, *(call.value(place) for place in range(len(call.inputs))))


def _dropout(call: Call) -> Value | Sequence[Value]:
    """``Dropout`` does nothing in inference, and its mask lets everything through."""
    training = call.optional(2)
    call.real("ratio", 0.5)
    call.integer("seed", 0)
    if training is not None and (training.constant is None or bool(training.constant.any())):
        raise Refused("it is in training mode")
    x = call.value(0)
    return x if call.outputs < 2 else [x, call.emit(torch.ones_like, x, dtype=torch.bool)]


OPERATORS: Final[dict[str, Callable[[Call], Value | Sequence[Value]]]] = {
    **{name: partial(_one, function) for name, function in _UNARY.items()},
    **{name: partial(_two, function) for name, function in _BINARY.items()},
    **{name: partial(_many, function) for name, function in _MANY.items()},
    "Mean": _mean,
    "Mod": remainder,
    "Cast": cast,
    "CastLike": cast_like,
    "Where": where,
    "Dropout": _dropout,
    "Identity": lambda call: call.value(0),
}
