"""How is a graph kept as JSON, and read back without trust? Format, version, and one form for every kind of value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from mezzotint.errors import InputError, message
from mezzotint.ops.graph import Edge, Graph, Node, plain_lists
from mezzotint.ops.opdef import TensorSpec

FORMAT: Final = "mezzotint-graph"
VERSION: Final = 2
_NAMED: Final[dict[str, type]] = {
    "dtype": torch.dtype,
    "memory_format": torch.memory_format,
    "layout": torch.layout,
}
_LARGEST: Final = 2**63 - 1


def to_json(graph: Graph) -> str:
    """A JSON document: format, version, name, modules, nodes and outputs, without the values of weights.

    An edge is ``{"edge": [node, output]}``. Values that JSON lacks are objects of one key: ``{"dtype": "float32"}``,
    ``{"memory_format": ...}``, ``{"layout": ...}``, ``{"device": "cpu"}``, ``{"float": "inf"}``, ``{"tuple": [...]}``
    and ``{"dict": {...}}``.

    Raises:
        InputError: the graph is not valid, or returns an object of a class of its own.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "modules": dict(graph.modules),
        "nodes": [_node_record(node) for node in graph.order()],
        "outputs": _plain(graph.outputs, f"{graph.name}: outputs"),
    }
    return json.dumps(document, indent=1, allow_nan=False)


def from_json(text: str) -> Graph:
    """See :meth:`mezzotint.ops.graph.Graph.from_json`. Nothing is executed, and no operator but pure ones is taken."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad("text that is no JSON", f"{error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _bad("no graph of mezzotint", f'an object with "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise _bad(f"version {document.get('version')!r}", f"version {VERSION}, which this mezzotint reads and writes")
    try:
        graph = Graph(
            nodes=tuple(_node(record, number) for number, record in enumerate(_field(document, "nodes", list, "it"))),
            outputs=_value(document.get("outputs"), "outputs"),
            name=_field(document, "name", str, "it"),
            modules=_modules(_field(document, "modules", dict, "it")),
        )
    except RecursionError as error:
        raise _bad("values nested too deep to be read", "those of a real graph") from error
    return graph.validate()


def _bad(what: str, allowed: str) -> InputError:
    return InputError(message("graph in JSON", received=what, allowed=allowed, fix="Write it anew with Graph.to_json."))


def _node_record(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "operator": node.operator,
        "module": node.module,
        "arguments": {name: _plain(value, f"{node.name}: {name}") for name, value in node.arguments.items()},
        "outputs": [{"shape": list(spec.shape), "dtype": _short(spec.dtype)} for spec in node.outputs],
    }


def _plain(value: Any, where: str) -> Any:
    """``value`` as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Edge):
        return {"edge": [value.node, value.output]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(item, where) for key, item in value.items()}}
    if type(value) is tuple:
        return {"tuple": [_plain(item, where) for item in value]}
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for tag, kind in _NAMED.items():
        if isinstance(value, kind):
            return {tag: _short(value)}
    raise InputError(
        message(
            f"{where}, to be written as JSON",
            received=type(value).__name__,
            allowed="numbers, strings, types, tuples, lists and dicts with string keys",
        )
    )


def _short(value: Any) -> str:
    return str(value).removeprefix("torch.")


def _value(value: Any, where: str) -> Any:
    """The inverse of :func:`_plain`."""
    if isinstance(value, list):
        return [_value(item, where) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise _bad(f"an object of {len(value)} keys in {where}", "objects of one key, which says their kind")
    ((kind, content),) = value.items()
    made = _READERS[kind](content, where) if kind in _READERS else None
    if made is None:
        raise _bad(f"{json.dumps(value)[:80]} in {where}", f"one of {', '.join(_READERS)}, with a value of that kind")
    return made


def _read_edge(content: Any, where: str) -> Edge | None:
    fits = isinstance(content, list) and len(content) == 2
    if not fits or not isinstance(content[0], str) or type(content[1]) is not int:
        return None
    return Edge(content[0], content[1])


def _read_named(kind: str) -> Callable[[Any, str], Any]:
    def read(content: Any, where: str) -> Any:
        found = getattr(torch, content, None) if isinstance(content, str) else None
        return found if isinstance(found, _NAMED[kind]) else None

    return read


def _read_device(content: Any, where: str) -> torch.device | None:
    try:
        return torch.device(content) if isinstance(content, str) else None
    except RuntimeError:
        return None


def _read_float(content: Any, where: str) -> float | None:
    return float(content) if content in ("inf", "-inf", "nan") else None


def _read_tuple(content: Any, where: str) -> tuple[Any, ...] | None:
    return tuple(_value(item, where) for item in content) if isinstance(content, list) else None


def _read_dict(content: Any, where: str) -> dict[str, Any] | None:
    return {key: _value(item, where) for key, item in content.items()} if isinstance(content, dict) else None


_READERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "edge": _read_edge,
    "tuple": _read_tuple,
    "dict": _read_dict,
    "float": _read_float,
    "device": _read_device,
    **{kind: _read_named(kind) for kind in _NAMED},
}


def _field(record: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = record.get(key)
    if not isinstance(value, kind):
        received = f"{where} without {key!r}" if key not in record else f"{key!r} of {where} as {type(value).__name__}"
        raise _bad(received, f"{key!r} as {kind.__name__}")
    return value


def _modules(record: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in record.values()):
        raise _bad("modules whose classes are no strings", "dotted path -> name of a class")
    return dict(record)


def _node(record: Any, number: int) -> Node:
    where = f"node {number}"
    if not isinstance(record, dict):
        raise _bad(f"{where} as {type(record).__name__}", "an object for each node")
    name = _field(record, "name", str, where)
    where = f"node {name!r}"
    arguments = {key: _value(item, where) for key, item in _field(record, "arguments", dict, where).items()}
    return Node(
        name=name,
        operator=_field(record, "operator", str, where),
        arguments=plain_lists(arguments),
        outputs=tuple(_spec(item, where) for item in _field(record, "outputs", list, where)),
        module=_field(record, "module", str, where),
    )


def _spec(record: Any, where: str) -> TensorSpec:
    if not isinstance(record, dict):
        raise _bad(f"an output of {where} as {type(record).__name__}", "shape and dtype of each output")
    shape = _field(record, "shape", list, where)
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) > _LARGEST:
        raise _bad(f"the shape {json.dumps(shape)[:80]} in {where}", "sizes of 0 or more that a tensor can have")
    dtype = _read_named("dtype")(record.get("dtype"), where)
    if dtype is None:
        raise _bad(f"the dtype {record.get('dtype')!r} in {where}", "float32, bfloat16, int64 ...")
    return TensorSpec(tuple(shape), dtype)
