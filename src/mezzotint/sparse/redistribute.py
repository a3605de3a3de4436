"""Which layers get the weights that others lost? Pulls of layers, and whole numbers in proportion to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from mezzotint.errors import RunError
from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.view import LayerView


def mean_momentum(views: Sequence[LayerView]) -> list[float]:
    """Mean \\|momentum\\| over each layer's active weights: the importance of sparse momentum."""
    return [_mean_magnitude(view.momentum) for view in views]


def mean_magnitude(views: Sequence[LayerView]) -> list[float]:
    """Mean \\|weight\\| over each layer's active weights."""
    return [_mean_magnitude(view.values) for view in views]


def nonzeros(views: Sequence[LayerView]) -> list[float]:
    """Each layer's number of active weights."""
    return [float(view.pattern.nnz) for view in views]


def _mean_magnitude(x: Tensor | None) -> float:
    return 0.0 if x is None or not x.numel() else float(x.abs().mean(dtype=torch.float64))


def importance(pull: Sequence[float], views: Sequence[LayerView]) -> list[float]:
    """``pull`` scaled to sum to 1; by number of nonzeros when all of it is 0.

    Raises:
        RunError: a pull is not finite: the momentum or the weights have diverged.
    """
    for view, value in zip(views, pull, strict=True):
        if not math.isfinite(value):
            raise RunError(f"topology update: the importance of layer {view.name!r} is {value}; training has diverged.")
    usable = pull if sum(pull) > 0 else nonzeros(views)
    total = sum(usable)
    return [value / total for value in usable] if total else [1 / len(usable)] * len(usable)


def grow_counts(
    views: Sequence[LayerView], pruned: Sequence[int], share: Sequence[float], total: int | None = None
) -> list[int]:
    """How many weights each layer gets: in proportion to ``share``, never more than fit.

    The counts sum to ``total`` exactly; None: to all that were pruned. A layer that lost everything gets at least one
    back.
    """
    kept = [view.pattern.nnz - count for view, count in zip(views, pruned, strict=True)]
    room = [view.pattern.numel - count for view, count in zip(views, kept, strict=True)]
    least = [1 if count == 0 and lost > 0 else 0 for count, lost in zip(kept, pruned, strict=True)]
    return apportion(sum(pruned) if total is None else total, share, least, room)


PULLS: Final[dict[str, Callable[[Sequence[LayerView]], list[float]]]] = {
    "momentum": mean_momentum,
    "magnitude": mean_magnitude,
    "nonzeros": nonzeros,
}
"""Name -> by what pruned weights are redistributed over layers."""
