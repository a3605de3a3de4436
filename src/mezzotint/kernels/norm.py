"""How is a batch normalised, with what stands before and behind it? PyTorch's kernels, and the oracle.

Statistics and parameters come in FP32 (or the wider type of the activations) where activations are of 16 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels import dense, reference

ACTIVATIONS = ("none", "relu", "relu6", "elu", "leaky_relu")


def activate(y: Tensor, activation: str, slope: float, *, inplace: bool = False) -> Tensor:
    """The activation of that name; ``slope`` is the factor of a leaky ReLU's negative side, or ELU's alpha."""
    if activation == "relu":
        return y.relu_() if inplace else y.relu()
    if activation == "relu6":
        return F.relu6(y, inplace=inplace)
    if activation == "elu":
        return F.elu(y, slope, inplace=inplace)
    return F.leaky_relu(y, slope, inplace=inplace) if activation == "leaky_relu" else y


def inference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    activation: str,
    slope: float,
) -> Tensor:
    """PyTorch's normalisation by given statistics, the activation in place."""
    return activate(F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), activation, slope, inplace=True)


def training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    stats: torch.dtype,
    activation: str,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's normalisation by the batch's own statistics: output, mean, and one over the standard deviation."""
    y, mean, invstd = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
    return activate(y, activation, slope, inplace=True), mean.to(stats), invstd.to(stats)


def training_grad(
    gy: Tensor, x: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's gradients of :func:`training` (before its activation) for activations, weight and bias."""
    gx, gw, gb = torch.ops.aten.native_batch_norm_backward(
        gy, x, weight, None, None, mean, invstd, True, 0.0, [True, True, True]
    )
    return gx, gw.to(mean.dtype), gb.to(mean.dtype)


def folded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    *,
    eps: float,
    activation: str,
    slope: float,
    **geometry: Any,
) -> Tensor:
    """One convolution: the normalisation goes into its weight and bias, the activation is done in place."""
    scale = (var + eps).rsqrt() if gamma is None else gamma * (var + eps).rsqrt()
    shift = -mean * scale if bias is None else (bias - mean) * scale
    shift = shift if beta is None else shift + beta
    scaled = (weight * scale.view(-1, *(1,) * (weight.dim() - 1))).to(weight.dtype)
    return activate(dense.conv(x, scaled, shift, **geometry), activation, slope, inplace=True)


def in_turn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    *,
    eps: float,
    activation: str,
    slope: float,
    **geometry: Any,
) -> Tensor:
    """Convolution, normalisation and activation one after the other."""
    y = dense.conv(x, weight, bias, **geometry)
    return inference(y, mean, var, gamma, beta, eps=eps, activation=activation, slope=slope)


def oracle_inference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    activation: str,
    slope: float,
) -> Tensor:
    """:func:`inference` in float64."""
    y = (x.double() - _wide(mean, x)) / (_wide(var, x) + eps).sqrt()
    return activate(_affine(y, weight, bias), activation, slope).to(x.dtype)


def oracle_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    stats: torch.dtype,
    activation: str,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`training` in float64."""
    wide = x.double()
    mean = wide.mean(_axes(x))
    invstd = 1 / ((wide - _wide(mean, x)).square().mean(_axes(x)) + eps).sqrt()
    y = _affine((wide - _wide(mean, x)) * _wide(invstd, x), weight, bias)
    return activate(y, activation, slope).to(x.dtype), mean.to(stats), invstd.to(stats)


def oracle_training_grad(
    gy: Tensor, x: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`training_grad` in float64."""
    wide, normal = gy.double(), (x.double() - _wide(mean, x)) * _wide(invstd, x)
    gb, gw = wide.sum(_axes(x)), (wide * normal).sum(_axes(x))
    count = x.numel() // x.shape[1]
    scale = _wide(invstd, x) if weight is None else _wide(invstd * weight, x)
    gx = scale * (wide - _wide(gb / count, x) - normal * _wide(gw / count, x))
    return gx.to(x.dtype), gw.to(mean.dtype), gb.to(mean.dtype)


def oracle_folded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    *,
    eps: float,
    activation: str,
    slope: float,
    **geometry: Any,
) -> Tensor:
    """:func:`folded` in float64, step after step."""
    y = reference.conv(x.double(), weight.to(x.dtype).double(), bias, **geometry)
    return oracle_inference(y, mean, var, gamma, beta, eps=eps, activation=activation, slope=slope).to(x.dtype)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * _wide(weight, y)
    return y if bias is None else y + _wide(bias, y)


def _wide(per_channel: Tensor, x: Tensor) -> Tensor:
    return per_channel.double().view(-1, *(1,) * (x.dim() - 2))


def _axes(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]
