"""What does a batch norm do to a channel, and what is its gradient? Coefficients from totals over the batch.

``z = y * scale + shift`` per channel, with ``scale = weight / sqrt(var + eps)`` and ``shift = bias - mean * scale``
(Ioffe and Szegedy, 2015). The gradient for ``y`` is linear in the output gradient g and in y itself,
``gy = g * scale + y * b + c``, where b and c follow from two sums: that of g, and that of g * y. So each direction is
one pass over memory; the totals come from the pass before. Coefficients are computed in float64, applied in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from mezzotint.kernels import native_norm, passes


@dataclass(frozen=True, slots=True)
class Normalised:
    """How a batch norm acts on this batch.

    Attributes:
        scale, shift: float32 ``[C]``, what is applied.
        state: float64 ``[2, C]``: mean and reciprocal standard deviation.
        count: numbers of a channel that the statistics were taken over; 0 when they are the running ones.
    """

    scale: Tensor
    shift: Tensor
    state: Tensor
    count: int


def uses_batch(norm: nn.BatchNorm2d) -> bool:
    """Whether ``norm`` takes the statistics of the batch, by PyTorch's rule."""
    return norm.training or norm.running_mean is None or norm.running_var is None


def state_of(norm: nn.BatchNorm2d) -> tuple[Tensor | None, ...]:
    """The tensors that it has."""
    return (norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.num_batches_tracked)


def from_batch(norm: nn.BatchNorm2d, totals: Tensor, count: int, bias: Tensor | None = None) -> Normalised:
    """From the totals ``[C, 2]`` (sum, sum of squares) of this batch; running statistics are updated.

    ``bias [C]`` was left out of the numbers that the totals are of: it shifts the mean, which a batch norm takes away.

    Raises:
        ValueError: a channel has one number, as PyTorch says it: its deviation from its mean is nothing.
    """
    if count == 1:
        size = torch.Size((1, len(totals), 1, 1))
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")
    running, share = None, 0.0
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        running, share = (norm.running_mean, norm.running_var), _share(norm)
    weight, shift_by = (None if tensor is None else tensor.detach() for tensor in (norm.weight, norm.bias))
    scale, shift, state = native_norm.norm_coefficients(
        totals, count, weight=weight, bias=shift_by, eps=norm.eps, running=running, share=share, left_out=bias
    )
    return Normalised(scale, shift, state, count)


def from_running(norm: nn.BatchNorm2d, bias: Tensor | None = None) -> Normalised:
    """From the running statistics; ``bias`` as in :func:`from_batch`."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm without running statistics has only those of the batch")
    running = (_plain(norm.running_mean), _plain(norm.running_var))
    weight, shift_by = (None if tensor is None else _plain(tensor) for tensor in (norm.weight, norm.bias))
    scale, shift, state = native_norm.running_coefficients(
        running, weight=weight, bias=shift_by, eps=norm.eps, left_out=None if bias is None else _plain(bias)
    )
    return Normalised(scale, shift, state, 0)


def _plain(tensor: Tensor) -> Tensor:
    """As the native loop takes it: itself, as a rule."""
    return tensor.detach().float().contiguous()


def _share(norm: nn.BatchNorm2d) -> float:
    """This batch's share of the running statistics, as in PyTorch: ``momentum``, or with ``None`` the plain average."""
    if norm.num_batches_tracked is not None:
        passes.each_time(partial(norm.num_batches_tracked.add_, 1))
    if norm.momentum is not None:
        return norm.momentum
    passes.differs()
    return 1.0 if norm.num_batches_tracked is None else 1.0 / float(norm.num_batches_tracked)


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
    weight, bias, *of_y = native_norm.norm_gradient(totals, normalised.count, normalised.scale, normalised.state)
    return NormGradient(weight, bias, *(of_y if normalised.count else (None, None)))
