"""Does an operator that works in place disturb another reader? What is written and what is read are told apart.

The native layout makes copies at the borders of its regions, so a node that overwrites its input must be known by its
result alone. Every later reader of the overwritten tensor is therefore led to the result; where a reader may hold the
memory under yet another name (a view), the model is refused, and so it is where a forward adds up in a tensor that it
has made from nothing, which a graph makes once.
"""

from __future__ import annotations

import operator
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from mezzotint.lowering.effects import CONSTANT, Untraceable
from mezzotint.sparse import SparseLayer

#: Modules and functions whose result shares no memory with what they read.
_FRESH_MODULES: Final = (
    SparseLayer,
    _ConvNd,
    _NormBase,
    nn.Linear,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.ReLU,
    nn.Sigmoid,
)
_FRESH_CALLS: Final[frozenset[Any]] = frozenset(
    {
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg),
        *(torch.add, torch.sub, torch.mul, torch.cat, torch.mean, torch.relu, torch.sigmoid),
        *(F.relu, F.conv2d, F.linear, F.batch_norm, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d),
        *("add", "sub", "mul", "mean", "relu", "sigmoid", "clone"),
    }
)
_IN_PLACE_OPERATORS: Final = frozenset({operator.iadd, operator.isub, operator.imul, operator.itruediv})


def make_pure(graph_module: fx.GraphModule) -> None:
    """Lead every reader of an overwritten tensor that comes after the overwriting node to that node's result.

    Raises:
        Untraceable: another tensor that may share the overwritten memory is read afterwards, or it is a constant.
    """
    nodes = list(graph_module.graph.nodes)
    place = {node: at for at, node in enumerate(nodes)}
    for node in nodes:
        written = overwritten(node, graph_module)
        if written is not None:
            for reader in [user for user in written.users if place[user] > place[node]]:
                reader.replace_input_with(written, node)
    shared = _memory(nodes, graph_module)
    for node in nodes:
        written = overwritten(node, graph_module)
        if written is not None and any(_is_constant(other) for other in shared[written]):
            raise Untraceable(f"node {node.name!r} works in place on a tensor that the forward makes anew at each call")
        for other in nodes[: place[node]] if written is not None else ():
            late = any(place[user] > place[node] for user in other.users)
            if other is not written and late and shared[other] & shared[node]:
                raise Untraceable(f"node {node.name!r} works in place on memory that {other.name!r} may share")
    graph_module.recompile()


def overwritten(node: fx.Node, graph_module: fx.GraphModule) -> fx.Node | None:
    """The node whose tensor ``node`` overwrites, or None."""
    first = node.args[0] if node.args else None
    return first if isinstance(first, fx.Node) and _in_place(node, graph_module) else None


def readers_before(graph_module: fx.GraphModule) -> dict[fx.Node, list[fx.Node]]:
    """Node that works in place -> the nodes before it that read what it overwrites."""
    nodes = list(graph_module.graph.nodes)
    place = {node: at for at, node in enumerate(nodes)}
    shared = _memory(nodes, graph_module)
    return {
        node: [
            user
            for other in nodes[: place[node]]
            if shared[other] & shared[written]
            for user in other.users
            if place[user] < place[node]
        ]
        for node in nodes
        if (written := overwritten(node, graph_module)) is not None
    }


def _is_constant(node: fx.Node) -> bool:
    return node.op == "get_attr" and str(node.target).startswith(CONSTANT)


def _in_place(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return bool(getattr(graph_module.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    marked = name.endswith("_") and not name.endswith("__")
    return marked or node.target in _IN_PLACE_OPERATORS or node.kwargs.get("inplace") is True


def _memory(nodes: list[fx.Node], graph_module: fx.GraphModule) -> dict[fx.Node, set[fx.Node]]:
    """Node -> the nodes whose memory its result may be; needs the record of :func:`record_shapes`."""
    found: dict[fx.Node, set[fx.Node]] = {}
    for node in nodes:
        written = overwritten(node, graph_module)
        if not node.meta.get("tensors"):
            found[node] = set()
        elif written is not None:
            found[node] = set(found[written])
        elif _fresh(node, graph_module):
            found[node] = {node}
        else:
            found[node] = {node}.union(*(found[read] for read in node.all_input_nodes))
    return found


def _fresh(node: fx.Node, graph_module: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return isinstance(graph_module.get_submodule(str(node.target)), _FRESH_MODULES)
    return node.op in ("call_function", "call_method") and node.target in _FRESH_CALLS
