"""Is a copy of a layer an average that misses its moves? Copies are remembered, and looked at before a pattern moves.

``torch.optim.swa_utils.AveragedModel`` and its like deep-copy a model and write averages into the copy's parameters.
When the model's pattern moves, the copy's does not: values at equal places are then of different weights, and, as long
as their number is the same, nothing else would tell. A copy that is left alone, trained itself or given a pattern of
its own is nobody's average, and neither is one that was written into once (a load, a scale that was folded in).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, ref

from torch import Tensor

from mezzotint.errors import InputError, message
from mezzotint.sparse.pattern import Pattern

if TYPE_CHECKING:
    from mezzotint.sparse.layer import SparseLayer


@dataclass
class _Copy:
    """A copy, and its state when it was made."""

    layer: ref[SparseLayer]
    pattern: Pattern
    version: int
    trained: bool = False

    def is_an_average(self) -> bool:
        """Whether others keep writing into it."""
        layer = self.layer()
        if layer is None or self.trained or layer.values.is_inference():
            return False
        return layer.values._version - self.version > 1 and self._has_its_first_pattern(layer)

    def _has_its_first_pattern(self, layer: SparseLayer) -> bool:
        """Whether the pattern was never set; moving to another device makes an equal one there."""
        now, first = layer.pattern, self.pattern
        return now is first or (now.device != first.device and now == first)

    def note_training(self, _: Tensor) -> None:
        """Its values have got a gradient."""
        self.trained = True


_COPIES: Final[WeakKeyDictionary[SparseLayer, list[_Copy]]] = WeakKeyDictionary()


def remember(original: SparseLayer, layer: SparseLayer) -> None:
    """``layer`` has just been made as a deep copy of ``original``."""
    if layer.values.is_inference() or not layer.values.requires_grad:
        return  # what is not trained does not move
    made = _Copy(ref(layer), layer.pattern, layer.values._version)
    layer.values.register_post_accumulate_grad_hook(made.note_training)
    alive = [copy for copy in _COPIES.get(original, ()) if copy.layer() is not None]
    _COPIES[original] = [*alive, made]


def check_before_moving(name: str, layer: SparseLayer) -> None:
    """To be called before ``layer``, whose dotted name is ``name``, gets another pattern.

    Raises:
        InputError: a copy of it is kept as an average.
    """
    if any(copy.is_an_average() for copy in _COPIES.get(layer, ())):
        raise InputError(
            message(
                f"average of layer {name!r}",
                received="a copy of the model that others write into (torch.optim.swa_utils.AveragedModel?) and that"
                " does not follow the pattern, which is about to move",
                allowed="an average that follows the pattern",
                fix="Use mezzotint.sparse.WeightAverage(model), or method Static, which moves nothing.",
            )
        )
