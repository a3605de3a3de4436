"""What does the operator of a node declare? Ours by its ``OpDef``, PyTorch's by its schema; both seen in one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import torch

from mezzotint.errors import InputError, NotRegistered, suggest
from mezzotint.ops.grammar import DTYPES, Argument
from mezzotint.ops.operator import NAMESPACE, Operator
from mezzotint.ops.registry import REGISTRY

_TENSORS: Final = ("Tensor", "Optional[Tensor]", "List[Tensor]", "List[Optional[Tensor]]")
#: Operators that reach outside of the graph: a file of anybody's may not call them.
_OUTSIDE: Final = ("aten.from_file",)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument as the operator declares it.

    Attributes:
        name: of the argument.
        is_tensor: whether it takes edges, and not an attribute.
        is_list: whether it takes a list of them.
        takes_numbers: whether a number may stand in for its tensor, as PyTorch's operators allow.
        required: whether a node must pass it.
        dtypes: what its tensors may be; empty: not declared.
        type_name: parameters of one type name must have one dtype (``T``); empty: no such tie.
        problem: "must be ..." for an attribute's value, or ``None``.
    """

    name: str
    is_tensor: bool
    is_list: bool = False
    takes_numbers: bool = False
    required: bool = True
    dtypes: tuple[torch.dtype, ...] = ()
    type_name: str = ""
    problem: Callable[[Any], str | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """An operator as the graph sees it: its parameters in order, and what to call with them by name."""

    name: str
    parameters: tuple[Parameter, ...]
    call: Any
    ours: Operator | None = None

    @property
    def tensors(self) -> tuple[Parameter, ...]:
        """The parameters that take edges."""
        return tuple(parameter for parameter in self.parameters if parameter.is_tensor)

    def complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``arguments`` with ``None`` for what may be absent and has no default: a call by name must pass it."""
        return {**self._nones, **arguments}

    @cached_property
    def _nones(self) -> dict[str, None]:
        without = {argument.name for argument in self.call._schema.arguments if not argument.has_default_value()}
        return {one.name: None for one in self.parameters if not one.required and one.name in without}

    @property
    def is_random(self) -> bool:
        """Whether it draws from the generator, so that its place in the order of all that draw matters."""
        return torch.Tag.nondeterministic_seeded in self.call.tags


def declaration(name: str) -> Declaration:
    """The operator ``name``.

    Raises:
        NotRegistered: neither we nor PyTorch have it.
        InputError: it changes its arguments or reaches outside of the graph.
    """
    if name in REGISTRY.names():
        return _ours(REGISTRY.get(name))
    return _of_torch(name)


def short_name(operator_name: str) -> str:
    """The operator's name as people say it: without namespace, overload and the marks of PyTorch's own variants."""
    name = operator_name.split(".")[1] if operator_name.startswith(("aten.", "prims.")) else operator_name
    return "batch_norm" if "batch_norm" in name else name.strip("_")


def _ours(operator: Operator) -> Declaration:
    definition = operator.definition
    attrs = {attr.name: attr for attr in definition.attrs}

    def argument(declared: Argument) -> Parameter:
        of_type = attrs.get(declared.type)
        names: Sequence[str] = (declared.type,) if declared.type in DTYPES else of_type.allowed if of_type else ()
        return Parameter(
            name=declared.name,
            is_tensor=True,
            is_list=declared.number is not None,
            required=not declared.optional,
            dtypes=tuple(DTYPES[name] for name in names),
            type_name="" if declared.type in DTYPES else declared.type,
        )

    return Declaration(
        name=operator.name,
        parameters=(
            *(argument(declared) for declared in definition.inputs),
            *(
                Parameter(name=attr.name, is_tensor=False, required=not attr.has_default, problem=attr.problem_with)
                for attr in definition.passed_attrs()
            ),
        ),
        call=getattr(getattr(torch.ops, NAMESPACE), operator.name).default,
        ours=operator,
    )


@lru_cache(maxsize=1024)
def _of_torch(name: str) -> Declaration:
    overload = _overload(name)
    schema = overload._schema
    if schema.is_mutable or name in _OUTSIDE:
        why = "changes its arguments" if schema.is_mutable else "reads and writes files"
        raise InputError(f"operator {name!r} {why}; a graph is made of pure operators, whose outputs are all they do.")
    return Declaration(
        name=name,
        parameters=tuple(
            Parameter(
                name=argument.name,
                is_tensor=str(argument.type) in _TENSORS,
                is_list=str(argument.type).startswith("List[") and str(argument.type) in _TENSORS,
                takes_numbers=str(argument.type) == "Tensor",
                required=not argument.has_default_value() and not str(argument.type).startswith("Optional["),
            )
            for argument in schema.arguments
        ),
        call=overload,
    )


def _overload(name: str) -> Any:
    parts = name.split(".")
    if len(parts) in (2, 3) and all(part.isidentifier() for part in parts):
        packet = getattr(getattr(torch.ops, parts[0]), parts[1], None)
        found = getattr(packet, parts[2] if len(parts) == 3 else "default", None)
        if isinstance(found, torch._ops.OpOverload):
            return found
        if packet is not None:
            overloads = [
                f"{parts[0]}.{parts[1]}.{overload}" for overload in packet.overloads() if overload != "default"
            ]
            raise NotRegistered(f"no operator {name!r}; its overloads: {', '.join(overloads) or 'none'}.")
    known = [*REGISTRY.names(), *_torch_names()]
    raise NotRegistered(
        f"no operator {name!r}; known: {', '.join(REGISTRY.names())}, and PyTorch's as 'aten.relu'."
        f"{suggest(name, known)}"
    )


@lru_cache(maxsize=1)
def _torch_names() -> tuple[str, ...]:
    names = (name.replace("::", ".") for name in torch._C._dispatch_get_all_op_names())
    return tuple(sorted({name for name in names if name.startswith("aten.")}))
