"""What may a topology update know of a layer? Its active weights, their gradient and momentum, and where they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mezzotint.sparse.pattern import Pattern


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """What an update may know of a layer.

    Attributes:
        name: dotted name in the model.
        values: ``[nnz]`` active weights.
        pattern: where they are.
        momentum: ``[nnz]`` FP32: the optimiser's momentum of the active weights (for Adam, the ratio of its moments);
            None unless the method reads it.
        gradient: ``[nnz]``: of the active weights in the step that was just taken, as the optimiser used it (unscaled,
            clipped), 0 where the layer had none; None unless the method reads it.
    """

    name: str
    values: Tensor
    pattern: Pattern
    momentum: Tensor | None = None
    gradient: Tensor | None = None
