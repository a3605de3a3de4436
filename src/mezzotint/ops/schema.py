"""How is a declaration said to ``torch.library``? Its schema."""

from __future__ import annotations

import json
import math
from typing import Any

from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.dtypes import CODES, dtype_name
from mezzotint.ops.opdef import HOME, OpDef

_TYPES = {"string": "str", "int": "SymInt", "float": "float", "bool": "bool", "type": "ScalarType", "shape": "SymInt[]"}


def qualified(name: str) -> tuple[str, str]:
    """(namespace, bare name) in ``torch.ops`` of the operator ``name``."""
    namespace, _, bare = name.rpartition("::")
    return namespace or HOME, bare


def schema(op: OpDef) -> str:
    """The ``torch.library`` schema, without the namespace."""
    inputs = [f"{_tensor(op, argument)} {argument.name}" for argument in op.inputs]
    outputs = [_tensor(op, argument) for argument in op.outputs]
    returns = outputs[0] if len(outputs) == 1 else f"({', '.join(outputs)})"
    device = ["Device? device=None"] if op.is_source() else []
    arguments = ", ".join([*inputs, *map(_attribute, op.passed_attrs()), *device])
    return f"{qualified(op.name)[1]}({arguments}) -> {returns}"


def as_declared(attr: Attr, value: Any) -> Any:
    """What torch hands on for ``attr``, as declared: it has no word for some defaults, and gives types as numbers."""
    if value is None and _unspoken(attr):
        return attr.default
    if attr.kind != "type":
        return value
    if attr.is_list and isinstance(value, (list, tuple)):
        return [CODES.get(item, item) if type(item) is int else item for item in value]
    return CODES.get(value, value) if type(value) is int else value


def is_garbled(attr: Attr) -> bool:
    """Whether torch may hand on something else than the caller has given: see :func:`as_declared`."""
    return attr.kind == "type" or _unspoken(attr)


def _unspoken(attr: Attr) -> bool:
    """Whether the schema language has no word for the default, so that the schema says ``None`` in its place."""
    if not attr.has_default:
        return False
    if attr.is_list and attr.kind in ("string", "shape", "type"):
        return True
    values = attr.default if attr.is_list else [attr.default]
    if attr.kind == "string":
        return not all(value.isascii() and value.isprintable() and "\\" not in value for value in values)
    return attr.kind == "float" and not all(map(math.isfinite, values))


def _tensor(op: OpDef, argument: Argument) -> str:
    return "Tensor[]" if op.is_list(argument) else f"Tensor{'?' if argument.optional else ''}"


def _attribute(attr: Attr) -> str:
    kind = _TYPES[attr.kind] + ("[]" if attr.is_list else "")
    # Torch's own check of schemas cannot read a list of types that must be there; one that may be absent it can.
    maybe = "?" if _unspoken(attr) or (attr.is_list and attr.kind == "type") else ""
    if not attr.has_default:
        return f"{kind}{maybe} {attr.name}"
    return f"{kind}{maybe} {attr.name}={'None' if _unspoken(attr) else _default(attr.default)}"


def _default(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return str(list(value)) if isinstance(value, (list, tuple)) else dtype_name(value)
