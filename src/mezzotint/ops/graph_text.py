"""How is a graph written down? As text for people, as JSON for programs, as DOT for Graphviz."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from mezzotint.ops.graph import Edge, Graph, Node
from mezzotint.ops.opdef import TensorSpec

JSON_VERSION = 1


def to_text(graph: Graph) -> str:
    """One line a node, in an order in which they can run."""
    nodes = graph.order()
    lines = [f"graph {graph.name}: {len(nodes)} nodes"]
    for node in nodes:
        arguments = ", ".join(f"{name}={_shown(value)}" for name, value in node.arguments.items())
        outputs = ", ".join(spec_text(spec) for spec in node.outputs)
        where = f"  # {node.module}" if node.module and node.module != node.name else ""
        lines.append(f"  %{node.name} : {outputs} = {node.operator}({arguments}){where}")
    lines.append(f"  return {_shown(graph.outputs)}")
    return "\n".join(lines)


def to_json(graph: Graph) -> str:
    """A JSON document: format, version, name, nodes and outputs; an edge is ``{"edge": [node, output]}``."""
    document = {
        "format": "mezzotint-graph",
        "version": JSON_VERSION,
        "name": graph.name,
        "nodes": [_node_record(node) for node in graph.order()],
        "outputs": _plain(graph.outputs),
    }
    return json.dumps(document, indent=1)


def to_dot(graph: Graph) -> str:
    """A Graphviz digraph: a box for each operator and input, a cluster for each module, weights left out."""
    shown = [node for node in graph.order() if node.operator != "weight"]
    names = {node.name for node in shown}
    edges = [(edge, node.name) for node in shown for edge in node.inputs if edge.node in names]
    outputs = Node(name="output", operator="output", arguments={"value": graph.outputs}).inputs
    lines = [f"digraph {_quoted(graph.name)} {{", '  node [shape=box, fontname="Helvetica"];']
    lines += _clusters(shown)
    lines.append('  "output" [shape=ellipse];')
    lines += [f"  {_quoted(edge.node)} -> {_quoted(reader)};" for edge, reader in dict.fromkeys(edges)]
    lines += [f'  {_quoted(edge.node)} -> "output";' for edge in dict.fromkeys(outputs)]
    return "\n".join([*lines, "}"])


def spec_text(spec: TensorSpec) -> str:
    """Such as ``float32[2, 16, 32, 32]``."""
    return f"{str(spec.dtype).removeprefix('torch.')}{list(spec.shape)}"


def _clusters(nodes: Iterable[Node], prefix: tuple[str, ...] = (), depth: int = 1) -> list[str]:
    """The nodes below the module ``prefix``: its own as boxes, those of each module in it as a cluster."""
    inside: dict[str, list[Node]] = {}
    lines = []
    pad = "  " * depth
    for node in nodes:
        path = node.module.split(".") if node.module else []
        if len(path) > len(prefix):
            inside.setdefault(path[len(prefix)], []).append(node)
        else:
            lines.append(pad + _dot_node(node))
    for name, members in inside.items():
        below = (*prefix, name)
        if len(members) == 1:
            lines.append(pad + _dot_node(members[0]))
            continue
        label = ".".join(below)
        lines.append(f"{pad}subgraph {_quoted('cluster_' + label)} {{ label={_quoted(label)};")
        lines += [*_clusters(members, below, depth + 1), f"{pad}}}"]
    return lines


def _dot_node(node: Node) -> str:
    shape = spec_text(node.outputs[0]) if node.outputs else ""
    return f"{_quoted(node.name)} [label={_quoted(node.operator + chr(10) + shape)}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _node_record(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "operator": node.operator,
        "module": node.module,
        "arguments": _plain(node.arguments),
        "outputs": [
            {"shape": list(spec.shape), "dtype": str(spec.dtype).removeprefix("torch.")} for spec in node.outputs
        ],
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, Edge):
        return {"edge": [value.node, value.output]}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    known = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)


def _shown(value: Any) -> str:
    """``value`` in the text form."""
    if isinstance(value, Edge):
        return f"%{value.node}" + (f".{value.output}" if value.output else "")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return repr(value) if isinstance(value, str) else str(value)
