"""What is an operator? Its declaration, built by chaining, checked as a whole when it is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mezzotint.errors import DeclarationError
from mezzotint.ops.attribute import Argument, Attr
from mezzotint.ops.grammar import GrammarError, parse_argument, parse_attribute

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

#: The package that declares mezzotint's own operators, and the ``torch.ops`` namespace that they live in.
HOME = "mezzotint"


@dataclass(frozen=True)
class TensorSpec:
    """Shape (integers, symbolic ones included) and dtype of an input or output."""

    shape: tuple[Any, ...]
    dtype: torch.dtype


class Deprecation(NamedTuple):
    """From ``version`` of its package on a call is an error; before, the first call warns."""

    version: str
    why: str


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

    Mistakes are collected and told all at once by :meth:`register`. A package of its own writes its namespace before
    the name, ``OpDef("acme::scale")``, and says :meth:`package`. :func:`mezzotint.ops.operator_class` makes the same
    object of an annotated class.
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
    commutative_inputs: tuple[str, ...] | None = None
    is_aggregate: bool = False
    stateful_because: str = ""
    constant_because: str = ""
    revision: int = 1
    first_version: str = ""
    deprecation: Deprecation | None = None
    owner: tuple[str, str] = (HOME, "")
    kept_outputs: tuple[str, ...] = ()
    sample_inputs: tuple[str, ...] = ()
    mistakes: list[str] = field(default_factory=list)

    # -- arguments and attributes -------------------------------------------------------------------------------

    def input(self, spec: str, text: str = "") -> OpDef:
        """Add an input, ``"x: T"``; ``text`` documents it.

        ``"bias: T?"`` may be absent (``None``); ``"xs: N * T"`` is a list of tensors of one type, at least one unless
        the int attribute ``N`` says otherwise; ``"xs: Ts"`` with ``Ts: list(type)`` is a list of several types.
        An operator without inputs is a source: its calls and its kernels have an argument ``device`` more.
        """
        self._add(parse_argument, spec, self.inputs, text)
        return self

    def output(self, spec: str, text: str = "") -> OpDef:
        """Add an output, ``"y: T"``; ``text`` documents it. Lists as for :meth:`input`; several outputs are a tuple.

        Without outputs it gives ``None``, needs no shape rule, and must be :meth:`stateful`.
        """
        self._add(parse_argument, spec, self.outputs, text)
        return self

    def attr(self, spec: str, text: str = "") -> OpDef:
        """Add an attribute, ``"stride: list(int >= 1) = [1, 1]"``; ``text`` documents it.

        See :mod:`mezzotint.ops.grammar`. Attributes that inputs name (their type ``T``, their number ``N``) are found
        from the tensors of a call and are not passed by callers.
        """
        self._add(parse_attribute, spec, self.attrs, text)
        return self

    # -- meaning ------------------------------------------------------------------------------------------------

    def shape_rule(self, rule: ShapeRule) -> OpDef:
        """``rule(inputs, attrs) -> TensorSpec``, used by the fake kernel *and* by output allocation.

        A list of tensors is a list of specs, in ``inputs`` and in the result; several outputs are a tuple.
        """
        self._once("the shape rule", self.shape_fn)
        self.shape_fn = rule
        return self

    def gradient(self, rule: Gradient) -> OpDef:
        """``rule(call, *output_grads) -> {input name: gradient}``; see :class:`mezzotint.ops.operator.Call`.

        An operator without one can be called by anyone; to go backward through it is a :class:`NoGradient`.
        """
        self._once("the gradient", self.gradient_fn)
        self.gradient_fn = rule
        return self

    def not_differentiable(self, why: str) -> OpDef:
        """Say that outputs are constant to their inputs (indices, counts): they ask for no gradient, and ``why``."""
        self._once("the reason why it is not differentiable", self.constant_because)
        self.constant_because = why
        return self

    def commutative(self, *inputs: str) -> OpDef:
        """Say that these inputs (all, when none is named) may change places without changing the result."""
        self._once("commutative", self.commutative_inputs)
        self.commutative_inputs = inputs
        return self

    def aggregate(self) -> OpDef:
        """Say that the one input ``N * T`` may be gathered in any grouping: ``f(a, b, c) = f(f(a, b), c)``."""
        self._once("aggregate", self.is_aggregate)
        self.is_aggregate = True
        return self

    def stateful(self, why: str) -> OpDef:
        """Say that two equal calls may differ or leave something behind (random numbers, a file), and ``why``.

        Such an operator is never folded into a constant, merged with an equal call, dropped when nobody reads its
        result, or timed by the launcher (which would run it several times).
        """
        self._once("stateful", self.stateful_because)
        self.stateful_because = why
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

    # -- documentation and history ------------------------------------------------------------------------------

    def doc(self, summary: str, **texts: str) -> OpDef:
        """Document the operator in a sentence, and its arguments and attributes by name."""
        self._once("the doc", self.summary)
        self.summary = summary
        for name, text in texts.items():
            self._document(name, text)
        return self

    def since(self, version: str) -> OpDef:
        """The version of its package, ``"0.1"``, that had this operator first."""
        self._once("since", self.first_version)
        self.first_version = version
        return self

    def version(self, number: int) -> OpDef:
        """The version of the operator itself, from 1: one more whenever its meaning changes. Exported with it."""
        self.revision = number
        return self

    def deprecated(self, version: str, why: str) -> OpDef:
        """Before ``version`` of its package the first call warns with ``why``; from it on every call is an error."""
        self._once("the deprecation", self.deprecation)
        self.deprecation = Deprecation(version, why)
        return self

    def package(self, name: str, version: str) -> OpDef:
        """The distribution that declares the operator, and its version, against which deprecation is measured."""
        self.owner = (name, version)
        return self

    def register(self) -> Operator:
        """Check the declaration, enter it into the registry and into ``torch.library``.

        Raises:
            DeclarationError: with every mistake of the declaration, or when the name is taken.
        """
        from mezzotint.ops.general import GeneralOperator
        from mezzotint.ops.operator import Operator
        from mezzotint.ops.registry import REGISTRY
        from mezzotint.ops.validate import mistakes_of

        mistakes = [*self.mistakes, *mistakes_of(self)]
        if mistakes:
            raise DeclarationError(f"operator {self.name!r} cannot be registered: {'; '.join(mistakes)}.")
        operator = Operator(self) if self.is_plain() else GeneralOperator(self)
        REGISTRY.add(operator)
        return operator

    # -- what follows from the declaration ----------------------------------------------------------------------

    def type_attrs(self) -> dict[str, Attr]:
        """The ``type`` attributes that some input names: they are found from tensors."""
        used = {argument.type for argument in self.inputs}
        return {attr.name: attr for attr in self.attrs if attr.kind == "type" and attr.name in used}

    def number_attrs(self) -> dict[str, Attr]:
        """The int attributes that give the length of some input: they are found from lists of tensors."""
        used = {argument.number for argument in self.inputs}
        return {attr.name: attr for attr in self.attrs if attr.kind == "int" and attr.name in used}

    def passed_attrs(self) -> list[Attr]:
        """The attributes that callers pass, in order."""
        inferred = self.type_attrs().keys() | self.number_attrs().keys()
        return [attr for attr in self.attrs if attr.name not in inferred]

    def is_list(self, argument: Argument) -> bool:
        """Whether an input or output is a list of tensors."""
        return argument.number is not None or any(a.is_list and a.name == argument.type for a in self.attrs)

    def is_source(self) -> bool:
        """Whether there is no input: a call then says its ``device``, or means the default one."""
        return not self.inputs

    def is_plain(self) -> bool:
        """Whether there are inputs and outputs, none of them a list of tensors."""
        lists = any(self.is_list(argument) for argument in (*self.inputs, *self.outputs))
        return bool(self.inputs and self.outputs and not lists)

    def owner_version(self) -> str:
        """The version of the package that declares the operator."""
        if self.owner != (HOME, ""):
            return self.owner[1]
        import mezzotint

        return mezzotint.__version__

    def check_call(self, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
        """Check types and attribute values of a call; raises :class:`ShapeError` naming operator and field."""
        from mezzotint.ops.check_call import check_call

        check_call(self, inputs, attrs)

    # -- parts --------------------------------------------------------------------------------------------------

    def _add(self, parse: Callable[[str], Any], spec: str, into: list[Any], text: str) -> None:
        try:
            item = parse(spec)
        except GrammarError as error:
            self.mistakes.append(str(error))
            return
        into.append(item)
        if text:
            self._document(item.name, text)

    def _document(self, name: str, text: str) -> None:
        if self.texts.get(name, text) != text:
            self.mistakes.append(f"{name!r} is documented twice; allowed: once")
        self.texts[name] = text

    def _once(self, what: str, before: object) -> None:
        if before not in (None, "", False):
            self.mistakes.append(f"{what} is given twice; allowed: once")
