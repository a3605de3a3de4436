"""How are activations translated? To PyTorch's modules of the same rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators.convolution import filled
from mezzotint.deploy.onnx.value import Refused, Value


def clip(call: Call) -> Value:
    """``Clip``: bounds from attributes before operator set 11, from inputs since then."""
    x = call.value(0)
    if call.opset < 11:
        low, high = call.real("min", -math.inf), call.real("max", math.inf)
        return _bounded(call, x, low, high)
    bounds = [call.optional(1), call.optional(2)]
    if bounds == [None, None]:
        return x
    if any(bound is not None and bound.constant is None for bound in bounds) or not x.dtype.is_floating_point:
        return call.emit(torch.clamp, x, *bounds)
    least = -math.inf if bounds[0] is None else call.scalar(1)
    return _bounded(call, x, least, math.inf if bounds[1] is None else call.scalar(2))


def prelu(call: Call) -> Value:
    """``PRelu``: one slope, or one a channel, to ``nn.PReLU``; any other shape to a call."""
    x, slope = call.value(0), call.value(1)
    if slope.constant is not None and x.rank >= 2 and x.dtype.is_floating_point:
        a_channel = (
            slope.constant.dim() == x.rank - 1 and slope.constant.shape[0] == slope.constant.numel() == x.shape[1]
        )
        if slope.constant.numel() == 1 or a_channel:
            made = nn.PReLU(slope.constant.numel(), device="meta")
            return call.emit(filled(made, weight=slope.constant.reshape(-1)), x)
    return call.emit(sloped, x, slope)


def sloped(x: Tensor, slope: Tensor) -> Tensor:
    """``x`` where it is at least 0, ``slope * x`` elsewhere."""
    return torch.where(x < 0, slope * x, x)


def hard_sigmoid(call: Call) -> Value:
    """``HardSigmoid``; PyTorch's own has the slope 1/6."""
    alpha, beta = call.real("alpha", 0.2), call.real("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return call.emit(nn.Hardsigmoid(), call.value(0))
    return call.emit(bent, call.value(0), alpha, beta)


def bent(x: Tensor, alpha: float, beta: float) -> Tensor:
    """``alpha x + beta`` within [0, 1]."""
    return (alpha * x + beta).clamp(0.0, 1.0)


def thresholded(x: Tensor, alpha: float) -> Tensor:
    """``x`` above ``alpha``, 0 elsewhere."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


def shrunk(x: Tensor, threshold: float, bias: float) -> Tensor:
    """``x`` drawn towards 0 by ``bias`` outside of ``threshold``, 0 within."""
    inside = torch.zeros_like(x)
    return torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, inside))


def gelu(call: Call) -> Value:
    """``Gelu``."""
    return call.emit(nn.GELU(call.choice("approximate", "none", ("none", "tanh"))), call.value(0))


def swish(call: Call) -> Value:
    """``Swish``: ``x sigmoid(alpha x)``."""
    alpha = call.real("alpha", 1.0)
    return call.emit(nn.SiLU(), call.value(0)) if alpha == 1.0 else call.emit(scaled_swish, call.value(0), alpha)


def scaled_swish(x: Tensor, alpha: float) -> Tensor:
    """``x sigmoid(alpha x)``."""
    return x * torch.sigmoid(alpha * x)


def softmax(call: Call, *, log: bool) -> Value:
    """``Softmax`` and ``LogSoftmax``: over one axis; before operator set 13 over all axes from one on."""
    x = call.value(0)
    axis = x.axis(call.integer("axis", -1 if call.opset >= 13 else 1))
    if call.opset >= 13 or axis == x.rank - 1:
        return call.emit((nn.LogSoftmax if log else nn.Softmax)(axis), x)
    return call.emit(softmax_over_rest, x, axis, log)


def softmax_over_rest(x: Tensor, axis: int, log: bool) -> Tensor:
    """Over all axes from ``axis`` on together."""
    flat = x.flatten(axis)
    return (F.log_softmax if log else F.softmax)(flat, axis).reshape(x.shape)


def _bounded(call: Call, x: Value, low: float, high: float) -> Value:
    if math.isnan(low) or math.isnan(high):
        raise Refused("its bounds are no numbers")
    if (low, high) == (0.0, math.inf):
        return call.emit(nn.ReLU(), x)
    if (low, high) == (0.0, 6.0):
        return call.emit(nn.ReLU6(), x)
    return call.emit(torch.clamp, x, low, high)


def _module(make: Callable[..., nn.Module], call: Call) -> Value:
    return call.emit(make(), call.value(0))


def _alpha(make: Callable[..., nn.Module], default: float, call: Call) -> Value:
    return call.emit(make(call.real("alpha", default)), call.value(0))


def _selu(call: Call) -> Value:
    return call.emit(
        scaled_elu,
        call.value(0),
        call.real("alpha", 1.67326319217681884765625),
        call.real("gamma", 1.05070102214813232421875),
    )


def scaled_elu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    """``gamma elu(x, alpha)``."""
    return gamma * F.elu(x, alpha)


def _threshold(call: Call) -> Value:
    return call.emit(thresholded, call.value(0), call.real("alpha", 1.0))


def _shrink(call: Call) -> Value:
    return call.emit(shrunk, call.value(0), call.real("lambd", 0.5), call.real("bias", 0.0))


def _relu(call: Call) -> Value:
    x = call.value(0)
    return call.emit(nn.ReLU() if x.dtype.is_floating_point else torch.relu, x)


Handler = Callable[[Call], Value]
OPERATORS: Final[dict[str, Handler]] = {
    "Relu": _relu,
    "Clip": clip,
    "LeakyRelu": partial(_alpha, nn.LeakyReLU, 0.01),
    "PRelu": prelu,
    "Elu": partial(_alpha, nn.ELU, 1.0),
    "Celu": partial(_alpha, nn.CELU, 1.0),
    "Selu": _selu,
    "Sigmoid": partial(_module, nn.Sigmoid),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": partial(_module, nn.Hardswish),
    "Mish": partial(_module, nn.Mish),
    "Gelu": gelu,
    "Swish": swish,
    "Tanh": partial(_module, nn.Tanh),
    "Softplus": partial(_module, nn.Softplus),
    "Softsign": partial(_module, nn.Softsign),
    "ThresholdedRelu": _threshold,
    "Shrink": _shrink,
    "Softmax": partial(softmax, log=False),
    "LogSoftmax": partial(softmax, log=True),
}
