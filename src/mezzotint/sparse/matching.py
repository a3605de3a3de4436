"""What did a training loop do to its gradients before the optimiser's step? Told from the active weights, done to all.

Dense gradients of open windows are not in ``parameter.grad``. What ``torch.nn.utils.clip_grad_norm_``,
``clip_grad_value_`` or ``torch.amp.GradScaler`` do to the gradients of active weights is therefore read off those: they
are known as they were collected and as the optimiser uses them. Two kinds of change can be carried over to missing
weights: one factor for the whole layer, and a bound on magnitudes after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_TOLERANCE: Final = 1e-3
"""Relative 2-norm of what a change may leave unexplained: the two may have been summed in other orders."""
_SAME: Final = 1e-5
"""A factor as near to 1 as this is rounding."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Multiply by ``factor``, then limit magnitudes to ``bound``."""

    factor: float
    bound: float = math.inf

    def apply_(self, gradient: Tensor) -> None:
        """Change ``gradient`` in place."""
        if self.factor != 1:
            gradient.mul_(self.factor)
        if self.bound < math.inf:
            gradient.clamp_(-self.bound, self.bound)

    def explains(self, collected: Tensor, used: Tensor, tolerance: float) -> bool:
        """Whether it turns ``collected`` into ``used``, up to a relative 2-norm of ``tolerance``."""
        changed = collected * self.factor
        error = torch.linalg.vector_norm(changed.clamp_(-self.bound, self.bound) - used)
        return bool(error <= tolerance * torch.linalg.vector_norm(used))


NONE: Final = Change(factor=1.0)


def change_between(collected: Tensor, used: Tensor, guesses: Sequence[float] = ()) -> Change | None:
    """What turns the gradients ``collected`` into those ``used`` by the optimiser, both ``[nnz]``.

    Args:
        collected: as the backward passes left them.
        used: as the optimiser's step reads them.
        guesses: factors to try where the gradients themselves do not tell one: all of them are at the bound.

    Returns:
        The change, or None when both are 0 everywhere: any factor would do.

    Raises:
        ValueError: neither a factor nor a factor and a bound explain it.
    """
    if torch.equal(collected, used):
        return NONE if bool(used.any()) else None
    tolerance = max(_TOLERANCE, torch.finfo(used.dtype).eps)
    before, after = collected.double(), used.double()
    if not bool(after.isfinite().all()):
        return NONE  # a step on gradients that are not finite: no factor makes it a better one
    top = float(after.abs().max())
    below = after.abs() < top  # clipping by value leaves these as they are
    for factor in (_ratio(before, after, below), _ratio(before, after, ~below), *guesses):
        if factor is not None:
            factor = 1.0 if abs(factor - 1) < _SAME else factor
            clipped = bool((before.abs() * abs(factor) > top * (1 + tolerance)).any())
            change = Change(factor=factor, bound=top if clipped else math.inf)
            if change.explains(before, after, tolerance):
                return change
    raise ValueError("gradients were changed one by one")


def _ratio(before: Tensor, after: Tensor, chosen: Tensor) -> float | None:
    """The factor of least squares over the ``chosen`` entries; None where it is undetermined."""
    chosen = chosen & before.isfinite()
    x, y = before[chosen], after[chosen]
    square = float(x @ x)
    return float(x @ y) / square if square > 0 else None
