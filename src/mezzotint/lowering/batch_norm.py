"""What does a batch norm do to a channel, and what is its gradient? Coefficients from totals over the batch.

``z = y * scale + shift`` per channel, with ``scale = weight / sqrt(var + eps)`` and ``shift = bias - mean * scale``
(Ioffe and Szegedy, 2015). The gradient for ``y`` is linear in the output gradient g and in y itself,
``gy = g * scale + y * b + c``, where b and c follow from two sums: that of g, and that of g * y. So each direction is
one pass over memory; the totals come from the pass before. Coefficients are computed in float64, applied in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Normalised:
    """How a batch norm acts on this batch.

    Attributes:
        scale, shift: float32 ``[C]``, what is applied.
        mean, rstd: float64 ``[C]``.
        count: numbers of a channel that the statistics were taken over; 0 when they are the running ones.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor
    rstd: Tensor
    count: int


def uses_batch(norm: nn.BatchNorm2d) -> bool:
    """Whether ``norm`` takes the statistics of the batch, by PyTorch's rule."""
    return norm.training or norm.running_mean is None or norm.running_var is None


def from_batch(norm: nn.BatchNorm2d, totals: Tensor, count: int, bias: Tensor | None = None) -> Normalised:
    """From the totals ``[C, 2]`` (sum, sum of squares) of this batch; running statistics are updated.

    ``bias [C]`` was left out of the numbers that the totals are of: it shifts the mean, which a batch norm takes away.
    """
    mean = totals[:, 0] / count
    var = (totals[:, 1] / count - mean * mean).clamp_(min=0.0)
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        _update_running(norm, mean if bias is None else mean + bias.double(), var, count)
    return _normalised(norm, mean, var, count)


def from_running(norm: nn.BatchNorm2d, bias: Tensor | None = None) -> Normalised:
    """From the running statistics; ``bias`` as in :func:`from_batch`."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm without running statistics has only those of the batch")
    mean = norm.running_mean.double()
    return _normalised(norm, mean if bias is None else mean - bias.double(), norm.running_var.double(), 0)


def _normalised(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> Normalised:
    rstd = torch.rsqrt(var + norm.eps)
    scale = rstd if norm.weight is None else rstd * norm.weight.detach().double()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return Normalised(scale.float(), shift.float(), mean, rstd, count)


@torch.no_grad()
def _update_running(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """As PyTorch does: an exponential average, or with ``momentum=None`` the plain one; variance unbiased."""
    if norm.running_mean is None or norm.running_var is None:
        return
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    share = norm.momentum
    if share is None:
        share = 1.0 if norm.num_batches_tracked is None else 1.0 / float(norm.num_batches_tracked)
    unbiased = var * (count / max(1, count - 1))
    norm.running_mean.mul_(1.0 - share).add_(mean.to(norm.running_mean.dtype), alpha=share)
    norm.running_var.mul_(1.0 - share).add_(unbiased.to(norm.running_var.dtype), alpha=share)


@dataclass(frozen=True, slots=True)
class NormGradient:
    """What the totals of an output gradient say.

    Attributes:
        weight, bias: float32 ``[C]``, gradients of the affine parameters.
        companion, constant: float32 ``[C]``: the gradient for y is ``g * scale + y * companion + constant``; ``None``
            where both are zero.
    """

    weight: Tensor
    bias: Tensor
    companion: Tensor | None
    constant: Tensor | None


def gradient(normalised: Normalised, totals: Tensor) -> NormGradient:
    """From ``totals [C, 2]``: the sums over the batch of g, and of g * y."""
    total = totals[:, 0]
    weight = normalised.rstd * (totals[:, 1] - normalised.mean * total)
    if not normalised.count:
        return NormGradient(weight.float(), total.float(), None, None)
    scale = normalised.scale.double()
    companion = -scale * normalised.rstd * weight / normalised.count
    constant = -scale * total / normalised.count - companion * normalised.mean
    return NormGradient(weight.float(), total.float(), companion.float(), constant.float())
