"""What does one topology update do? Prune, redistribute, grow: pure functions over layers, exact in every count.

Sparse momentum (Dettmers and Zettlemoyer 2019, "Sparse networks from scratch", algorithm 1), as its authors coded it
where paper and code differ, but with exact counts: the number of nonzeros is the same after every update, and there
are no correction terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mezzotint.errors import RunError
from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.ranking import largest, smallest

_NEARLY_DENSE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """What an update may know of a layer.

    Attributes:
        name: dotted name in the model.
        values: ``[nnz]`` active weights.
        momentum: ``[nnz]`` FP32: the optimiser's momentum of the active weights (for Adam, the ratio of its moments).
        pattern: where they are.
    """

    name: str
    values: Tensor
    momentum: Tensor
    pattern: Pattern


# -- redistribute: the pull of each layer -----------------------------------------------------------------------------


def mean_momentum(views: Sequence[LayerView]) -> list[float]:
    """Mean \\|momentum\\| over each layer's active weights: the importance of sparse momentum."""
    return [_mean_magnitude(view.momentum) for view in views]


def mean_magnitude(views: Sequence[LayerView]) -> list[float]:
    """Mean \\|weight\\| over each layer's active weights."""
    return [_mean_magnitude(view.values) for view in views]


def nonzeros(views: Sequence[LayerView]) -> list[float]:
    """Each layer's number of active weights."""
    return [float(view.pattern.nnz) for view in views]


def _mean_magnitude(x: Tensor) -> float:
    return float(x.abs().mean(dtype=torch.float64)) if x.numel() else 0.0


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
    return [value / total for value in usable]


# -- prune -------------------------------------------------------------------------------------------------------------


def prune_counts(views: Sequence[LayerView], share: Sequence[float], rate: float) -> list[int]:
    """How many weights each layer loses: ``ceil(rate * nnz)``.

    A layer that is nearly dense (density above 0.8) and more important than the average loses only as large a fraction
    as it has zeros, as in the published code: it would get most of its weights back at once.
    """
    average = sum(share) / len(share) if share else 0.0
    counts = []
    for view, its_share in zip(views, share, strict=True):
        sparsity = 1 - view.pattern.density
        protected = view.pattern.density > _NEARLY_DENSE and its_share > average
        fraction = min(rate, sparsity) if protected else rate
        # The tiny subtrahend keeps 0.07 * 100 = 7.000000000000001 from counting as 8.
        counts.append(max(0, math.ceil(fraction * view.pattern.nnz - 1e-9)))
    return counts


def kept_by_magnitude(view: LayerView, count: int) -> Tensor:
    """bool ``[nnz]``: False at the ``count`` weights of least magnitude, the lower position first among equals."""
    kept = torch.ones(view.pattern.nnz, dtype=torch.bool, device=view.values.device)
    kept[smallest(view.values.detach().abs(), count)] = False
    return kept


# -- redistribute ------------------------------------------------------------------------------------------------------


def grow_counts(views: Sequence[LayerView], pruned: Sequence[int], share: Sequence[float]) -> list[int]:
    """How many weights each layer gets of all that were pruned: in proportion to ``share``, never more than fit.

    The counts sum to ``sum(pruned)`` exactly. A layer that lost everything gets at least one back.
    """
    kept = [view.pattern.nnz - count for view, count in zip(views, pruned, strict=True)]
    room = [view.pattern.numel - count for view, count in zip(views, kept, strict=True)]
    least = [1 if count == 0 and lost > 0 else 0 for count, lost in zip(kept, pruned, strict=True)]
    return apportion(sum(pruned), share, least, room)


# -- grow --------------------------------------------------------------------------------------------------------------


def grown_pattern(pattern: Pattern, kept: Tensor, scores: Tensor, count: int) -> Pattern:
    """The kept weights, and the ``count`` missing ones of highest score, the lower position first among equals.

    Weights that were just pruned count as missing and may come back.

    Args:
        pattern: before the update.
        kept: bool ``[nnz]``.
        scores: ``[numel]``, at least 0.
        count: how many to grow.
    """
    stay = pattern.indices[kept].long()
    candidates = scores.reshape(-1).clone()
    candidates[stay] = -1.0  # below every score
    chosen = torch.cat([stay, largest(candidates, count)]).sort().values
    return Pattern(chosen, pattern.shape)


PULLS: Final[dict[str, Callable[[Sequence[LayerView]], list[float]]]] = {
    "momentum": mean_momentum,
    "magnitude": mean_magnitude,
    "nonzeros": nonzeros,
}
"""Name -> by what pruned weights are redistributed over layers."""
