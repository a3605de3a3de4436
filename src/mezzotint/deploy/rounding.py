"""How does a number become one of those that a quantised model knows? In floats, in one step."""

from __future__ import annotations

import torch
from torch import Tensor


def rounded(x: Tensor, step: float, least: int, most: int) -> Tensor:
    """The nearest of ``least * step, ..., most * step``; a half goes to the even one.

    ``DequantizeLinear`` of ``QuantizeLinear`` with one scale, ``step``, and one zero point, from which
    ``least`` and ``most`` are counted.
    """
    return torch.round(x / step).clamp(least, most) * step
