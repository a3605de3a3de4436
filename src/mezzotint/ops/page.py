"""What does an operator's reference page say? Text made from the declaration, so that it cannot drift."""

from __future__ import annotations

from mezzotint.ops.grammar import Argument, Attr
from mezzotint.ops.operator import NAMESPACE, Operator


def describe(operator: Operator) -> str:
    """Name, sentence, inputs, attributes, outputs, schema and kernels of ``operator``."""
    definition = operator.definition
    lines = [operator.name, "  " + definition.summary, ""]
    lines += _section("inputs", [_argument(a, definition.texts) for a in definition.inputs])
    lines += _section("attributes", [_attribute(a, definition.texts) for a in definition.attrs])
    lines += _section("outputs", [_argument(a, definition.texts) for a in definition.outputs])
    lines += _section("kernels", [_kernel_line(operator, name) for name in range(len(operator.kernels()))])
    lines.append(f"  schema: {NAMESPACE}::{operator.schema}")
    lines.append(f"  gradient: {'declared' if definition.gradient_fn else 'none'}")
    if definition.autocast_inputs:
        lines.append(f"  autocast casts: {', '.join(definition.autocast_inputs)}")
    return "\n".join(lines)


def _section(title: str, rows: list[str]) -> list[str]:
    return [f"  {title}:", *(f"    {row}" for row in rows)] if rows else []


def _argument(argument: Argument, texts: dict[str, str]) -> str:
    number = f"{argument.number} * " if argument.number else ""
    shown = f"{argument.name}: {number}{argument.type}{'?' if argument.optional else ''}"
    return _with_text(shown, texts.get(argument.name, ""))


def _attribute(attr: Attr, texts: dict[str, str]) -> str:
    kind = f"{{{', '.join(attr.allowed)}}}" if attr.allowed else attr.kind
    kind = f"list({kind})" if attr.is_list else kind
    minimum = "" if attr.minimum is None else f" >= {attr.minimum}"
    default = f" = {attr.default}" if attr.has_default else ""
    return _with_text(f"{attr.name}: {kind}{minimum}{default}", texts.get(attr.name, ""))


def _kernel_line(operator: Operator, position: int) -> str:
    kernel = operator.kernels()[position]
    types = ", ".join(str(dtype).removeprefix("torch.") for dtype in kernel.dtypes) or "every floating type"
    note = ", the oracle" if kernel.oracle else ""
    return f"{kernel.name}: {kernel.device}; {types}; priority {kernel.priority}{note}"


def _with_text(shown: str, text: str) -> str:
    return f"{shown}  -- {text}" if text else shown
