"""How does a batch norm act on a channel, and what is its gradient? Coefficients from totals, in one native loop."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.native import require
from mezzotint.kernels.native_layout import doubles
from mezzotint.kernels.passes import argument, maybe


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
    require()
    scale, shift = torch.empty(totals.shape[0]), torch.empty(totals.shape[0])
    state = torch.empty(2, totals.shape[0], dtype=torch.float64)
    mean, var = (None, None) if running is None else running
    norm = (maybe(weight), maybe(bias), maybe(left_out), maybe(mean), maybe(var))
    results = (argument(scale), argument(shift), doubles(state))
    native.extension().norm_coefficients(doubles(totals), float(count), norm, eps, share, *results)
    return scale, shift, state


def norm_gradient(totals: Tensor, count: int, scale: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From ``totals [C, 2]`` of an output gradient g and of ``g * y``: four float32 ``[C]``.

    They are the gradients of weight and bias, and the a and b of ``g * scale + y * a + b``, the gradient for y.
    """
    require()
    weight, bias, companion, constant = results = tuple(torch.empty(totals.shape[0]) for _ in range(4))
    given = (doubles(totals), float(count), argument(scale), doubles(state))
    native.extension().norm_gradient(*given, *[argument(result) for result in results])
    return weight, bias, companion, constant
