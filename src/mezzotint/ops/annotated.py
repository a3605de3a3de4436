"""How is an operator declared as a class? Its annotated attributes are inputs, outputs and attributes, in their order.

::

    @declare
    class SoftThreshold:
        \"\"\"Moves every number towards zero by a threshold, and to zero what is nearer.\"\"\"

        x: Input = Input("T", "any tensor")
        y: Output = Output("T")
        T: Attr = Attr("floattype")
        threshold: Attr = Attr("float = 0.5", "at least 0")
        since = "0.1"

        @staticmethod
        def shape_rule(inputs, attrs):
            return inputs["x"]

It is the same :class:`OpDef` that chaining gives, to equality; the name is the class's own in lower case with
underscores, unless ``name = "acme::soft_threshold"`` says another. Attributes of base classes come first. Type checkers
do not follow a decorator that replaces a class: typed code says ``soft_threshold = declare(SoftThreshold)``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mezzotint.errors import suggest
from mezzotint.ops.opdef import OpDef

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator


@dataclass(frozen=True)
class _Member:
    spec: str
    text: str = ""


class Input(_Member):
    """An input of the operator that a class declares: its type as the grammar writes it, and its documentation."""


class Output(_Member):
    """An output of the operator that a class declares: its type as the grammar writes it, and its documentation."""


class Attr(_Member):
    """An attribute of the operator that a class declares: kind, minimum and default, and its documentation."""


_ADD: Final[dict[type, Callable[[OpDef, str, str], OpDef]]] = {
    Input: OpDef.input,
    Output: OpDef.output,
    Attr: OpDef.attr,
}
#: Further names that a class may set; each is handed to the method of :class:`OpDef` of that name.
_RULES: Final = ("shape_rule", "gradient")
_FLAGS: Final = (
    "commutative",
    "aggregate",
    "stateful",
    "not_differentiable",
    "autocast",
    "density",
    "since",
    "version",
    "deprecated",
    "package",
)


def declare(cls: type) -> Operator:
    """Class decorator: declare and register an operator; the name is then the :class:`Operator`.

    Raises:
        DeclarationError: with every mistake of the declaration, or when the name is taken.
    """
    return definition_of(cls).register()


def definition_of(cls: type) -> OpDef:
    """The declaration that the class ``cls`` makes, not registered yet."""
    op = OpDef(cls.__dict__.get("name", _snake_case(cls.__name__)))
    for name, value in _members(cls):
        if isinstance(value, _Member):
            _ADD[type(value)](op, f"{name}: {value.spec}", value.text)
        elif name in _RULES:
            getattr(op, name)(value.__func__ if isinstance(value, staticmethod) else value)
        elif name in _FLAGS:
            _raise_flag(op, name, value)
        elif name != "name":
            known = [*_RULES, *_FLAGS, "name"]
            op.mistakes.append(
                f"the class sets {name!r} to a {type(value).__name__}; allowed: an Input, Output or Attr, "
                f"or one of {', '.join(known)}{suggest(name, known)}"
            )
    op.mistakes += _annotation_mistakes(cls)
    summary = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return op.doc(summary) if summary else op


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """Names and values that the class and its bases set, bases first; a name set again keeps its place."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        found.update({name: value for name, value in base.__dict__.items() if not name.startswith("_")})
    yield from found.items()


def _raise_flag(op: OpDef, name: str, value: Any) -> None:
    """``commutative = True``, ``commutative = ("x", "y")``, ``since = "0.1"``, ``deprecated = ("0.4", "why")``."""
    if value is False:
        return
    arguments = () if value is True else value if isinstance(value, tuple) else (value,)
    method = getattr(op, name)
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        op.mistakes.append(f"the class sets {name} = {value!r}, which .{name}(...) does not take: {error}")
        return
    method(*arguments)


def _annotation_mistakes(cls: type) -> Iterator[str]:
    for name, annotation in inspect.get_annotations(cls).items():
        shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        kind = shown.rsplit(".", 1)[-1]
        value = cls.__dict__.get(name)
        if kind in ("Input", "Output", "Attr") and type(value).__name__ != kind:
            received = "nothing" if value is None else f"an {type(value).__name__}"
            yield f"{name!r} is annotated as {kind} and has {received}; write {name}: {kind} = {kind}('T')"


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
