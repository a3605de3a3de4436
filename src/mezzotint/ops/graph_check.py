"""Is a graph right? Names, edges and order as a whole; each node against what its operator declares."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, MezzotintError, ShapeError, message, suggest
from mezzotint.ops.graph import INPUT, SOURCES, WEIGHT, Edge, Graph, Node, edges_in
from mezzotint.ops.graph_operator import Declaration, Parameter, declaration
from mezzotint.ops.opdef import TensorSpec

Specs = Mapping[Edge, TensorSpec]


def validate(graph: Graph) -> None:
    """See :meth:`mezzotint.ops.graph.Graph.validate`."""
    specs: dict[Edge, TensorSpec] = {}
    fake = FakeTensorMode()
    for node in topological_order(graph):
        if node.operator not in SOURCES:
            _check_node(graph.name, node, specs, fake)
        elif len(node.outputs) != 1 or node.arguments:
            kind = "an input" if node.operator == INPUT else "a weight"
            raise InputError(f"{graph.name}: {kind} has one output and no arguments; {node.name!r} has others.")
        specs.update({node[number]: spec for number, spec in enumerate(node.outputs)})


def checked_node(graph: Graph, node: Node) -> Node:
    """``node`` with its outputs, checked against its operator and the nodes of ``graph`` that it reads."""
    widths = {other.name: len(other.outputs) for other in graph.nodes}
    for edge in node.inputs:
        _check_edge(graph.name, f"node {node.name!r}", edge, widths)
    specs = {other[number]: spec for other in graph.nodes for number, spec in enumerate(other.outputs)}
    return replace(node, outputs=_check_node(graph.name, node, specs, FakeTensorMode()))


def free_name(operator: str, taken: set[str]) -> str:
    """A name for a node of ``operator`` that nobody has: ``relu``, ``relu_1`` ..."""
    base = operator.split(".")[1] if "." in operator else operator
    names = (base if not number else f"{base}_{number}" for number in count())
    return next(name for name in names if name not in taken)


def placed(operator: str, edges: Sequence[Edge | None], where: str) -> dict[str, Any]:
    """``edges`` by the names of the tensor arguments of ``operator``, in declared order; absent ones are left out."""
    tensors = declaration(operator).tensors
    if len(tensors) == 1 and tensors[0].is_list:
        return {tensors[0].name: list(edges)}
    if len(edges) > len(tensors):
        names = ", ".join(parameter.name for parameter in tensors) or "none"
        raise InputError(
            message(
                f"inputs of node {where!r} ({operator})",
                received=f"{len(edges)} of them",
                allowed=f"{_counted(tensors)} ({names})",
            )
        )
    return {parameter.name: edge for parameter, edge in zip(tensors, edges, strict=False) if edge is not None}


# -- the graph as a whole -------------------------------------------------------------------------------------------


def topological_order(graph: Graph) -> tuple[Node, ...]:
    """See :meth:`mezzotint.ops.graph.Graph.order`."""
    _check_names(graph)
    _check_edges(graph)
    place = {node.name: number for number, node in enumerate(graph.nodes)}
    readers = graph.readers()
    pending = {node.name: len({edge.node for edge in node.inputs}) for node in graph.nodes}
    ready = [place[name] for name, number in pending.items() if not number]
    heapq.heapify(ready)  # the earliest of the ready nodes goes first: an order that is right already is kept
    done: list[Node] = []
    while ready:
        node = graph.nodes[heapq.heappop(ready)]
        done.append(node)
        for reader in readers[node.name]:
            pending[reader] -= 1
            if not pending[reader]:
                heapq.heappush(ready, place[reader])
    if len(done) < len(graph.nodes):
        circle = " -> ".join(_circle(graph, {node.name for node in done}))
        raise InputError(f"{graph.name}: the nodes {circle} read each other in a circle; a graph must have none.")
    return tuple(done)


def _check_names(graph: Graph) -> None:
    for name, times in Counter(node.name for node in graph.nodes).items():
        if times > 1:
            raise InputError(f"{graph.name}: {times} nodes are called {name!r}; every node needs a name of its own.")


def _check_edges(graph: Graph) -> None:
    widths = {node.name: len(node.outputs) for node in graph.nodes}
    for node in graph.nodes:
        for edge in node.inputs:
            _check_edge(graph.name, f"node {node.name!r}", edge, widths)
    for edge in edges_in(graph.outputs):
        _check_edge(graph.name, "the output", edge, widths)


def _check_edge(graph: str, reader: str, edge: Edge, widths: Mapping[str, int]) -> None:
    if edge.node not in widths:
        hint = suggest(edge.node, widths)
        raise InputError(f"{graph}: {reader} reads {edge.node!r}, but there is no such node.{hint}")
    width = widths[edge.node]
    if not 0 <= edge.output < width:
        allowed = f"0 to {width - 1}" if width > 1 else "0, its only one" if width else "none: it yields no tensor"
        raise InputError(
            message(f"{graph}: {reader} reads an output of {edge.node!r}", received=edge.output, allowed=allowed)
        )


def _circle(graph: Graph, done: set[str]) -> list[str]:
    """A circle among the nodes that never became ready: each of them reads another such node."""
    stuck = {node.name: node for node in graph.nodes if node.name not in done}
    path = [next(iter(stuck))]
    while True:
        read = next(edge.node for edge in stuck[path[-1]].inputs if edge.node in stuck)
        if read in path:
            return [read, *reversed(path[path.index(read) :])]
        path.append(read)


# -- a node against its operator --------------------------------------------------------------------------------------


def _check_node(graph: str, node: Node, specs: Specs, fake: FakeTensorMode) -> tuple[TensorSpec, ...]:
    """The outputs that the operator makes of the node's inputs; those that the node names, if any, must be these."""
    where = f"{graph}: node {node.name!r} ({node.operator})"
    try:
        declared = declaration(node.operator)
    except MezzotintError as error:
        raise type(error)(f"{graph}: node {node.name!r}: {error}") from error
    _check_arguments(where, node, declared)
    _check_dtypes(graph, node, declared, specs)
    made = _inferred(where, node, declared, specs, fake)
    if node.outputs and node.outputs != made:
        raise ShapeError(
            message(f"{where}: outputs", received=_texts(node.outputs), allowed=f"what it makes, {_texts(made)}")
        )
    return made


