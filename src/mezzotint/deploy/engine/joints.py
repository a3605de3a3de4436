"""Where do tensors lie that are joined channel by channel? In the result, from the beginning: joining costs nothing.

A DenseNet joins the same tensors again and again, each time with one more: all of them lie in the last result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from mezzotint.deploy.engine.roles import Role
from mezzotint.deploy.engine.steps import EngineStep


@dataclass(frozen=True)
class Home:
    """Channels ``first`` and following of the result of ``joint``, a node that is part of no other one."""

    joint: fx.Node
    first: int


def homes_of(steps: Sequence[EngineStep]) -> dict[fx.Node, Home]:
    """Each result of ``steps`` that is joined with others, or that is joint: where it lies.

    A tensor can be at one place only; what other joints want of it is copied.
    """
    made = {step.result for step in steps}
    homes: dict[fx.Node, Home] = {}
    for step in reversed(steps):
        if step.role is not Role.CONCAT:
            continue
        found = homes.get(step.result) or _together(step, homes) or Home(step.result, 0)
        homes[step.result] = found
        for node, first in places(step, found.first):
            if node in made:
                homes.setdefault(node, Home(found.joint, first))
    return homes


def places(step: EngineStep, first: int) -> list[tuple[fx.Node, int]]:
    """The tensors that a step joins, with the channel where each begins if the result begins at ``first``."""
    found = []
    for node in step.reads:
        found.append((node, first))
        first += node.meta["shape"][1]
    return found


def _together(step: EngineStep, homes: dict[fx.Node, Home]) -> Home | None:
    """The place of all tensors of ``step``, if they lie one after the other already."""
    begin = homes.get(step.reads[0])
    if begin is None or any(homes.get(n) != Home(begin.joint, at) for n, at in places(step, begin.first)):
        return None
    return begin
