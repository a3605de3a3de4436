"""How does a type checker know what an operator takes? Typed signatures made from the declarations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.opdef import OpDef
from mezzotint.ops.operator import Operator
from mezzotint.ops.schema import qualified

_KINDS: Final = {
    "string": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "type": "torch.dtype",
    "shape": "Sequence[int]",
}
_HEAD: Final = '''\
"""What does each operator take and give? Made by {by} from the declarations; do not edit by hand."""

from collections.abc import Sequence
{imports}from torch import Tensor
'''


def stub(operators: Iterable[Operator], by: str = "`make docs`") -> str:
    """The text of a ``.pyi`` file with one function an operator, sorted by name; ``by`` says how it is made."""
    made = sorted((qualified(operator.name)[1], _function(operator.definition)) for operator in operators)
    functions = "\n".join(text for _, text in made)
    typing = "from typing import Literal\n" if "Literal[" in functions else ""
    torch = "import torch\n" if "torch." in functions else ""
    return f"{_HEAD.format(by=by, imports=f'{typing}{chr(10)}{torch}')}\n{functions}"


def _function(op: OpDef) -> str:
    inputs = [_input(op, position, argument) for position, argument in enumerate(op.inputs)]
    attrs = [_attribute(attr) for attr in op.passed_attrs()]
    attrs += ["device: torch.device | None = ..."] if op.is_source() else []
    arguments = [*inputs, *(["/"] if inputs else []), *(["*"] if attrs else []), *attrs]
    outputs = ["list[Tensor]" if op.is_list(argument) else "Tensor" for argument in op.outputs]
    returns = outputs[0] if len(outputs) == 1 else f"tuple[{', '.join(outputs)}]" if outputs else "None"
    listed = "".join(f"    {argument},\n" for argument in arguments)
    text = op.summary.replace("\\", "\\\\").replace('"""', "'''")
    return f'def {qualified(op.name)[1]}(\n{listed}) -> {returns}:\n    """{text}"""\n'


def _input(op: OpDef, position: int, argument: Argument) -> str:
    if op.is_list(argument):
        return f"{argument.name}: Sequence[Tensor]"
    if not argument.optional:
        return f"{argument.name}: Tensor"
    required_follows = any(not later.optional for later in op.inputs[position:])
    return f"{argument.name}: Tensor | None{'' if required_follows else ' = None'}"


def _attribute(attr: Attr) -> str:
    kind = _KINDS[attr.kind]
    if attr.kind == "string" and attr.allowed:
        kind = f"Literal[{', '.join(map(json.dumps, attr.allowed))}]"
    return f"{attr.name}: {f'Sequence[{kind}]' if attr.is_list else kind}{' = ...' if attr.has_default else ''}"
