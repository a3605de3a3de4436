"""Which weights live and die together? Groups of positions: n of every m inputs, or blocks of outputs by inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import InputError, message
from mezzotint.sparse.distribution import density_by_layer
from mezzotint.sparse.pattern import Pattern

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How the positions of a weight are grouped.

    Attributes:
        text: how it is written: "2:4" or "4x4".
        outputs, inputs: a group is so many neighbouring outputs by inputs at one kernel position.
        of_group: active weights in each group; None: all of a group or none.
    """

    text: str
    outputs: int
    inputs: int
    of_group: int | None

    @classmethod
    def parse(cls, text: str) -> Structure:
        """ "n:m" (n of every m neighbouring input channels) or "axb" (blocks of a output by b input channels).

        Raises:
            InputError: it is neither.
        """
        if found := re.fullmatch(r"(\d+):(\d+)", text):
            n, m = int(found[1]), int(found[2])
            if 1 <= n < m:
                return cls(text=text, outputs=1, inputs=m, of_group=n)
        elif found := re.fullmatch(r"(\d+)x(\d+)", text):
            outputs, inputs = int(found[1]), int(found[2])
            if outputs >= 1 and inputs >= 1 and outputs * inputs > 1:
                return cls(text=text, outputs=outputs, inputs=inputs, of_group=None)
        raise InputError(
            message(
                "structure",
                received=text,
                allowed='"n:m" with 1 <= n < m, as "2:4", or blocks of outputs by inputs, as "4x4" or "8x1"',
            )
        )

    @property
    def size(self) -> int:
        """Positions of a group."""
        return self.outputs * self.inputs

    def groups(self, shape: Shape, name: str) -> Tensor:
        """int64 ``[groups, size]``: flat positions, each in one group.

        Raises:
            InputError: the channels of the weight do not divide; ``name`` says in the message whose.
        """
        outputs, inputs = shape[0], shape[1]
        if outputs % self.outputs or inputs % self.inputs:
            raise InputError(
                message(
                    f"structure of layer {name!r}",
                    received=f"{self.text!r} for a weight of {outputs} outputs by {inputs} inputs",
                    allowed=f"outputs that divide by {self.outputs} and inputs that divide by {self.inputs}",
                    fix=f"Add {name!r} to exclude, or choose another structure.",
                )
            )
        rest = math.prod(shape[2:])
        split = (outputs // self.outputs, self.outputs, inputs // self.inputs, self.inputs, rest)
        positions = torch.arange(math.prod(shape)).view(split)
        return positions.permute(0, 2, 4, 1, 3).reshape(-1, self.size)

    def pattern(self, scores: Tensor, shape: Shape, groups: int, name: str) -> Pattern:
        """The pattern that keeps the highest scores.

        Args:
            scores: ``[numel]``.
            shape: of the weight.
            groups: for blocks, how many of them stay, those of highest mean score; without effect for "n:m".
            name: of the layer, for errors.
        """
        members = self.groups(shape, name).to(scores.device)
        by_group = scores.reshape(-1)[members]
        if self.of_group is None:
            order = by_group.mean(1).argsort(descending=True, stable=True)[:groups]
            chosen = members[order].reshape(-1)
        else:
            order = by_group.argsort(dim=1, descending=True, stable=True)[:, : self.of_group]
            chosen = members.gather(1, order).reshape(-1)
        return Pattern(chosen.sort().values, shape)

    def check(self, pattern: Pattern, name: str) -> None:
        """Raise :class:`InputError` unless ``pattern`` has this structure."""
        members = self.groups(pattern.shape, name).to(pattern.device)
        counts = pattern.to_mask().reshape(-1)[members].sum(1)
        right = counts == self.of_group if self.of_group is not None else (counts == 0) | (counts == self.size)
        if not bool(right.all()):
            raise InputError(
                message(
                    f"pattern of layer {name!r}",
                    received=f"{int((~right).sum())} of {len(right)} groups that are not {self.text!r}",
                    allowed=f"a pattern of structure {self.text!r}",
                    fix=f"Call sparsify(..., structure={self.text!r}).",
                )
            )


def structured_counts(
    structure: Structure, shapes: Mapping[str, Shape], density: float | Mapping[str, float], counts: Mapping[str, int]
) -> dict[str, int]:
    """``counts`` of nonzeros by layer, as the structure allows them.

    Raises:
        InputError: the channels of a layer do not divide, or the density is not that of "n:m".
    """
    found = {}
    by_layer = density_by_layer(shapes, density) if isinstance(density, Mapping) else dict.fromkeys(shapes, density)
    for name, shape in shapes.items():
        groups = len(structure.groups(shape, name))
        asked = by_layer[name]
        if structure.of_group is None:
            found[name] = max(1, round(counts[name] / structure.size)) * structure.size
        elif abs(asked - structure.of_group / structure.inputs) < 1e-6:
            found[name] = groups * structure.of_group
        else:
            raise InputError(
                message(
                    "density",
                    received=asked,
                    allowed=f"{structure.of_group / structure.inputs:.6g}, which structure {structure.text!r} has",
                )
            )
    return found


def structured_pattern(
    structure: Structure, choose: str, weight: Tensor, nnz: int, generator: torch.Generator
) -> Pattern:
    """``nnz`` weights of ``weight`` in that structure: at "random", or those of largest "magnitude".

    Raises:
        InputError: another choice.
    """
    if choose == "random":
        scores = torch.rand(weight.numel(), generator=generator)
    elif choose == "magnitude":
        scores = weight.detach().reshape(-1).abs().float()
    else:
        raise InputError(message("choose, with a structure", received=choose, allowed="random, magnitude"))
    return structure.pattern(scores, tuple(weight.shape), nnz // structure.size, "the layer")
