"""Which missing weights does an update bring to life? Pure functions: a pattern, what stays of it, scores, a count."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mezzotint.errors import InputError, message
from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.prune import Keep, kept_by_magnitude
from mezzotint.sparse.ranking import largest
from mezzotint.sparse.view import LayerView

Scores = Callable[[], Tensor]
"""Makes ``[numel]`` scores of a layer's weights, active or not, when they are wanted."""
Grow = Callable[[Pattern, Tensor, Tensor, int], Pattern]
"""``grow(pattern, kept, scores, count)``: the kept weights and ``count`` new ones."""


def grown_pattern(pattern: Pattern, kept: Tensor, scores: Tensor, count: int) -> Pattern:
    """The kept weights, and the ``count`` missing ones of highest score, the lower position first among equals.

    Weights that were just pruned count as missing and may come back.

    Args:
        pattern: before the update.
        kept: bool ``[nnz]``.
        scores: ``[numel]``, finite; of any shape.
        count: how many to grow, 0 to the number of weights that are not kept.

    Raises:
        InputError: sizes that do not fit the pattern, or a count out of range.
    """
    stay, candidates = _ready(pattern, kept, scores, count)
    candidates[stay] = -torch.inf  # below every score
    chosen = torch.cat([stay, largest(candidates, count)]).sort().values
    return Pattern(chosen, pattern.shape)


def grown_by_neuron(pattern: Pattern, kept: Tensor, scores: Tensor, count: int) -> Pattern:
    """As :func:`grown_pattern`, but each output unit grows in proportion to the mean score of all its weights.

    "Momentum-neuron" growth of the published code of sparse momentum; the counts of the units are exact here. Scores
    are at least 0.
    """
    units = pattern.shape[0]
    row = math.prod(pattern.shape[1:])
    stay, flat = _ready(pattern, kept, scores, count)
    by_unit = flat.view(units, row)
    room = row - torch.bincount(stay.div(row, rounding_mode="floor"), minlength=units)
    pull = by_unit.double().mean(1).tolist()
    counts = apportion(count, pull, [0] * units, room.tolist())
    candidates = by_unit.clone()
    candidates.view(-1)[stay] = -torch.inf
    new = [largest(candidates[unit], gained) + unit * row for unit, gained in enumerate(counts) if gained]
    return Pattern(torch.cat([stay, *new]).sort().values, pattern.shape)


def _ready(pattern: Pattern, kept: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The positions that stay, and a copy of the scores, flat."""
    _check_size("kept", kept, pattern.nnz, pattern)
    _check_size("scores", scores, pattern.numel, pattern)
    stay = pattern.indices[kept.reshape(-1)].long()
    room = pattern.numel - len(stay)
    if not 0 <= count <= room:
        raise InputError(message("count of weights to grow", received=count, allowed=f"0 to {room}"))
    flat = scores.detach().reshape(-1)
    return stay, (flat.clone() if flat.is_floating_point() else flat.float())


def _check_size(name: str, given: object, size: int, pattern: Pattern) -> None:
    kind = "bools, True = stays" if name == "kept" else "numbers"
    fits = isinstance(given, Tensor) and given.numel() == size and (given.dtype == torch.bool) == (name == "kept")
    if not fits:
        received = f"{given.dtype} {list(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise InputError(message(name, received=received, allowed=f"a tensor of {size} {kind}, for {pattern!r}"))


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
    _check_size("kept", kept, view.pattern.nnz, view.pattern)
    if gained:
        return grow(view.pattern, kept, scores(), gained)
    return Pattern(view.pattern.indices[kept], view.pattern.shape)
