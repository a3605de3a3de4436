"""How does a plan become a module that trains? Plain nodes are called as they were, segments as one call each."""

from __future__ import annotations

from torch import fx, nn

from mezzotint.lowering.differentiable import DifferentiableSegment, Program
from mezzotint.lowering.plan import Plan, Step, conv_layer, geometry_of
from mezzotint.lowering.pool_steps import GlobalAverageStep, MaxPoolStep
from mezzotint.lowering.pooling import window_at
from mezzotint.lowering.regraph import with_segments
from mezzotint.lowering.roles import Role
from mezzotint.lowering.segments import Segment
from mezzotint.lowering.steps import ConvStep, PointwiseStep, TrainStep
from mezzotint.lowering.tail import Tail
from mezzotint.lowering.weights import Weights

#: Submodule of the rewritten model that holds the segments.
HOLDER = "native_segments"


def compile_segments(graph_module: fx.GraphModule, plan: Plan) -> fx.GraphModule:
    """A graph module that computes what ``graph_module`` does and shares its modules."""

    def make(_: int, segment: Segment) -> nn.Module:
        return DifferentiableSegment(_program(segment, plan, graph_module))

    return with_segments(graph_module, plan, HOLDER, make)


def _program(segment: Segment, plan: Plan, graph_module: fx.GraphModule) -> Program:
    slots = {node: slot for slot, node in enumerate(segment.inputs)}
    for step in segment.steps:
        slots[step.result] = len(slots)
    return Program(
        steps=tuple(_train_step(step, slots, plan, graph_module) for step in segment.steps),
        inputs=tuple(plan.halos[node] for node in segment.inputs),
        outputs=tuple(slots[node] for node in segment.outputs),
        slots=len(slots),
    )


def _norm_of(step: Step, graph_module: fx.GraphModule) -> nn.BatchNorm2d | None:
    norm = None if step.norm is None else graph_module.get_submodule(str(step.norm.target))
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def _reader_of(step: Step, plan: Plan, graph_module: fx.GraphModule) -> nn.BatchNorm2d | None:
    """The batch norm of a step without a convolution that reads the result."""
    readers = (later for later in plan.steps if later.conv is None and later.source is step.result)
    return next((norm for later in readers if (norm := _norm_of(later, graph_module)) is not None), None)


def _train_step(step: Step, slots: dict[fx.Node, int], plan: Plan, graph_module: fx.GraphModule) -> TrainStep:
    halo = plan.halos[step.result]
    residual = None if step.residual is None else slots[step.residual]
    places = (slots[step.source], slots[step.result], residual)
    if step.pool is Role.MAX_POOL:
        return MaxPoolStep(*places, window=window_at(step.nodes[0], graph_module), halo=halo)
    if step.pool is Role.GLOBAL_AVERAGE:
        return GlobalAverageStep(*places, halo=halo)
    tail = Tail(
        _norm_of(step, graph_module), residual is not None, step.relu, halo, _reader_of(step, plan, graph_module)
    )
    if step.conv is None:
        return PointwiseStep(*places, tail=tail)
    layer = conv_layer(graph_module.get_submodule(str(step.conv.target)))
    return ConvStep(*places, weights=Weights(layer), geometry=geometry_of(layer), tail=tail)
