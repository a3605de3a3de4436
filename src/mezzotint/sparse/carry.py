"""How do numbers follow a layer to a new pattern? What stays keeps its number, what is new starts at 0 or as told."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.sparse.pattern import Pattern


def carried(numbers: Tensor, old: Pattern, new: Pattern, first: Tensor | None = None) -> Tensor:
    """``numbers`` ``[old.nnz]`` re-indexed for ``new``: the scalar ``first`` (None: 0) where ``old`` has no weight.

    A weight that was pruned and grown again in one update is in both patterns and keeps its number.
    """
    start = numbers.new_zeros(()) if first is None else first
    if old.nnz == 0:
        return start.expand(new.nnz).clone()
    place = torch.searchsorted(old.indices, new.indices).clamp_(max=old.nnz - 1)
    present = old.indices[place] == new.indices
    return torch.where(present, numbers[place], start)
