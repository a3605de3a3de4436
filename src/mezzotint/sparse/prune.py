"""Which weights does an update take away, and how many of each layer? Pure functions over layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.ranking import smallest
from mezzotint.sparse.view import LayerView

NEARLY_DENSE: Final = 0.8

# -- how many ----------------------------------------------------------------------------------------------------------


def fraction_of(nnz: int, rate: float) -> int:
    """``ceil(rate * nnz)``."""
    # The tiny subtrahend keeps 0.07 * 100 = 7.000000000000001 from counting as 8.
    return max(0, math.ceil(rate * nnz - 1e-9))


def fraction_counts(views: Sequence[LayerView], rate: float) -> list[int]:
    """``ceil(rate * nnz)`` of each layer."""
    return [fraction_of(view.pattern.nnz, rate) for view in views]


def prune_counts(views: Sequence[LayerView], share: Sequence[float], rate: float) -> list[int]:
    """How many weights each layer loses under sparse momentum: ``ceil(rate * nnz)``.

    A layer that is nearly dense (density above 0.8) and more important than the average loses only as large a fraction
    as it has zeros, as in the published code: it would get most of its weights back at once.
    """
    average = sum(share) / len(share) if share else 0.0
    counts = []
    for view, its_share in zip(views, share, strict=True):
        sparsity = 1 - view.pattern.density
        protected = view.pattern.density > NEARLY_DENSE and its_share > average
        counts.append(fraction_of(view.pattern.nnz, min(rate, sparsity) if protected else rate))
    return counts


def global_counts(views: Sequence[LayerView], total: int) -> list[int]:
    """How many of the ``total`` weights of least magnitude in all layers together lie in each layer.

    Among equals the earlier layer loses first.
    """
    magnitudes = [view.values.detach().abs().reshape(-1).float() for view in views]
    owner = torch.repeat_interleave(torch.tensor([len(m) for m in magnitudes]))
    chosen = smallest(torch.cat(magnitudes), total).cpu()
    return torch.bincount(owner[chosen], minlength=len(views)).tolist()


def counts_below(views: Sequence[LayerView], threshold: float) -> list[int]:
    """How many weights of each layer have a magnitude below ``threshold``."""
    return [int((view.values.detach().abs() < threshold).sum()) for view in views]


# -- which -------------------------------------------------------------------------------------------------------------

Keep = Callable[[LayerView, int], Tensor]
"""``keep(view, count)``: bool ``[nnz]``, False at the ``count`` weights to prune."""


def kept_by_score(scores: Tensor, count: int) -> Tensor:
    """bool, the shape of ``scores``: False at the ``count`` smallest, the lower position first among equals."""
    kept = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    kept[smallest(scores, count)] = False
    return kept


def kept_by_magnitude(view: LayerView, count: int) -> Tensor:
    """bool ``[nnz]``: False at the ``count`` weights of least magnitude, the lower position first among equals."""
    return kept_by_score(view.values.detach().abs(), count)


def kept_by_sign(view: LayerView, count: int) -> Tensor:
    """bool ``[nnz]``: False at the smallest positive and the largest negative weights, ``count`` in all.

    Both signs lose the same fraction (Mocanu et al. 2018, SET, algorithm 1). A weight of exactly 0 counts as positive.
    """
    values = view.values.detach()
    positive = values >= 0
    sides = [int(positive.sum()), int((~positive).sum())]
    lost = apportion(count, [float(side) for side in sides], [0, 0], sides)
    kept = torch.ones_like(positive)
    for side, loses in zip((positive, ~positive), lost, strict=True):
        places = side.nonzero().view(-1)
        kept[places[smallest(values[places].abs(), loses)]] = False
    return kept


KEEPS: Final[dict[str, Keep]] = {"magnitude": kept_by_magnitude, "set": kept_by_sign}
"""Name -> which weights of a layer stay, when its number of losses is given."""
