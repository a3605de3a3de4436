"""What is known of a value while a graph is read? Whether it is constant, and how it looks for two different inputs.

Every operator is tried twice on tensors without memory, with different numbers in place of the free sizes. What agrees
in both is fixed: ranks, channels, types. What can be computed from shapes alone is computed for real, and is a constant
when both agree. So the usual chains of Shape, Gather, Concat and Reshape vanish, and a wrong model is found when it is
loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

TRIALS: Final = 2


class Refused(Exception):
    """A node cannot be run; the message is the reason, without a full stop. Never leaves this room."""


@dataclass(slots=True)
class Value:
    """What a name of the graph stands for.

    Attributes:
        samples: how it looks in each trial: tensors on the device "meta", or real ones where they follow from shapes;
            for an operator of several results a tuple of those.
        constant: its tensor, if that is the same whatever the input.
        node: its node in the graph; a constant gets one when somebody reads it there.
        quantised: of a result of ``QuantizeLinear`` by constants: what was quantised, scale, and zero point or None.
    """

    samples: tuple[Any, ...]
    constant: Tensor | None = None
    node: fx.Node | None = None
    quantised: tuple[Value, Tensor, Tensor | None] | None = None

    @property
    def rank(self) -> int:
        """Number of axes.

        Raises:
            Refused: it depends on free sizes.
        """
        ranks = {sample.dim() for sample in self.samples}
        if len(ranks) > 1:
            raise Refused("its number of axes depends on the input's sizes")
        return int(ranks.pop())

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes; None where they are free."""
        assert self.rank >= 0
        both = zip(*(sample.shape for sample in self.samples), strict=True)
        return tuple(int(sizes[0]) if len(set(sizes)) == 1 else None for sizes in both)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        found: torch.dtype = self.samples[0].dtype
        return found

    @property
    def known(self) -> bool:
        """Whether its numbers follow from shapes, so that each trial has them."""
        return all(isinstance(sample, Tensor) and not sample.is_meta for sample in self.samples)

    def axis(self, axis: int) -> int:
        """An axis, counted from the front.

        Raises:
            Refused: there is no such axis.
        """
        return checked_axis(axis, self.rank)


@dataclass(slots=True)
class Numbers:
    """Whole numbers for an operator's settings, computed by the graph: lists in trials, a tensor at run time."""

    value: Value


def checked_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front, for a tensor of ``rank`` axes."""
    if not -rank <= axis < rank:
        raise Refused(f"it names the axis {axis} of {rank}")
    return axis % rank if rank else 0


def whole(numbers: Tensor | Sequence[int]) -> list[int]:
    """The numbers of a setting, which a graph may compute as a tensor."""
    return numbers.reshape(-1).tolist() if isinstance(numbers, Tensor) else list(numbers)


def tensors_of(result: Any) -> list[Tensor]:
    """All tensors within a result."""
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def size_in_bytes(results: Iterable[Tensor]) -> int:
    """Of tensors, with or without memory."""
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in results)
