"""How is a graph written down? As text for people, as DOT for Graphviz."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mezzotint.ops.graph import WEIGHT, Edge, Graph, Node
from mezzotint.ops.graph_check import spec_text


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


@dataclass(frozen=True)
class _Shape:
    """What Graphviz draws: a name, where it stands, what is written on it."""

    name: str
    module: tuple[str, ...]
    label: str


def to_dot(graph: Graph, depth: int | None = None) -> str:
    """A Graphviz digraph: a box for each operator and input, a cluster for each module, shapes on the edges.

    Weights are left out; modules deeper than ``depth`` names are one box each.
    """
    from mezzotint.ops.graph_drawing import collapsed

    groups = collapsed([node for node in graph.order() if node.operator != WEIGHT], depth)
    owner = {node.name: name for (name, _), members in groups.items() for node in members}
    specs = {node[number]: spec for node in graph.nodes for number, spec in enumerate(node.outputs)}
    shapes = [_shape(name, path, members, graph) for (name, path), members in groups.items()]
    lines = [f"digraph {_quoted(graph.name)} {{", '  node [shape=box, style=rounded, fontname="Helvetica"];']
    lines += ['  edge [fontname="Helvetica", fontsize=9];', *_clusters(shapes)]
    lines.append('  "output" [shape=ellipse];')
    ends = Node(name="output", operator="output", arguments={"value": graph.outputs})
    for node in [*(node for members in groups.values() for node in members), ends]:
        target = owner.get(node.name, node.name)
        for edge in dict.fromkeys(node.inputs):
            if edge.node in owner and owner[edge.node] != target:
                shape = "×".join(map(str, specs[edge].shape))
                lines.append(f"  {_quoted(owner[edge.node])} -> {_quoted(target)} [label={_quoted(shape)}];")
    return "\n".join([*lines, "}"])


def _shape(name: str, path: tuple[str, ...], members: list[Node], graph: Graph) -> _Shape:
    if len(members) > 1:
        kind = graph.modules.get(".".join(path), "")
        return _Shape(name, path[:-1], "\n".join(filter(None, [".".join(path), kind, f"{len(members)} operators"])))
    node = members[0]
    module = tuple(node.module.split(".")) if node.module else ()
    return _Shape(name, module, f"{node.operator}\n{spec_text(node.outputs[0]) if node.outputs else ''}".strip())


def _clusters(shapes: Iterable[_Shape], prefix: tuple[str, ...] = (), depth: int = 1) -> list[str]:
    """The boxes below the module ``prefix``: its own, and those of each module in it as a cluster."""
    inside: dict[str, list[_Shape]] = {}
    lines = []
    pad = "  " * depth
    for shape in shapes:
        if len(shape.module) > len(prefix):
            inside.setdefault(shape.module[len(prefix)], []).append(shape)
        else:
            lines.append(pad + _box(shape))
    for name, members in inside.items():
        below = (*prefix, name)
        if len(members) == 1:
            lines.append(pad + _box(members[0]))
            continue
        label = ".".join(below)
        lines.append(f"{pad}subgraph {_quoted('cluster_' + label)} {{ label={_quoted(label)};")
        lines += [*_clusters(members, below, depth + 1), f"{pad}}}"]
    return lines


def _box(shape: _Shape) -> str:
    return f"{_quoted(shape.name)} [label={_quoted(shape.label)}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _shown(value: Any) -> str:
    """``value`` in the text form."""
    if isinstance(value, Edge):
        return f"%{value.node}" + (f".{value.output}" if value.output else "")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return repr(value) if isinstance(value, str) else str(value)
