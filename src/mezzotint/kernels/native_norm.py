"""How does a batch norm act on a channel, and what is its gradient? Coefficients from totals, in one native loop."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.native import require
from mezzotint.kernels.native_layout import doubles
from mezzotint.kernels.passes import argument, maybe, own


def norm_coefficients(
    totals: Tensor,
    count: int,
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    running: tuple[Tensor, Tensor] | None = None,
    share: float = 0.0,
    left_out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a batch norm is on this batch: ``scale [C]`` and ``shift [C]``, float32, and its state, float64 ``[2, C]``.

    The state is mean and reciprocal standard deviation, for :func:`norm_gradient`.

    Args:
        totals: float64 ``[C, 2]``, sums and sums of squares of ``count`` numbers a channel.
        weight, bias: float32 ``[C]``; ``None`` is 1 and 0.
        running: mean and variance, float32 ``[C]``, to be updated in place by ``share`` of this batch's.
        left_out: float32 ``[C]``, a bias that the numbers do not hold; it shifts the running mean alone.
    """
    return _coefficients(totals, count, (weight, bias, left_out), eps, running, share)


def running_coefficients(
    running: tuple[Tensor, Tensor],
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    left_out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`norm_coefficients`, by the ``running`` statistics, which stay as they are."""
    return _coefficients(None, 0, (weight, bias, left_out), eps, running, 0.0)


def _coefficients(
    totals: Tensor | None,
    count: int,
    affine: tuple[Tensor | None, Tensor | None, Tensor | None],
    eps: float,
    running: tuple[Tensor, Tensor] | None,
    share: float,
) -> tuple[Tensor, Tensor, Tensor]:
    require()
    mean, var = (None, None) if running is None else running
    channels = next(tensor.shape[0] for tensor in (totals, mean) if tensor is not None)
    scale, shift = own(torch.empty(channels)), own(torch.empty(channels))
    state = own(torch.empty(2, channels, dtype=torch.float64))
    norm = (*map(maybe, affine), maybe(mean), maybe(var))
    sums = None if totals is None else doubles(totals)
    results = (argument(scale), argument(shift), doubles(state))
    native.extension().norm_coefficients(sums, float(count), norm, eps, share, *results)
    return scale, shift, state


def norm_gradient(totals: Tensor, count: int, scale: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From ``totals [C, 2]`` of an output gradient g and of ``g * y``: four float32 ``[C]``.

    They are the gradients of weight and bias, and the a and b of ``g * scale + y * a + b``, the gradient for y; both
    are 0 with running statistics, when ``count`` is 0.
    """
    require()
    weight, bias, companion, constant = results = tuple(own(torch.empty(totals.shape[0])) for _ in range(4))
    given = (doubles(totals), float(count), argument(scale), doubles(state))
    native.extension().norm_gradient(*given, *[argument(result) for result in results])
    return weight, bias, companion, constant
