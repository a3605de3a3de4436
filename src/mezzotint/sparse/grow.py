"""Which missing weights does an update bring to life? Pure functions: a pattern, what stays of it, scores, a count."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.prune import Keep, kept_by_magnitude
from mezzotint.sparse.ranking import largest
from mezzotint.sparse.view import LayerView

Scores = Callable[[], Tensor]
"""Makes ``[numel]`` scores of at least 0 of a layer's weights, active or not, when they are wanted."""
Grow = Callable[[Pattern, Tensor, Tensor, int], Pattern]
"""``grow(pattern, kept, scores, count)``: the kept weights and ``count`` new ones."""


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


def grown_by_neuron(pattern: Pattern, kept: Tensor, scores: Tensor, count: int) -> Pattern:
    """As :func:`grown_pattern`, but each output unit grows in proportion to the mean score of all its weights.

    "Momentum-neuron" growth of the published code of sparse momentum; the counts of the units are exact here.
    """
    units = pattern.shape[0]
    row = math.prod(pattern.shape[1:])
    stay = pattern.indices[kept].long()
    by_unit = scores.reshape(units, row)
    room = row - torch.bincount(stay.div(row, rounding_mode="floor"), minlength=units)
    pull = by_unit.double().mean(1).tolist()
    counts = apportion(count, pull, [0] * units, room.tolist())
    candidates = by_unit.clone()
    candidates.view(-1)[stay] = -1.0
    new = [largest(candidates[unit], gained) + unit * row for unit, gained in enumerate(counts) if gained]
    return Pattern(torch.cat([stay, *new]).sort().values, pattern.shape)


def rewired(
    view: LayerView,
    lost: int,
    gained: int,
    scores: Scores,
    keep: Keep = kept_by_magnitude,
    grow: Grow = grown_pattern,
) -> Pattern:
    """The layer's new pattern: ``lost`` weights pruned, then ``gained`` grown; pruned ones may come back."""
    kept = keep(view, lost)
    if gained:
        return grow(view.pattern, kept, scores(), gained)
    return Pattern(view.pattern.indices[kept], view.pattern.shape)
