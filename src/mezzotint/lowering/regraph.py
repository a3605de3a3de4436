"""How is a graph written anew with some stretches of it replaced? What it reads, and a module for each segment."""

from __future__ import annotations

import operator
from collections.abc import Callable

from torch import fx, nn

from mezzotint.lowering.plan import Plan
from mezzotint.lowering.segments import Segment, check_order, schedule


def root_of(graph_module: fx.GraphModule, name: str, holder: nn.Module) -> nn.Module:
    """What a graph reads: modules, parameters and buffers of the model, and ``holder`` as ``name`` beside them."""
    root = nn.Module()
    for child_name, child in graph_module.named_children():
        root.add_module(child_name, child)
    for store in (graph_module._parameters, graph_module._buffers):
        for tensor_name, tensor in store.items():
            setattr(root, tensor_name, tensor)
    root.add_module(name, holder)
    return root


def with_segments(
    graph_module: fx.GraphModule, plan: Plan, name: str, make: Callable[[int, Segment], nn.Module]
) -> fx.GraphModule:
    """A graph module that shares the modules of ``graph_module`` and calls ``make(number, segment)`` for each segment.

    Args:
        graph_module: a traced model.
        plan: which nodes the steps of the segments stand for.
        name: of the submodule that holds what is made, ``segment0``, ``segment1`` ...
        make: a module from the segment's inputs to a tuple of its outputs.

    Raises:
        Untraceable: a node works in place on memory that would then be read too late.
    """
    check_order(graph_module, plan)
    graph, holder = fx.Graph(), nn.Module()
    found: dict[fx.Node, fx.Node] = {}
    number = 0
    for item in schedule(graph_module.graph, plan).items:
        if isinstance(item, fx.Node):
            found[item] = graph.node_copy(item, found.__getitem__)
            continue
        holder.add_module(f"segment{number}", make(number, item))
        results = graph.call_module(f"{name}.segment{number}", tuple(found[node] for node in item.inputs))
        for at, node in enumerate(item.outputs):
            found[node] = graph.call_function(operator.getitem, (results, at))
        number += 1
    return fx.GraphModule(root_of(graph_module, name, holder), graph, type(graph_module).__name__)
