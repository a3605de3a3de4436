"""Which steps run together as one differentiable call? Steps that no plain node stands between form a segment.

Plain and native nodes take turns: a node's level counts how often its past has left the native layout. All steps of one
level are one segment; its inputs are plain, and so are its outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx

from mezzotint.lowering.alias import readers_before
from mezzotint.lowering.effects import Untraceable
from mezzotint.lowering.plan import Plan, Step


@dataclass(frozen=True)
class Segment:
    """Steps in order, the plain nodes that they read, and the nodes whose tensors plain nodes read from them."""

    steps: tuple[Step, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


@dataclass(frozen=True)
class Schedule:
    """What runs, in order: a plain node, or a segment."""

    items: tuple[fx.Node | Segment, ...]


def schedule(graph: fx.Graph, plan: Plan) -> Schedule:
    """Plain nodes and segments in an order in which each finds what it reads."""
    step_of = {node: step for step in plan.steps for node in step.nodes}
    levels = _levels(graph, step_of)
    plain: dict[int, list[fx.Node]] = defaultdict(list)
    steps: dict[int, list[Step]] = defaultdict(list)
    for node in graph.nodes:
        step = step_of.get(node)
        if step is None:
            plain[levels[node]].append(node)
        elif node is step.result:
            steps[levels[node]].append(step)
    items: list[fx.Node | Segment] = []
    for level in range(max(levels.values(), default=0) + 1):
        items += plain[level]
        if steps[level]:
            items.append(_segment(steps[level], step_of))
    return Schedule(tuple(items))


def check_order(graph_module: fx.GraphModule, plan: Plan) -> None:
    """Plain nodes that work in place must still come after what read the same memory before them.

    Raises:
        Untraceable: the order of :func:`schedule` is another one.
    """
    step_of = {node: step for step in plan.steps for node in step.nodes}
    levels = _levels(graph_module.graph, step_of)
    for writer, readers in readers_before(graph_module).items():
        if writer in step_of:
            continue  # a native step writes into a tensor of its own
        for reader in readers:
            step = step_of.get(reader)
            level = levels[reader if step is None else step.result]
            if (level, step is not None) > (levels[writer], False):
                raise Untraceable(f"node {writer.name!r} works in place on memory that {reader.name!r} reads first")


def _levels(graph: fx.Graph, step_of: dict[fx.Node, Step]) -> dict[fx.Node, int]:
    """A step's nodes are on one level: that of its result, found when the last of what it reads is known."""
    levels: dict[fx.Node, int] = {}
    for node in graph.nodes:
        step = step_of.get(node)
        if step is not None:
            reads = step.reads if node is step.result else ()
            levels[node] = max((levels[read] for read in reads), default=0)
        else:
            levels[node] = max((levels[read] + (read in step_of) for read in node.all_input_nodes), default=0)
    return levels


def _segment(steps: Iterable[Step], step_of: dict[fx.Node, Step]) -> Segment:
    ordered = tuple(steps)
    inside = {step.result for step in ordered}
    # A step of an earlier segment is read through its plain output.
    inputs = dict.fromkeys(read for step in ordered for read in step.reads if read not in inside)
    own = {node for step in ordered for node in step.nodes}
    outputs = [step.result for step in ordered if any(user not in own for user in step.result.users)]
    return Segment(ordered, tuple(inputs), tuple(outputs))