def _check_arguments(where: str, node: Node, declared: Declaration) -> None:
    known = {parameter.name: parameter for parameter in declared.parameters}
    for name, value in node.arguments.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise InputError(
                message(f"{where}: argument", received=name, allowed=names, fix=suggest(name, known).strip())
            )
        _check_argument(f"{where}: {name}", known[name], value)
    missing = [parameter for parameter in declared.parameters if parameter.required and _absent(node, parameter)]
    tensors = [parameter.name for parameter in missing if parameter.is_tensor]
    if tensors:
        given = sum(not _absent(node, parameter) for parameter in declared.tensors)
        wanted = ", ".join(parameter.name for parameter in declared.tensors)
        raise InputError(
            message(f"{where}: inputs", received=f"{given} of them", allowed=f"{_counted(declared.tensors)} ({wanted})")
        )
    if missing:
        raise InputError(f"{where}: attribute {missing[0].name!r} is missing; it has no default.")


def _check_argument(where: str, parameter: Parameter, value: Any) -> None:
    has_edges = any(edges_in(value))
    if parameter.takes_numbers and isinstance(value, (bool, int, float)):
        return
    if parameter.is_tensor and not has_edges and value is not None:
        raise InputError(message(where, received=value, allowed="an output of a node; this argument is a tensor"))
    if parameter.is_tensor and isinstance(value, Edge) == parameter.is_list and value is not None:
        allowed = "a list of outputs of nodes" if parameter.is_list else "one output of a node"
        raise InputError(
            message(
                where, received="a list" if has_edges and not isinstance(value, Edge) else str(value), allowed=allowed
            )
        )
    if not parameter.is_tensor and has_edges:
        read = next(edges_in(value))
        raise InputError(
            message(where, received=f"the tensor {read}", allowed="a value; this argument is an attribute")
        )
    wrong = parameter.problem(value) if parameter.problem is not None else None
    if wrong:
        raise InputError(f"{where} {wrong}; received {value!r}.")


def _absent(node: Node, parameter: Parameter) -> bool:
    return parameter.name not in node.arguments or (parameter.is_tensor and node.arguments[parameter.name] is None)


def _check_dtypes(graph: str, node: Node, declared: Declaration, specs: Specs) -> None:
    """What each producer yields must be what the consumer declares."""
    tied: dict[str, torch.dtype] = {}
    place = 0
    for parameter in declared.tensors:
        for edge in edges_in(node.arguments.get(parameter.name)):
            dtype = specs[edge].dtype
            expected = parameter.dtypes if not tied.get(parameter.type_name) else (tied[parameter.type_name],)
            if expected and dtype not in expected:
                allowed = " or ".join(_plain(kind) for kind in expected)
                raise ShapeError(
                    f"{graph}: input {place} of node {node.name!r} ({parameter.name} of {node.operator}) was passed "
                    f"{_plain(dtype)} from {edge}, incompatible with expected {allowed}."
                )
            if parameter.type_name:
                tied[parameter.type_name] = dtype
            place += 1


def _inferred(
    where: str, node: Node, declared: Declaration, specs: Specs, fake: FakeTensorMode
) -> tuple[TensorSpec, ...]:
    try:
        with torch.no_grad(), fake:
            result = declared.call(**declared.complete(stand_ins(node, specs)))
    except Exception as error:  # the shape rule is the operator's own code, and reports in its own ways
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        given = ", ".join(f"{edge} {spec_text(specs[edge])}" for edge in node.inputs) or "no inputs"
        raise ShapeError(f"{where} cannot take {given}: {reason}") from error
    made = result if isinstance(result, (list, tuple)) else (result,)
    if not all(isinstance(item, Tensor) for item in made):
        raise InputError(f"{where} yields something other than tensors; a graph's edges are tensors.")
    if any(isinstance(size, torch.SymInt) for item in made for size in item.shape):
        raise InputError(
            f"{where} makes a tensor whose shape depends on the values of its inputs; a graph's shapes are fixed."
        )
    return tuple(TensorSpec(tuple(item.shape), item.dtype) for item in made)


def stand_ins(node: Node, specs: Specs) -> dict[str, Any]:
    """The node's arguments with an empty tensor in place of each edge; call it under a ``FakeTensorMode``."""

    def filled(leaf: Any) -> Any:
        if isinstance(leaf, Edge):
            return torch.empty(specs[leaf].shape, dtype=specs[leaf].dtype)
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf  # the empty ones lie there

    return {
        name: pytree.tree_map(filled, value, is_leaf=lambda leaf: isinstance(leaf, Edge))
        for name, value in node.arguments.items()
    }


def spec_text(spec: TensorSpec) -> str:
    """Such as ``float32[2, 16, 32, 32]``."""
    return f"{_plain(spec.dtype)}{list(spec.shape)}"


def _texts(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(spec_text(spec) for spec in specs) or "none"


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _counted(tensors: Sequence[Parameter]) -> str:
    least = sum(parameter.required for parameter in tensors)
    return str(least) if least == len(tensors) else f"{least} to {len(tensors)}"


__all__ = ["WEIGHT", "checked_node", "free_name", "placed", "spec_text", "stand_ins", "topological_order", "validate"]
