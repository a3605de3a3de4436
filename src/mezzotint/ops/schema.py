"""How is a declaration said to ``torch.library``? Its schema."""

from __future__ import annotations

import json
import math
from typing import Any

from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.opdef import HOME, OpDef

_TYPES = {"string": "str", "int": "SymInt", "float": "float", "bool": "bool", "type": "ScalarType", "shape": "SymInt[]"}


def qualified(name: str) -> tuple[str, str]:
    """(namespace, bare name) in ``torch.ops`` of the operator ``name``."""
    namespace, _, bare = name.rpartition("::")
    return namespace or HOME, bare


def schema(op: OpDef) -> str:
    """The ``torch.library`` schema, without the namespace."""
    required = [position for position, argument in enumerate(op.inputs) if not argument.optional]
    inputs = [
        f"{_tensor(op, argument)} {argument.name}{'=None' if position > required[-1] else ''}"
        for position, argument in enumerate(op.inputs)
    ]
    outputs = [_tensor(op, argument) for argument in op.outputs]
    returns = outputs[0] if len(outputs) == 1 else f"({', '.join(outputs)})"
    return f"{qualified(op.name)[1]}({', '.join([*inputs, *map(_attribute, op.passed_attrs())])}) -> {returns}"


def unspoken(attr: Attr) -> bool:
    """Whether the schema language has no word for the default, so that the schema says ``None`` in its place.

    Types are among these: the schema could say them, but torch hands a default type on as a bare number.
    """
    if not attr.has_default:
        return False
    if attr.kind == "type":
        return True
    if attr.is_list and attr.kind in ("string", "shape"):
        return bool(attr.default)
    values = attr.default if attr.is_list else [attr.default]
    if attr.kind == "string":
        return not all(value.isascii() and value.isprintable() and "\\" not in value for value in values)
    return attr.kind == "float" and not all(map(math.isfinite, values))


def _tensor(op: OpDef, argument: Argument) -> str:
    return "Tensor[]" if op.is_list(argument) else f"Tensor{'?' if argument.optional else ''}"


def _attribute(attr: Attr) -> str:
    kind = _TYPES[attr.kind] + ("[]" if attr.is_list else "")
    if not attr.has_default:
        return f"{kind} {attr.name}"
    return f"{kind}? {attr.name}=None" if unspoken(attr) else f"{kind} {attr.name}={_default(attr.default)}"


def _default(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)
