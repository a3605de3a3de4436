"""Does a call fit its declaration? Types, numbers of tensors, attribute values, deprecation; what a wrong one says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import NotRegistered, ShapeError, message, suggest
from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.dtypes import DTYPES, dtype_name
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.versions import reached

_warned: set[str] = set()


def check_call(op: OpDef, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """Check a call whose arguments are bound to names.

    Raises:
        ShapeError: naming operator and field, what came and what is allowed.
        NotRegistered: the operator is deprecated, and the version from which on it is an error is reached.
    """
    if op.deprecation is not None:
        _check_deprecation(op)
    known = _Known()
    for argument in op.inputs:
        _check_input(op, argument, inputs[argument.name], known)
    for attr in op.passed_attrs():
        wrong = attr.problem_with(attrs[attr.name])
        if wrong:
            raise ShapeError(f"{op.name}: {attr.name} {wrong}; received {attrs[attr.name]!r}.")


def inferred(op: OpDef, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes of a checked call: those passed, and the types and numbers that its tensors give."""
    known = _Known()
    for argument in op.inputs:
        if inputs[argument.name] is not None:
            _check_input(op, argument, inputs[argument.name], known)
    defaults = {attr.name: attr.default for attr in op.type_attrs().values() if attr.has_default}
    found = {name: value for name, (value, _) in (*known.types.items(), *known.numbers.items())}
    return {**defaults, **attrs, **found}


def check_outputs(op: OpDef, outputs: Sequence[Any], attrs: Mapping[str, Any]) -> None:
    """Does what the shape rule made have the declared number, structure and types? ``attrs`` as of :func:`inferred`."""
    if len(outputs) != len(op.outputs):
        received = f"{len(outputs)} outputs of the shape rule"
        raise ShapeError(message(op.name, received=received, allowed=f"{len(op.outputs)}, as declared"))
    made: Any
    for argument, made in zip(op.outputs, outputs, strict=True):
        where = f"{op.name}: {argument.name} of the shape rule"
        listed = op.is_list(argument)
        if not isinstance(made, list if listed else TensorSpec):
            allowed = "a list of TensorSpec" if listed else "a TensorSpec"
            raise ShapeError(message(where, received=type(made).__name__, allowed=allowed))
        specs: list[Any] = made if isinstance(made, list) else [made]
        if argument.number is not None and attrs[argument.number] != len(specs):
            allowed = f"{attrs[argument.number]}, the {argument.number} of the call"
            raise ShapeError(message(where, received=f"{len(specs)} tensors", allowed=allowed))
        wanted = DTYPES.get(argument.type) or attrs[argument.type]
        expected = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted] * len(specs)
        received_types = [spec.dtype for spec in specs]
        if received_types != expected:
            received = ", ".join(map(dtype_name, received_types))
            raise ShapeError(message(where, received=received, allowed=", ".join(map(dtype_name, expected))))


