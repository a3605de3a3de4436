"""Which convolutions are added without being written? Two of one pixel each, whose sum is one on the channels of both.

A network with shortcuts widens them by a convolution of one pixel, and adds it to the last one of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from torch import nn

from mezzotint.lowering.plan import Step, conv_layer, geometry_of
from mezzotint.sparse import SparseConv2d

if TYPE_CHECKING:
    from mezzotint.deploy.engine.steps import EngineStep


def join_sums(steps: Sequence[Step], modules: nn.Module) -> list[Step]:
    """The steps, in their order; one that is added to another one alone becomes part of it, see ``addend``."""
    found = list(steps)
    by_result = {step.result: cast("EngineStep", step) for step in steps}
    for step in (cast("EngineStep", step) for step in steps):
        other = None if step.residual is None else by_result.get(step.residual)
        if other is not None and _joins(step, other, modules):
            found.remove(other)
            step.addend, step.residual = other, None
            step.nodes[1:1] = other.nodes
    return found


def _joins(step: EngineStep, other: EngineStep, modules: nn.Module) -> bool:
    is_plain = other.residual is None and other.addend is None and not other.activates
    is_read_here = len(other.result.users) == 1 and next(iter(other.result.users)) in step.nodes
    if not is_plain or not is_read_here:
        return False
    kind = _kind(step, modules)
    return kind is not None and kind == _kind(other, modules)


def _kind(step: EngineStep, modules: nn.Module) -> bool | None:
    """Whether it is sparse; None: it is no convolution of one pixel."""
    if step.conv is None:
        return None
    layer = conv_layer(modules.get_submodule(str(step.conv.target)))
    geometry = geometry_of(layer)
    is_pixel = geometry.weight_shape[2:] == (1, 1) and not any(geometry.padding) and geometry.groups == 1
    return (isinstance(layer, SparseConv2d) and layer.density < 1) if is_pixel else None
