"""What does an operator's reference page say? Text and Markdown from the declaration, which cannot drift."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from mezzotint.kernels import Kernel
from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.opdef import OpDef
from mezzotint.ops.operator import Operator
from mezzotint.ops.schema import qualified

#: Widest first column that the others of a section are aligned to.
_COLUMN: Final = 44


def describe(operator: Operator) -> str:
    """Name, sentence, call, arguments, kernels, schema, flags and history of ``operator``, as text."""
    op = operator.definition
    lines = [operator.name, "  " + op.summary, "", f"  {call(op)}", ""]
    lines += _section("inputs", [(argument_text(a), op.texts.get(a.name, "")) for a in op.inputs])
    lines += _section("attributes", [(attribute_text(a), op.texts.get(a.name, "")) for a in op.passed_attrs()])
    lines += _section("found from the inputs", [(attribute_text(a), op.texts.get(a.name, "")) for a in inferred(op)])
    lines += _section("outputs", [(argument_text(a), op.texts.get(a.name, "")) for a in op.outputs])
    lines += _section("kernels", [(kernel.name, kernel_text(kernel)) for kernel in operator.kernels()])
    lines += [f"  {title}: {text}" for title, text in facts(operator)]
    return "\n".join(lines)


def markdown(operator: Operator) -> str:
    """The same as a page of Markdown."""
    op = operator.definition
    parts = [f"# {operator.name}", "", op.summary, "", "```python", call(op), "```"]
    parts += _table(
        "Inputs", ("name", "type", ""), [(a.name, f"`{_type(a)}`", op.texts.get(a.name, "")) for a in op.inputs]
    )
    parts += _attribute_table("Attributes", op, op.passed_attrs())
    parts += _attribute_table("Found from the inputs", op, inferred(op))
    parts += _table(
        "Outputs", ("name", "type", ""), [(a.name, f"`{_type(a)}`", op.texts.get(a.name, "")) for a in op.outputs]
    )
    parts += _table(
        "Kernels", ("name", "takes part"), [(kernel.name, kernel_text(kernel)) for kernel in operator.kernels()]
    )
    parts += ["", "## Facts", "", *(f"- **{title}**: {_code(title, text)}" for title, text in facts(operator))]
    return "\n".join(parts) + "\n"


def overview(operators: Iterable[Operator]) -> list[tuple[str, str, str, str]]:
    """(name, where it comes from, kernels, sentence) of each operator, for lists."""
    return [
        (
            operator.name,
            _origin(operator.definition),
            ", ".join(kernel.name for kernel in operator.kernels()) or "none",
            operator.definition.summary,
        )
        for operator in operators
    ]


def call(op: OpDef) -> str:
    """How the operator is called from Python."""
    inputs = []
    for position, argument in enumerate(op.inputs):
        shown = f"[{argument.name}, ...]" if op.is_list(argument) else argument.name
        required_follows = any(not later.optional for later in op.inputs[position:])
        inputs.append(shown if required_follows else f"{shown}=None")
    attrs = [f"{attr.name}={attr.default_text}" if attr.has_default else attr.name for attr in op.passed_attrs()]
    attrs += ["device=None"] if op.is_source() else []
    arguments = ", ".join([*inputs, *(["*"] if attrs else []), *attrs])
    outputs = [f"[{a.name}, ...]" if op.is_list(a) else a.name for a in op.outputs]
    given = f"{', '.join(outputs)} = " if outputs else ""
    return f"{given}ops.get({json.dumps(op.name)})({arguments})"


def inferred(op: OpDef) -> list[Attr]:
    """The attributes that are found from the tensors of a call."""
    passed = op.passed_attrs()
    return [attr for attr in op.attrs if attr not in passed]


def facts(operator: Operator) -> list[tuple[str, str]]:
    """(title, text) of what is neither argument nor kernel."""
    op = operator.definition
    found = [("schema", f"{qualified(op.name)[0]}::{operator.schema}"), ("gradient", gradient_text(op))]
    if op.autocast_inputs:
        found.append(("autocast casts", ", ".join(op.autocast_inputs)))
    if op.density_of:
        found.append(("density", f"length of {op.density_of[0]} / product of {op.density_of[1]}"))
    if op.commutative_inputs is not None:
        named = ", ".join(op.commutative_inputs or (argument.name for argument in op.inputs))
        found.append(("commutative", f"{named} may change places"))
    if op.is_aggregate:
        found.append(("aggregate", "the inputs may be gathered in any grouping"))
    if op.stateful_because:
        found.append(("stateful", f"{op.stateful_because}; never folded, merged, dropped or timed"))
    found.append(("version", f"{op.revision}, from {_origin(op)}"))
    if op.deprecation is not None:
        found.append(("deprecated", f"an error from {op.owner[0]} {op.deprecation.version} on: {op.deprecation.why}"))
    return found


def gradient_text(op: OpDef) -> str:
    """Whether there is a gradient, and why not."""
    if op.gradient_fn is not None:
        return "declared"
    return f"constant to its inputs: {op.constant_because}" if op.constant_because else "none"


def kernel_text(kernel: Kernel) -> str:
    """When a kernel takes part."""
    return "; ".join(kernel.constraints())


def argument_text(argument: Argument) -> str:
    """An input or output as declared."""
    return str(argument)


def attribute_text(attr: Attr) -> str:
    """An attribute as declared; a named union with its members."""
    text = str(attr)
    return f"{text}  ({', '.join(attr.allowed)})" if attr.allowed and "{" not in attr.kind_text else text


def _origin(op: OpDef) -> str:
    """Such as ``mezzotint 0.1``: the package, and the version of it that had the operator first."""
    return f"{op.owner[0]} {op.first_version}".rstrip()


def _type(argument: Argument) -> str:
    return str(argument).split(": ", 1)[1]


def _section(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(shown) for shown, _ in rows if len(shown) <= _COLUMN), default=0)
    lines = [f"    {shown:<{width}}  {text}".rstrip() for shown, text in rows]
    return [f"  {title}:", *lines] if rows else []


def _attribute_table(title: str, op: OpDef, attrs: Sequence[Attr]) -> list[str]:
    rows = [
        (
            attr.name,
            f"`{attr.kind_text}`",
            f"`{attr.default_text}`" if attr.has_default else "",
            op.texts.get(attr.name, ""),
        )
        for attr in attrs
    ]
    return _table(title, ("name", "kind", "default", ""), rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return ["", f"## {title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *lines]


def _code(title: str, text: str) -> str:
    return f"`{text}`" if title == "schema" else text
