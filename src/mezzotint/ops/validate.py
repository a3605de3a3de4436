"""What is wrong with a declaration as a whole? Everything at once, at registration."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from mezzotint.errors import suggest
from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.dtypes import DTYPES, UNIONS
from mezzotint.ops.opdef import HOME, OpDef
from mezzotint.ops.versions import is_version

_NAME = re.compile(r"^(?:([a-z][a-z0-9_]*)::)?_?[a-z][a-z0-9_]*$")


def mistakes_of(op: OpDef) -> list[str]:
    """Everything that is wrong with a declaration whose parts could be read."""
    return [
        *_name_mistakes(op),
        *_attribute_mistakes(op),
        *_missing_parts(op),
        *(mistake for argument in op.inputs for mistake in _argument_mistakes(op, argument)),
        *(mistake for argument in op.outputs for mistake in _output_mistakes(op, argument)),
        *_flag_mistakes(op),
        *_reference_mistakes(op),
        *_history_mistakes(op),
    ]


def _name_mistakes(op: OpDef) -> Iterator[str]:
    match = _NAME.match(op.name)
    if not match:
        yield f"the name must be lower_case_with_underscores, after 'package::' outside of mezzotint, not {op.name!r}"
    elif match.group(1) == HOME:
        yield f"the name {op.name!r} says the namespace {HOME!r}, which goes without saying: leave '{HOME}::' out"
    declared: list[Argument | Attr] = [*op.inputs, *op.outputs, *op.attrs]
    names = [item.name for item in declared]
    yield from (
        f"the name {name!r} is used twice; allowed: once, in all of inputs, outputs and attributes"
        for name in sorted({n for n in names if names.count(n) > 1})
    )
    taken = {*DTYPES, *UNIONS}
    for name in names:
        if keyword.iskeyword(name):
            yield f"the name {name!r} is a word of Python's; allowed: any other, callers pass it by name"
        elif name in taken and name in [attr.name for attr in op.attrs]:
            yield f"attribute {name!r} is named like a type; allowed: any name but {', '.join(sorted(taken))}"
    for name in op.texts:
        if name not in names:
            yield f"doc for unknown name {name!r}; known: {', '.join(names)}{suggest(name, names)}"


def _attribute_mistakes(op: OpDef) -> Iterator[str]:
    for before, attr in pairwise(op.passed_attrs()):
        if before.has_default and not attr.has_default:
            yield f"attribute {attr.name!r} has no default but follows one that has"


def _missing_parts(op: OpDef) -> Iterator[str]:
    if not op.summary:
        yield "a doc sentence is missing: .doc(...)"
    if op.inputs and all(argument.optional for argument in op.inputs):
        yield "every input is optional; a call's device is that of its inputs, so that one must be there"
    if op.is_source() and any(attr.name == "device" for attr in op.attrs):
        yield "attribute 'device' is there without saying: a call of an operator without inputs has it"
    if not op.outputs and not op.stateful_because:
        yield "no output is declared: .output(...); allowed without: an operator that is stateful"
    if op.shape_fn is None and (op.outputs or not op.stateful_because):
        yield "the shape rule is missing: .shape_rule(...)"
    elif op.shape_fn is not None and not _takes(op.shape_fn, 2):
        yield f"the shape rule is {_shown(op.shape_fn)}; allowed: rule(inputs, attrs)"
    if op.gradient_fn is not None and not (op.inputs and op.outputs):
        yield "there is a gradient; allowed where there are inputs and outputs"
    elif op.gradient_fn is not None and not _takes(op.gradient_fn, 1 + len(op.outputs)):
        grads = ", ".join(f"grad_{argument.name}" for argument in op.outputs)
        yield f"the gradient is {_shown(op.gradient_fn)}; allowed: rule(call, {grads})"


def _takes(rule: Any, count: int) -> bool:
    """Whether ``rule`` can be called with ``count`` arguments; a builtin that does not tell is believed."""
    try:
        inspect.signature(rule).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _shown(rule: Any) -> str:
    return f"rule{inspect.signature(rule)}" if callable(rule) else f"a {type(rule).__name__}"


def _argument_mistakes(op: OpDef, argument: Argument) -> Iterator[str]:
    kinds = {attr.name: attr for attr in op.attrs}
    attr = kinds.get(argument.type)
    if argument.type not in DTYPES and attr is None:
        known = [*(name for name, found in kinds.items() if found.kind == "type"), *DTYPES]
        yield (
            f"{argument.name!r} has the unknown type {argument.type!r}: no dtype and no attribute; "
            f"allowed: {', '.join(known)}{suggest(argument.type, known)}"
        )
    elif attr is not None and attr.kind != "type":
        yield (
            f"{argument.name!r} names the attribute {argument.type!r}, which is no type: received {attr.kind_text!r}; "
            "allowed: type or list(type)"
        )
    if argument.number is not None:
        yield from _number_mistakes(argument, kinds.get(argument.number), listed=bool(attr and attr.is_list))
    if argument.optional and op.is_list(argument):
        yield f"{argument.name!r} is an optional list; a list may be empty instead: give its length a minimum of 0"


def _number_mistakes(argument: Argument, length: Attr | None, *, listed: bool) -> Iterator[str]:
    where = f"{argument.name!r} has a length {argument.number!r}"
    if length is None or length.kind != "int" or length.is_list:
        yield f"{where} that is no int attribute; allowed: one, such as '{argument.number}: int >= 1'"
    elif length.minimum is not None and length.minimum < 0:
        yield f"{where} whose minimum is {length.minimum}; allowed: 0 or more"
    if listed:
        yield f"{argument.name!r} has a length and a list(type) {argument.type!r}; a list has one of the two"


def _output_mistakes(op: OpDef, argument: Argument) -> Iterator[str]:
    yield from _argument_mistakes(op, argument)
    if argument.optional:
        yield f"the output {argument.name!r} is optional; outputs are always there"
    giving = [given for given in op.inputs if given.type == argument.type]
    attr = op.type_attrs().get(argument.type)
    if attr is not None and not attr.has_default and all(given.optional for given in giving):
        yield (
            f"the output {argument.name!r} has the type {argument.type!r}, which only optional inputs give; "
            f"give the attribute a default"
        )


def _flag_mistakes(op: OpDef) -> Iterator[str]:
    if op.commutative_inputs is not None:
        yield from _commutative_mistakes(op)
    if op.is_aggregate:
        kinds = [(argument.number is not None, argument.type) for argument in (*op.inputs, *op.outputs)]
        if len(kinds) != 2 or not kinds[0][0] or kinds[1] != (False, kinds[0][1]):
            yield "an aggregate has one input 'xs: N * T' and one output 'y: T'"
    if op.gradient_fn is not None and op.constant_because:
        yield "there is a gradient, and it is called not differentiable"


def _commutative_mistakes(op: OpDef) -> Iterator[str]:
    known = {argument.name: argument for argument in op.inputs}
    named = op.commutative_inputs or tuple(known)
    yield from (f"commutative names the unknown input {name!r}" for name in named if name not in known)
    kinds = {(known[name].type, known[name].number, known[name].optional) for name in named if name in known}
    if len(kinds) > 1:
        yield f"commutative inputs must be of one type: {', '.join(named)}"
    if len(named) < 2 and not any(known[name].number for name in named if name in known):
        yield "commutative needs two inputs, or one 'xs: N * T', that can change places"


def _reference_mistakes(op: OpDef) -> Iterator[str]:
    inputs, attrs = [argument.name for argument in op.inputs], {attr.name: attr for attr in op.attrs}
    yield from (f"autocast names the unknown input {name!r}" for name in op.autocast_inputs if name not in inputs)
    outputs = [argument.name for argument in op.outputs]
    yield from (f"the gradient asks for the unknown output {name!r}" for name in op.kept_outputs if name not in outputs)
    yield from (f"samples names the unknown input {name!r}" for name in op.sample_inputs if name not in inputs)
    if op.density_of is not None:
        values, shape = op.density_of
        if values not in inputs:
            yield f"density names the unknown input {values!r}"
        if shape not in attrs or not (attrs[shape].is_list or attrs[shape].kind == "shape"):
            yield f"density names {shape!r}, which is no list(int) or shape attribute"


def _history_mistakes(op: OpDef) -> Iterator[str]:
    if op.revision < 1:
        yield f"the operator's version is {op.revision}; allowed: 1 or more"
    for what, version in (("since", op.first_version), ("deprecated", op.deprecation and op.deprecation.version)):
        if version and not is_version(version):
            yield f"{what} names the version {version!r}; allowed: numbers with dots, such as '0.2'"
    if op.deprecation is not None and not op.deprecation.why:
        yield "a deprecation says why, and what to use instead"
    if op.owner != (HOME, "") and not (op.owner[0] and is_version(op.owner[1])):
        yield f"the package {op.owner!r} must have a name and a version with dots, such as '0.2'"
