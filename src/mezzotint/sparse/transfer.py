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

_SQUARES: Final = ("exp_avg_sq", "square_avg")
"""Running averages of squared gradients, by whose root a step is divided. A grown weight without a history starts with
the layer's mean: from 0 its first steps would be up to 6 learning rates long, as Adam corrects the bias for the steps
of the whole layer (and RMSprop, up to 10, not at all)."""


def move_layer(layer: SparseLayer, pattern: Pattern, optimizer: Optimizer, moments: Moments) -> None:
    """Give ``layer`` the pattern ``pattern`` and re-index its values and every optimiser state of their shape.

    Args:
        layer: keeps its Parameter object; weights in both patterns keep value and state, new weights start at 0.0.
        pattern: of the same dense shape.
        optimizer: over ``layer.values``.
        moments: state key -> ``[numel]``: the moments of every weight of the layer, active or not. State
            that is not among them starts at 0 for new weights, second moments at the mean of the layer.
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
    kept = carried(tensor, old, new, tensor.mean() if key in _SQUARES and tensor.numel() else None)
    source = moments.get(_MAXIMA.get(key, ""))
    return kept if source is None else torch.maximum(kept, source[positions].to(kept.dtype))
