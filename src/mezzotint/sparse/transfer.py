"""How does a layer get its new pattern without its optimiser noticing? Values and state move together, in place."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from mezzotint.sparse.carry import carried
from mezzotint.sparse.layer import SparseLayer
from mezzotint.sparse.moments import Moments
from mezzotint.sparse.pattern import Pattern

_MAXIMA: Final = {"max_exp_avg_sq": "exp_avg_sq"}
"""State that is a running maximum of other state: a grown weight's maximum starts at its moment, not at 0."""


def move_layer(layer: SparseLayer, pattern: Pattern, optimizer: Optimizer, moments: Moments) -> None:
    """Give ``layer`` the pattern ``pattern`` and re-index its values and every optimiser state of their shape.

    Args:
        layer: keeps its Parameter object; weights in both patterns keep value and state, new weights start at 0.0.
        pattern: of the same dense shape.
        optimizer: over ``layer.values``.
        moments: state key -> ``[numel]``: the moments of every weight of the layer, active or not.
    """
    # Not optimizer.state[...]: looking up a parameter that has no state yet would make an empty one.
    state: MutableMapping[str, Any] = optimizer.state.get(layer.values, {})
    old = layer.pattern
    shaped = {key: t for key, t in state.items() if isinstance(t, Tensor) and t.shape == layer.values.shape}
    moved = {key: _moved(key, tensor, old, pattern, moments) for key, tensor in shaped.items()}
    layer.set_pattern(pattern, carried(layer.values.detach(), old, pattern))
    state.update(moved)


def _moved(key: str, tensor: Tensor, old: Pattern, new: Pattern, moments: Moments) -> Tensor:
    positions = new.indices.long()
    if key in moments:
        return moments[key][positions].to(tensor.dtype)
    kept = carried(tensor, old, new)
    source = moments.get(_MAXIMA.get(key, ""))
    return kept if source is None else torch.maximum(kept, source[positions].to(kept.dtype))
