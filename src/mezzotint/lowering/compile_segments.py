"""How does a plan become a module that trains? Plain nodes are called as they were, segments as one call each."""

from __future__ import annotations

import operator

from torch import fx, nn

from mezzotint.lowering.differentiable import DifferentiableSegment, Program
from mezzotint.lowering.plan import Plan, Step, conv_layer, geometry_of
from mezzotint.lowering.pooling import window_at
from mezzotint.lowering.roles import Role
from mezzotint.lowering.segments import Segment, schedule
from mezzotint.lowering.steps import ConvStep, GlobalAverageStep, MaxPoolStep, PointwiseStep, TrainStep
from mezzotint.lowering.tail import Tail
from mezzotint.lowering.weights import Weights

#: Submodule of the rewritten model that holds the segments.
HOLDER = "native_segments"


def compile_segments(graph_module: fx.GraphModule, plan: Plan) -> fx.GraphModule:
    """A graph module that computes what ``graph_module`` does and shares its modules."""
    graph = fx.Graph()
    holder = nn.Module()
    found: dict[fx.Node, fx.Node] = {}
    for item in schedule(graph_module.graph, plan).items:
        if isinstance(item, fx.Node):
            found[item] = graph.node_copy(item, found.__getitem__)
            continue
        name = f"segment{len(list(holder.children()))}"
        holder.add_module(name, DifferentiableSegment(_program(item, plan, graph_module)))
        results = graph.call_module(f"{HOLDER}.{name}", tuple(found[node] for node in item.inputs))
        for at, node in enumerate(item.outputs):
            found[node] = graph.call_function(operator.getitem, (results, at))
    return fx.GraphModule(_root(graph_module, holder), graph, type(graph_module).__name__)


def _root(graph_module: fx.GraphModule, holder: nn.Module) -> nn.Module:
    """What the graph reads: modules, parameters and buffers of the model, and the segments."""
    root = nn.Module()
    for name, child in graph_module.named_children():
        root.add_module(name, child)
    for store in (graph_module._parameters, graph_module._buffers):
        for name, tensor in store.items():
            setattr(root, name, tensor)
    root.add_module(HOLDER, holder)
    return root


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
