"""How does a kernel come to an operator, and what is wrong with one that does not fit? Told when it is registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.errors import DeclarationError, suggest
from mezzotint.kernels import KERNELS, Kernel
from mezzotint.kernels.table import LAYOUTS, Cost, Supports
from mezzotint.ops.dtypes import DTYPES, dtype_name
from mezzotint.ops.opdef import OpDef

Alternatives = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KernelSpec:
    """What the author of a kernel says of it; see :class:`mezzotint.kernels.Kernel`.

    ``attrs`` names attributes as the operator declares them, type attributes included; a value stands for itself, a
    tuple of values for alternatives: ``{"groups": 1, "mode": ("a", "b"), "stride": ([1, 1], [2, 2])}``.
    """

    name: str | None = None
    device: str = "any"
    dtypes: Iterable[torch.dtype] = ()
    attrs: Alternatives | None = None
    layout: str = "any"
    label: str = ""
    priority: int = 0
    supports: Supports | None = None
    cost: Cost | None = None
    into: bool = False
    oracle: bool = False


def register_kernel(op: OpDef, run: Callable[..., Any], spec: KernelSpec) -> Kernel:
    """Enter the kernel ``run`` of operator ``op`` into the launcher's table.

    Raises:
        DeclarationError: with every reason why it could never run, or the kernel that it cannot be told from.
    """
    name = spec.name if spec.name is not None else str(getattr(run, "__name__", ""))
    mistakes = _mistakes(op, run, spec, name)
    if mistakes:
        raise DeclarationError(f"kernel {name!r} of operator {op.name!r} cannot be registered: {'; '.join(mistakes)}.")
    types, attrs = _constraints(op, spec.attrs or {})
    kernel = Kernel(
        op=op.name,
        name=name,
        run=run,
        device=spec.device,
        dtypes=tuple(spec.dtypes),
        types=types,
        attrs=attrs,
        layout=spec.layout,
        label=spec.label,
        priority=spec.priority,
        supports=spec.supports,
        cost=spec.cost,
        into=spec.into,
        oracle=spec.oracle,
    )
    KERNELS.add(kernel)
    return kernel


def _mistakes(op: OpDef, run: Callable[..., Any], spec: KernelSpec, name: str) -> list[str]:
    found = [] if name.isidentifier() else [f"name: received {name!r}; allowed: an identifier, name='...'"]
    if not _is_device(spec.device):
        found.append(f"device: received {spec.device!r}; allowed: 'any' or a device type of torch, such as 'cpu'")
    if spec.layout not in LAYOUTS:
        found.append(f"layout: received {spec.layout!r}; allowed: {', '.join(LAYOUTS)}{suggest(spec.layout, LAYOUTS)}")
    if spec.oracle and spec.label:
        found.append("an oracle has no label: it is there for whatever nothing else can do")
    found += _dtype_mistakes(op, tuple(spec.dtypes))
    for attr, value in (spec.attrs or {}).items():
        found += _constraint_mistakes(op, attr, alternatives(value))
    return [*found, *signature_mistakes(op, run, into=spec.into)]


def _is_device(device: str) -> bool:
    if device == "any":
        return True
    try:
        return torch.device(device).type == device  # not "cuda:1": a kernel runs on every device of its type
    except RuntimeError:
        return False


def _dtype_mistakes(op: OpDef, dtypes: Sequence[torch.dtype]) -> list[str]:
    """The dtypes speak of the first input (of a source: output); one that it cannot have would never be asked for."""
    named = next(iter(op.inputs or op.outputs), None)
    if named is None:
        return ["dtypes: there is neither input nor output that they could speak of"] if dtypes else []
    allowed = _allowed_types(op, named.type)
    return [
        f"dtypes: received {dtype_name(dtype)}; allowed: {', '.join(allowed)}, the types of {named.name!r}"
        for dtype in dtypes
        if dtype_name(dtype) not in allowed
    ]


def _allowed_types(op: OpDef, type_: str) -> tuple[str, ...]:
    if type_ in DTYPES:
        return (type_,)
    attr = next(attr for attr in op.attrs if attr.name == type_)
    return attr.allowed or tuple(DTYPES)


def _constraint_mistakes(op: OpDef, name: str, values: tuple[Any, ...]) -> list[str]:
    attrs = {attr.name: attr for attr in op.attrs if attr.name not in op.number_attrs()}
    attr = attrs.get(name)
    if attr is None:
        return [f"attrs: received {name!r}; allowed: {', '.join(attrs) or 'none'}{suggest(name, attrs)}"]
    if attr.is_list and attr.kind == "type" and name in op.type_attrs():
        return [f"attrs: {name!r} is the types of a list of tensors; say what you need of them in supports="]
    wrong = [(value, attr.problem_with(value)) for value in values]
    found = [f"attrs: {name} {why}; received {value!r}" for value, why in wrong if why]
    return found if values else [f"attrs: {name} has no value left; allowed: {attr.kind_text}"]


def alternatives(value: Any) -> tuple[Any, ...]:
    """The values that a constraint allows: a tuple is alternatives, anything else (a list, too) is one value."""
    return value if isinstance(value, tuple) else (value,)


def _constraints(op: OpDef, attrs: Alternatives) -> tuple[Any, Any]:
    """(types by input, values by attribute) of a kernel's constraints, as the launcher compares them."""
    inferred = op.type_attrs()
    types = {
        next(argument.name for argument in op.inputs if argument.type == name): alternatives(value)
        for name, value in attrs.items()
        if name in inferred
    }
    values = {
        name: tuple(hashable(item) for item in alternatives(value))
        for name, value in attrs.items()
        if name not in inferred
    }
    return tuple(types.items()), tuple(values.items())


def hashable(value: Any) -> Any:
    """A list as a tuple, inner lists included."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple, torch.Size)) else value


def is_hashable(value: Any) -> bool:
    """Whether there is no list in ``value``, however deep."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def signature_mistakes(op: OpDef, run: Any, *, into: bool) -> list[str]:
    """Why ``run`` cannot be called with the operator's inputs (after its outputs, when ``into``) and attributes."""
    if not callable(run):
        return [f"a kernel is a function, not {type(run).__name__}"]
    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError):
        return []  # a builtin that does not tell; the first call will
    positional = [*(op.outputs if into else ()), *op.inputs]
    passed = [*(attr.name for attr in op.passed_attrs()), *(["device"] if op.is_source() else [])]
    try:
        signature.bind(*(argument.name for argument in positional), **dict.fromkeys(passed))
    except TypeError as error:
        call = [*(argument.name for argument in positional), *(f"{name}=..." for name in passed)]
        return [f"its signature {signature} cannot take the call ({', '.join(call)}): {error}"]
    return []
