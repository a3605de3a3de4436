"""What is an operator? Its declaration, built by chaining, checked as a whole when it is registered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.errors import DeclarationError, ShapeError, message
from mezzotint.ops.grammar import DTYPES, Argument, Attr, GrammarError, parse_argument, parse_attribute

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


@dataclass(frozen=True)
class TensorSpec:
    """Shape (integers, symbolic ones included) and dtype of an input or output."""

    shape: tuple[Any, ...]
    dtype: torch.dtype


Specs = Mapping[str, TensorSpec | None]
ShapeRule = Callable[[Specs, Mapping[str, Any]], TensorSpec | tuple[TensorSpec, ...]]
Gradient = Callable[..., Mapping[str, Tensor | None]]


@dataclass
class OpDef:
    """A declaration under construction; every method returns ``self``, :meth:`register` makes it an operator.

    Example::

        op = (OpDef("scale").input("x: T").output("y: T").attr("T: floattype").attr("by: float = 2.0")
              .shape_rule(lambda inputs, attrs: inputs["x"]).doc("Multiplies x by a constant.").register())

        @op.kernel(device="cpu")
        def scale(x, *, by):
            return x * by

    Mistakes are collected and told all at once by :meth:`register`.
    """

    name: str
    inputs: list[Argument] = field(default_factory=list)
    outputs: list[Argument] = field(default_factory=list)
    attrs: list[Attr] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    autocast_inputs: tuple[str, ...] = ()
    shape_fn: ShapeRule | None = None
    gradient_fn: Gradient | None = None
    density_of: tuple[str, str] | None = None
    kept_outputs: tuple[str, ...] = ()
    sample_inputs: tuple[str, ...] = ()
    mistakes: list[str] = field(default_factory=list)

    def input(self, spec: str, text: str = "") -> OpDef:
        """Add an input, ``"x: T"``; ``text`` documents it."""
        self._add(parse_argument, spec, self.inputs, text)
        return self

    def output(self, spec: str, text: str = "") -> OpDef:
        """Add an output, ``"y: T"``; ``text`` documents it."""
        self._add(parse_argument, spec, self.outputs, text)
        return self

    def attr(self, spec: str, text: str = "") -> OpDef:
        """Add an attribute, ``"stride: list(int) >= 1 = [1, 1]"``; ``text`` documents it.

        A minimum on a list holds for each of its items. A ``type`` attribute that an input names (``T``) is found
        from that input's dtype and is not passed by callers.
        """
        self._add(parse_attribute, spec, self.attrs, text)
        return self

    def shape_rule(self, rule: ShapeRule) -> OpDef:
        """``rule(inputs, attrs) -> TensorSpec``, used by the fake kernel *and* by output allocation."""
        if self.shape_fn is not None:
            self.mistakes.append("the shape rule is given twice")
        self.shape_fn = rule
        return self

    def gradient(self, rule: Gradient) -> OpDef:
        """``rule(call, *output_grads) -> {input name: gradient}``; see :class:`mezzotint.ops.operator.Call`."""
        if self.gradient_fn is not None:
            self.mistakes.append("the gradient is given twice")
        self.gradient_fn = rule
        return self

    def autocast(self, *inputs: str) -> OpDef:
        """Name the inputs that ``torch.autocast`` casts; the others keep their type (FP32 masters, say)."""
        self.autocast_inputs = inputs
        return self

    def density(self, values: str, weight_shape: str) -> OpDef:
        """Say how dense a problem is: the length of input ``values`` over the product of attribute ``weight_shape``."""
        self.density_of = (values, weight_shape)
        return self

    def keeps(self, *outputs: str) -> OpDef:
        """Name the outputs that the gradient reads, in declared order: its ``call`` has them beside the inputs."""
        self.kept_outputs = outputs
        return self

    def samples(self, *inputs: str) -> OpDef:
        """Name the inputs whose first axis, like that of every output, runs over independent samples.

        ``torch.func.vmap`` over these alone becomes one call with a longer axis; over others it becomes a loop.
        """
        self.sample_inputs = inputs
        return self

    def doc(self, summary: str, **texts: str) -> OpDef:
        """Document the operator in a sentence, and its arguments and attributes by name."""
        if self.summary:
            self.mistakes.append("the doc is given twice")
        self.summary = summary
        self.texts.update(texts)
        return self

    def register(self) -> Operator:
        """Check the declaration, enter it into the registry and into ``torch.library``.

        Raises:
            DeclarationError: with every mistake of the declaration, or when the name is taken.
        """
        from mezzotint.ops.operator import Operator
        from mezzotint.ops.registry import REGISTRY

        mistakes = [*self.mistakes, *_mistakes(self)]
        if mistakes:
            listed = "; ".join(mistakes)
            raise DeclarationError(f"operator {self.name!r} cannot be registered: {listed}.")
        operator = Operator(self)
        REGISTRY.add(operator)
        return operator

    def type_attrs(self) -> dict[str, Attr]:
        """The ``type`` attributes that some input names: they are found from tensors."""
        used = {argument.type for argument in self.inputs}
        return {attr.name: attr for attr in self.attrs if attr.kind == "type" and attr.name in used}

    def passed_attrs(self) -> list[Attr]:
        """The attributes that callers pass, in order."""
        inferred = self.type_attrs()
        return [attr for attr in self.attrs if attr.name not in inferred]

    def check_call(self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any]) -> None:
        """Check types and attribute values of a call; raises :class:`ShapeError` naming operator and field."""
        types: dict[str, tuple[torch.dtype, str]] = {}
        for argument in self.inputs:
            self._check_type(argument, inputs[argument.name], types)
        for attr in self.passed_attrs():
            wrong = attr.problem_with(attrs[attr.name])
            if wrong:
                raise ShapeError(f"{self.name}: {attr.name} {wrong}; received {attrs[attr.name]!r}.")

    def _check_type(self, argument: Argument, tensor: Tensor | None, types: dict[str, tuple[torch.dtype, str]]) -> None:
        where = f"{self.name}: {argument.name}"
        if tensor is None:
            if not argument.optional:
                raise ShapeError(message(where, received=None, allowed="a tensor; this input is not optional"))
            return
        if argument.type in DTYPES:
            if tensor.dtype != DTYPES[argument.type]:
                raise ShapeError(message(f"{where} dtype", received=str(tensor.dtype), allowed=argument.type))
            return
        attr = self.type_attrs()[argument.type]
        if attr.allowed and attr.problem_with(tensor.dtype):
            raise ShapeError(message(f"{where} dtype", received=str(tensor.dtype), allowed=", ".join(attr.allowed)))
        first = types.setdefault(argument.type, (tensor.dtype, argument.name))
        if first[0] != tensor.dtype:
            raise ShapeError(
                message(
                    f"{where} dtype",
                    received=str(tensor.dtype),
                    allowed=f"{first[0]}, the type {argument.type} of the input {first[1]!r}",
                    fix=f"Cast one of them with .to({first[0]}).",
                )
            )

    def _add(self, parse: Callable[[str], Any], spec: str, into: list[Any], text: str) -> None:
        try:
            item = parse(spec)
        except GrammarError as error:
            self.mistakes.append(str(error))
            return
        into.append(item)
        if text:
            self.texts[item.name] = text


def _mistakes(op: OpDef) -> list[str]:
    """Everything that is wrong with a declaration whose parts could be read."""
    found = []
    if not _NAME.match(op.name):
        found.append(f"the name must be lower_case_with_underscores, not {op.name!r}")
    declared: list[Argument | Attr] = [*op.inputs, *op.outputs, *op.attrs]
    names = [item.name for item in declared]
    found += [f"the name {name!r} is used twice" for name in sorted({n for n in names if names.count(n) > 1})]
    found += [f"attribute {attr.name!r} is named like a type" for attr in op.attrs if attr.name in DTYPES]
    found += [f"doc for unknown name {name!r}" for name in op.texts if name not in names]
    found += [f"autocast names the unknown input {name!r}" for name in op.autocast_inputs if name not in names]
    outputs = [output.name for output in op.outputs]
    found += [f"the gradient asks for the unknown output {name!r}" for name in op.kept_outputs if name not in outputs]
    inputs = [argument.name for argument in op.inputs]
    found += [f"samples names the unknown input {name!r}" for name in op.sample_inputs if name not in inputs]
    found += [
        f"attribute {attr.name!r} has no default but follows one that has"
        for before, attr in pairwise(op.passed_attrs())
        if before.has_default and not attr.has_default
    ]
    if not op.summary:
        found.append("a doc sentence is missing: .doc(...)")
    if not op.outputs:
        found.append("no output is declared: .output(...)")
    if op.shape_fn is None:
        found.append("the shape rule is missing: .shape_rule(...)")
    return [*found, *_argument_mistakes(op, op.inputs), *_argument_mistakes(op, op.outputs)]


def _argument_mistakes(op: OpDef, arguments: Sequence[Argument]) -> list[str]:
    kinds = {attr.name: attr for attr in op.attrs}
    found = []
    for argument in arguments:
        attr = kinds.get(argument.type)
        if argument.type not in DTYPES and attr is None:
            found.append(f"{argument.name!r} has the unknown type {argument.type!r}: no dtype and no attribute")
        elif attr is not None and attr.kind != "type":
            found.append(f"{argument.name!r} names the attribute {argument.type!r}, which is no type")
        if argument.number is not None:
            length = kinds.get(argument.number)
            if length is None or length.kind != "int" or length.is_list:
                found.append(f"{argument.name!r} has a length {argument.number!r} that is no int attribute")
    return found
