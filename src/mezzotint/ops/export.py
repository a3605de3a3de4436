"""How does another program read the declarations? All of them as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

import torch

from mezzotint.kernels import Kernel
from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.dtypes import dtype_name
from mezzotint.ops.opdef import OpDef
from mezzotint.ops.operator import Operator
from mezzotint.ops.page import gradient_text, inferred
from mezzotint.ops.schema import qualified

#: Raised whenever a field changes its meaning.
FORMAT: Final = 1


def to_json(operators: Iterable[Operator]) -> str:
    """The declarations and kernels of ``operators`` as JSON text: ``{"format": 1, "operators": [...]}``."""
    return json.dumps({"format": FORMAT, "operators": [record(operator) for operator in operators]}, indent=1)


def record(operator: Operator) -> dict[str, Any]:
    """One operator. ``spec`` of an argument or attribute is what :mod:`mezzotint.ops.grammar` reads."""
    op = operator.definition
    found = {attr.name for attr in inferred(op)}
    deprecation = op.deprecation
    return {
        "name": op.name,
        "version": op.revision,
        "since": op.first_version or None,
        "package": {"name": op.owner[0], "version": op.owner_version()},
        "summary": op.summary,
        "inputs": [_argument(op, argument) for argument in op.inputs],
        "attributes": [{**_attribute(op, attr), "inferred": attr.name in found} for attr in op.attrs],
        "outputs": [_argument(op, argument) for argument in op.outputs],
        "commutative": None if op.commutative_inputs is None else list(op.commutative_inputs) or _names(op.inputs),
        "aggregate": op.is_aggregate,
        "stateful": op.stateful_because or None,
        "deprecated": None if deprecation is None else {"version": deprecation.version, "why": deprecation.why},
        "gradient": gradient_text(op),
        "autocast": list(op.autocast_inputs),
        "density": None if op.density_of is None else list(op.density_of),
        "schema": f"{qualified(op.name)[0]}::{operator.schema}",
        "kernels": [_kernel(kernel) for kernel in operator.kernels()],
    }


def _argument(op: OpDef, argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "spec": str(argument),
        "type": argument.type,
        "number": argument.number,
        "list": op.is_list(argument),
        "optional": argument.optional,
        "doc": op.texts.get(argument.name, ""),
    }


def _attribute(op: OpDef, attr: Attr) -> dict[str, Any]:
    made = {
        "name": attr.name,
        "spec": str(attr),
        "kind": attr.kind,
        "list": attr.is_list,
        "allowed": list(attr.allowed) or None,
        "minimum": attr.minimum,
        "min_length": attr.min_length,
        "max_length": attr.max_length,
        "doc": op.texts.get(attr.name, ""),
    }
    return {**made, "default": _plain(attr.default)} if attr.has_default else made


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "device": kernel.device,
        "dtypes": [dtype_name(dtype) for dtype in kernel.dtypes],
        "types": {name: [dtype_name(dtype) for dtype in types] for name, types in kernel.types},
        "attributes": {name: _plain(values) for name, values in kernel.attrs},
        "layout": kernel.layout,
        "label": kernel.label,
        "priority": kernel.priority,
        "conditional": kernel.supports is not None,
        "cost_model": kernel.cost is not None,
        "into": kernel.into,
        "oracle": kernel.oracle,
    }


def _plain(value: Any) -> Any:
    """As JSON has it: types by name, lists for tuples, infinity and NaN as words."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return dtype_name(value) if isinstance(value, torch.dtype) else value


def _names(arguments: Iterable[Argument]) -> list[str]:
    return [argument.name for argument in arguments]
