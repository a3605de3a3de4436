"""How do nodes of a model's own operators become those of ONNX? Their functions are written out, names made unique."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mezzotint.deploy.onnx import schema
from mezzotint.deploy.onnx.wire import Malformed

DOMAINS: Final = ("", "ai.onnx")
"""Names of ONNX's own operators."""
MOST_NODES: Final = 1 << 18
_DEPTH: Final = 16

Placed = tuple[schema.Node, int]
"""A node, and the operator set that it was written for."""


def operator_set(imports: list[schema.OperatorSet]) -> int:
    """The version of ONNX's own operators; 0 where none is named."""
    return next((one.version for one in imports if one.domain in DOMAINS), 0)


def written_out(model: schema.Model, graph: schema.Graph) -> list[Placed]:
    """The nodes of a graph, functions written out.

    Raises:
        Malformed: they call each other without end, or make more nodes than any network has.
    """
    return _Writer({(one.domain, one.name): one for one in model.functions}).run(model, graph)


class _Writer:
    def __init__(self, functions: Mapping[tuple[str, str], schema.Function]) -> None:
        self.functions = functions
        self.found: list[Placed] = []
        self.visits = 0

    def run(self, model: schema.Model, graph: schema.Graph) -> list[Placed]:
        opset = operator_set(model.opset_import)
        for node in graph.node:
            self._visit(node, opset, 0)
        return self.found

    def _visit(self, node: schema.Node, opset: int, depth: int) -> None:
        self.visits += 1
        if self.visits > MOST_NODES:
            raise Malformed(f"a graph of more than {MOST_NODES} nodes")
        function = self.functions.get((node.domain, node.op_type))
        if function is None:
            self.found.append((node, opset))
            return
        if depth == _DEPTH:
            raise Malformed(f"the function {function.name!r} within functions {_DEPTH} deep")
        names = self._names(node, function)
        given = {one.name: one for one in (*function.attribute_proto, *node.attribute)}
        for inner in function.node:
            self._visit(_renamed(inner, names, given), operator_set(function.opset_import) or opset, depth + 1)

    def _names(self, node: schema.Node, function: schema.Function) -> dict[str, str]:
        """Name within the function -> name in the graph."""
        prefix = f"{node.name or node.op_type}/{self.visits}/"
        reads = dict.fromkeys(function.input, "") | dict(zip(function.input, node.input, strict=False))
        names = {name: f"{prefix}{name}" for inner in function.node for name in inner.output if name} | reads
        for name, outside in zip(function.output, node.output, strict=False):
            if outside and name in reads:  # handed through
                self.found.append((schema.Node(op_type="Identity", input=[reads[name]], output=[outside]), 17))
            elif outside:
                names[name] = outside
        return names


def _renamed(node: schema.Node, names: Mapping[str, str], given: Mapping[str, schema.Attribute]) -> schema.Node:
    """A node of a function in the graph; what it does not know there is left for the importer to tell."""
    attributes = []
    for one in node.attribute:
        if not one.ref_attr_name:
            attributes.append(one)
        elif one.ref_attr_name in given:
            attributes.append(replace(given[one.ref_attr_name], name=one.name))
    reads, makes = ([names.get(name, name) for name in these] for these in (node.input, node.output))
    first = next((name for name in makes if name), "")
    return replace(node, input=reads, output=makes, attribute=attributes, name=first)
