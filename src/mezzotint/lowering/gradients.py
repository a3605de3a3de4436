"""How do the gradients of a tensor with several readers come together? In the pass that computes the last of them.

Readers hand in their gradients in the reverse of the forward order. A convolution adds what is pending to its sum while
that is in registers; and where it is the last reader, it also goes back through the ReLU and takes the sums that the
batch norm before it wants (:class:`Finishing`). What remains is done by a pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from mezzotint.kernels import native_layout
from mezzotint.kernels.native_layout import NO_HALO, Epilogue, NativeTensor, Sides


@dataclass(frozen=True, slots=True)
class Finishing:
    """What the last convolution does to a gradient on its way to memory.

    Attributes:
        epilogue: what is added, masked and summed.
        totals: whether its totals are wanted.
        halo: of the result.
    """

    epilogue: Epilogue
    totals: bool
    halo: Sides


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor's whole gradient.

    Attributes:
        tensor: the gradient.
        owned: whether nobody else reads this tensor.
        finished: whether it went through its :class:`Finishing`.
        totals: float64 ``[C, 2]`` where that was asked for.
    """

    tensor: NativeTensor
    owned: bool
    finished: bool
    totals: Tensor | None


@dataclass(slots=True)
class _Slot:
    readers: int
    wanted: bool
    finishing: Callable[[NativeTensor | None], Finishing] | None
    tensor: NativeTensor | None = None
    owned: bool = False
    finished: bool = False
    totals: Tensor | None = None


Convolve = Callable[[Finishing], tuple[NativeTensor, Tensor | None]]


class Gradients:
    """The gradients of all slots of a segment during one backward pass."""

    def __init__(self, readers: Sequence[int], wanted: Sequence[bool]) -> None:
        """
        Args:
            readers: of each slot, those outside the segment included.
            wanted: whether anybody wants the slot's gradient.
        """
        self._slots = [_Slot(count, want, None) for count, want in zip(readers, wanted, strict=True)]

    def let_finish(self, slot: int, rule: Callable[[NativeTensor | None], Finishing]) -> None:
        """How the last convolution that adds to ``slot`` may finish it, given what is pending."""
        self._slots[slot].finishing = rule

    def wants(self, slot: int) -> bool:
        """Whether a gradient for ``slot`` is to be computed."""
        return self._slots[slot].wanted

    def has(self, slot: int) -> bool:
        """Whether any reader has handed in a gradient."""
        return self._slots[slot].tensor is not None

    def pending(self, slot: int) -> NativeTensor | None:
        """What has come together so far."""
        return self._slots[slot].tensor

    def halo(self, slot: int) -> Sides:
        """What the step that made ``slot`` wants around its gradient."""
        rule = self._slots[slot].finishing
        return NO_HALO if rule is None else rule(None).halo

    def skip(self, slots: Sequence[int]) -> None:
        """A reader of ``slots`` has no gradient to hand in."""
        for slot in slots:
            self._slots[slot].readers -= 1

    def add(self, slot: int, tensor: NativeTensor, owned: bool) -> None:
        """Hand in a gradient; ``owned``: nobody else reads ``tensor``."""
        place = self._slots[slot]
        place.readers -= 1
        if not place.wanted:
            return
        if place.tensor is not None:
            tensor, owned = native_layout.normalise(place.tensor, other=tensor), True
        place.tensor, place.owned = tensor, owned

    def replace(self, slot: int, tensor: NativeTensor) -> None:
        """Hand in a gradient that has what was pending in it already; nobody else reads it."""
        place = self._slots[slot]
        place.readers -= 1
        place.tensor, place.owned = tensor, True

    def add_convolved(self, slot: int, convolve: Convolve) -> None:
        """Hand in the gradient that ``convolve(finishing)`` computes with what is pending; it returns totals too."""
        place = self._slots[slot]
        place.readers -= 1
        if place.readers == 0 and place.finishing is not None:
            rule, place.finished = place.finishing(place.tensor), True
        else:
            rule = Finishing(Epilogue(residual=place.tensor), totals=False, halo=NO_HALO)
        place.tensor, place.totals = convolve(rule)
        place.owned = True

    def forget(self, slot: int) -> None:
        """The step that made ``slot`` has gone back; what it kept must not be held any longer."""
        self._slots[slot].finishing = None

    def take(self, slot: int) -> Found:
        """The whole gradient, which is thereby forgotten here."""
        place = self._slots[slot]
        if place.tensor is None:
            raise RuntimeError(f"slot {slot} has no gradient")
        found = Found(place.tensor, place.owned, place.finished, place.totals)
        place.tensor = place.totals = None
        return found
