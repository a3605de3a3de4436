"""How is a tensor rounded to 16 bits without leaving FP32, and without its gradient noticing?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(dtype).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` rounded to the nearest numbers of ``dtype``, of its own type still; the gradient passes unchanged."""
    found: Tensor = _Round.apply(x, dtype)  # type: ignore[no-untyped-call]
    return found