def misfit(op: OpDef, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> ShapeError | None:
    """Why torch's own reader of arguments refused a call, in the words of the declaration; ``None``: not its fault."""
    passed, names = op.passed_attrs(), [argument.name for argument in op.inputs]
    known = [*(attr.name for attr in passed), *(["device"] if op.is_source() else [])]
    for name in attrs:
        if name not in known and name not in names:
            return ShapeError(
                message(
                    f"{op.name}: attribute",
                    received=name,
                    allowed=", ".join(known) or "none",
                    fix=suggest(name, known).strip(),
                )
            )
    bound = dict(zip([*names, *known], inputs, strict=False))
    twice = [name for name in bound if name in attrs]
    if twice or len(inputs) > len(names) + len(known):
        received = f"{twice[0]!r} twice" if twice else f"{len(inputs)} of them"
        return ShapeError(message(f"{op.name}: arguments", received=received, allowed=_signature(op)))
    bound.update(attrs)
    missing = [name for argument in op.inputs if (name := argument.name) not in bound and not argument.optional]
    missing += [attr.name for attr in passed if attr.name not in bound and not attr.has_default]
    if missing:
        received = f"nothing for {', '.join(missing)}"
        return ShapeError(message(f"{op.name}: arguments", received=received, allowed=_signature(op)))
    try:
        values = {attr.name: bound.get(attr.name, attr.default) for attr in passed}
        check_call(op, {name: bound.get(name) for name in names}, values)
    except ShapeError as error:
        return error
    return None


def _signature(op: OpDef) -> str:
    """What a call of ``op`` looks like: ``(x, bias=None, *, stride=[1, 1])``."""
    inputs = [f"{a.name}=None" if a.optional else f"[{a.name}, ...]" if op.is_list(a) else a.name for a in op.inputs]
    attrs = [f"{a.name}={a.default_text}" if a.has_default else a.name for a in op.passed_attrs()]
    attrs += ["device=None"] if op.is_source() else []
    return f"{op.name}({', '.join([*inputs, *(['*'] if attrs else []), *attrs])})"


class _Known:
    """What the inputs looked at so far say of types and numbers: attribute -> (value, the input that said it)."""

    def __init__(self) -> None:
        self.types: dict[str, tuple[Any, str]] = {}
        self.numbers: dict[str, tuple[int, str]] = {}


def _check_input(op: OpDef, argument: Argument, value: Any, known: _Known) -> None:
    where = f"{op.name}: {argument.name}"
    if op.is_list(argument):
        _check_list(op, argument, value, known)
    elif value is None:
        if not argument.optional:
            raise ShapeError(message(where, received=None, allowed="a tensor; this input is not optional"))
    elif not isinstance(value, Tensor):
        raise ShapeError(message(where, received=type(value).__name__, allowed="a tensor"))
    else:
        _check_type(op, argument, where, value.dtype, known)


def _check_list(op: OpDef, argument: Argument, value: Any, known: _Known) -> None:
    where = f"{op.name}: {argument.name}"
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Tensor) for item in value):
        held = ", ".join(type(item).__name__ for item in value) if isinstance(value, (list, tuple)) else ""
        received = f"a list of {held}" if held else type(value).__name__
        raise ShapeError(message(where, received=received, allowed="a list of tensors"))
    if argument.number is None:
        attr = op.type_attrs()[argument.type]
        _check_types(where, attr, [item.dtype for item in value], known)
        return
    least = op.number_attrs()[argument.number].minimum
    least = 1 if least is None else least
    first, said_by = known.numbers.setdefault(argument.number, (len(value), argument.name))
    if len(value) < least:
        raise ShapeError(message(where, received=f"{len(value)} tensors", allowed=f"at least {least}"))
    if len(value) != first:
        allowed = f"{first}, as many ({argument.number}) as {said_by!r} has"
        raise ShapeError(message(where, received=f"{len(value)} tensors", allowed=allowed))
    for position, item in enumerate(value):
        _check_type(op, argument, f"{where}[{position}]", item.dtype, known)


def _check_types(where: str, attr: Attr, types: list[torch.dtype], known: _Known) -> None:
    """The types of a list that are free among themselves, up to another list of the same attribute."""
    wrong = attr.problem_with(types)
    shown = ", ".join(map(dtype_name, types))
    if wrong:
        raise ShapeError(f"{where} dtypes: {attr.name} {wrong}; received {shown or 'none'}.")
    first, said_by = known.types.setdefault(attr.name, (types, where))
    if first != types:
        allowed = f"{', '.join(map(dtype_name, first))}, the types {attr.name} of {said_by}"
        raise ShapeError(message(f"{where} dtypes", received=shown, allowed=allowed))


def _check_type(op: OpDef, argument: Argument, where: str, dtype: torch.dtype, known: _Known) -> None:
    if argument.type in DTYPES:
        if dtype != DTYPES[argument.type]:
            raise ShapeError(message(f"{where} dtype", received=str(dtype), allowed=argument.type))
        return
    attr = op.type_attrs()[argument.type]
    if attr.problem_with(dtype):
        allowed = ", ".join(attr.allowed or DTYPES)
        raise ShapeError(message(f"{where} dtype", received=str(dtype), allowed=allowed))
    first, said_by = known.types.setdefault(argument.type, (dtype, argument.name))
    if first != dtype:
        raise ShapeError(
            message(
                f"{where} dtype",
                received=str(dtype),
                allowed=f"{first}, the type {argument.type} of the input {said_by!r}",
                fix=f"Cast one of them with .to({first}).",
            )
        )


def _check_deprecation(op: OpDef) -> None:
    assert op.deprecation is not None
    version, why = op.deprecation
    package = op.owner[0]
    if reached(op.owner_version(), version):
        raise NotRegistered(f"operator {op.name!r} is gone since {package} {version}: {why}")
    if op.name not in _warned:
        _warned.add(op.name)
        warnings.warn(
            f"operator {op.name!r} is deprecated and an error from {package} {version} on: {why}",
            FutureWarning,
            stacklevel=2,
        )
