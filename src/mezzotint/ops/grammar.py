"""How is an operator's argument or attribute written down? The small grammar of declarations.

::

    argument   = name ":" [ number "*" ] type [ "?" ]            "x: T"   "xs: N * T"   "bias: float32?"
    attribute  = name ":" kind [ ">=" integer ] [ "=" default ]
    kind       = "string" | "int" | "float" | "bool" | "type" | "shape" | "list(" kind ")"
               | "{" name "," ... "}"          (a type among these)
               | "{" "'word'" "," ... "}"      (a string among these)
               | "numbertype" | "floattype"    (named unions of types)

``name`` is a lower-case identifier for arguments; attributes may also be upper-case (``T``). The grammar follows
TensorFlow's ``OpDef`` language; ``?`` (an optional argument) is added.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.kernels.geometry import surely

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "bool",
    )
}
UNIONS: dict[str, tuple[str, ...]] = {
    "floattype": ("float32", "float64", "float16", "bfloat16"),
    "numbertype": ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8"),
}
_SCALARS = ("string", "int", "float", "bool", "type", "shape")
_ARGUMENT = re.compile(
    r"^\s*([a-z][a-z0-9_]*)\s*:\s*(?:([A-Za-z][A-Za-z0-9_]*)\s*\*\s*)?([A-Za-z][A-Za-z0-9_]*)\s*(\?)?\s*$"
)
_ATTRIBUTE = re.compile(
    r"^\s*([A-Za-z][A-Za-z0-9_]*)\s*:\s*(list\s*\(.*?\)|\{.*?\}|[a-z]+)\s*(?:>=\s*(-?\d+))?\s*(?:=\s*(.+?))?\s*$",
    re.DOTALL,
)
_NO_DEFAULT: Any = object()


class GrammarError(ValueError):
    """A declaration that cannot be read; the message says which part."""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An input or output: ``name``, its type (a dtype name or a type attribute), and whether it may be absent.

    ``number`` names the int attribute that gives the length of a list of tensors (``"xs: N * T"``).
    """

    name: str
    type: str
    optional: bool = False
    number: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attr:
    """An attribute: kind, allowed values, minimum, default and documentation."""

    name: str
    kind: str
    is_list: bool = False
    allowed: tuple[str, ...] = ()
    minimum: int | None = None
    default: Any = _NO_DEFAULT
    text: str = ""

    @property
    def has_default(self) -> bool:
        """Whether a caller may leave the attribute out."""
        return self.default is not _NO_DEFAULT

    def problem_with(self, value: Any) -> str | None:
        """What is wrong with ``value`` for this attribute, as "must ..."; ``None`` when it is fine."""
        if self.is_list:
            return self._problem_with_list(value)
        wrong = _wrong_kind(self.kind, value)
        if wrong:
            return wrong
        if self.allowed and self._spelled(value) not in self.allowed:
            return f"must be one of {', '.join(self.allowed)}"
        if self.minimum is not None and not self.is_list and value < self.minimum:
            return f"must be at least {self.minimum}"
        return None

    def _problem_with_list(self, value: Any) -> str | None:
        if not isinstance(value, (list, tuple, torch.Size)):
            return f"must be a list of {self.kind}"
        for position, item in enumerate(value):
            wrong = _wrong_kind(self.kind, item)
            if wrong:
                return f"item {position} {wrong}"
            if self.minimum is not None and surely(item < self.minimum):
                return f"item {position} must be at least {self.minimum}"
        return None

    def _spelled(self, value: Any) -> str:
        return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else str(value)


def parse_argument(text: str) -> Argument:
    """Read ``"x: T"``, ``"bias: float32?"`` or ``"xs: N * T"``."""
    match = _ARGUMENT.match(text)
    if not match:
        raise GrammarError(f"trouble reading the argument {text!r}: write it as 'name: type', the name in lower case")
    name, number, type_, optional = match.groups()
    return Argument(name=name, type=type_, optional=bool(optional), number=number)


def parse_attribute(text: str) -> Attr:
    """Read ``"stride: list(int) >= 1 = [1, 1]"`` and its kin."""
    match = _ATTRIBUTE.match(text)
    if not match:
        raise GrammarError(
            f"trouble reading the attribute {text!r}: write it as 'name: kind', 'name: kind >= minimum' "
            "or 'name: kind = default'"
        )
    name, kind_text, minimum, default_text = match.groups()
    kind, is_list, allowed = _parse_kind(text, kind_text)
    if minimum is not None and kind != "int":
        raise GrammarError(f"attribute {name!r}: a minimum needs an int or a list(int), not {kind_text!r}")
    attr = Attr(
        name=name,
        kind=kind,
        is_list=is_list,
        allowed=allowed,
        minimum=None if minimum is None else int(minimum),
    )
    if default_text is None:
        return attr
    return _with_default(attr, default_text)


def _parse_kind(text: str, kind: str) -> tuple[str, bool, tuple[str, ...]]:
    """(scalar kind, is a list, allowed values) of the middle part of an attribute."""
    if kind.startswith("list"):
        inner = kind[kind.index("(") + 1 : -1].strip()
        if inner not in _SCALARS:
            raise GrammarError(f"{text!r}: a list holds one of {', '.join(_SCALARS)}, not {inner!r}")
        return inner, True, ()
    if kind in UNIONS:
        return "type", False, UNIONS[kind]
    if kind.startswith("{"):
        return _parse_union(text, kind)
    if kind not in _SCALARS:
        raise GrammarError(f"{text!r}: unknown kind {kind!r}; known: {', '.join((*_SCALARS, 'list(...)', *UNIONS))}")
    return kind, False, ()


def _parse_union(text: str, kind: str) -> tuple[str, bool, tuple[str, ...]]:
    items = [item.strip() for item in kind[1:-1].split(",")]
    if len(items) > 1 and items[-1] == "":
        items.pop()  # a trailing comma is legal
    if not all(items):
        raise GrammarError(f"{text!r}: an allowed value is missing between the commas")
    quoted = [item[0] == item[-1] and item[0] in "'\"" and len(item) > 1 for item in items]
    if all(quoted):
        return "string", False, tuple(item[1:-1] for item in items)
    if any(quoted):
        raise GrammarError(f"{text!r}: allowed values are either all quoted strings or all types")
    unknown = [item for item in items if item not in DTYPES]
    if unknown:
        raise GrammarError(f"{text!r}: unknown type {unknown[0]!r}; known: {', '.join(DTYPES)}")
    return "type", False, tuple(items)


def _with_default(attr: Attr, text: str) -> Attr:
    if attr.kind == "type" and not attr.is_list:
        if text not in DTYPES:
            raise GrammarError(f"attribute {attr.name!r}: default {text!r} is no type; known: {', '.join(DTYPES)}")
        value: Any = DTYPES[text]
    else:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise GrammarError(f"attribute {attr.name!r}: cannot read the default {text!r}") from error
    wrong = attr.problem_with(value)
    if wrong:
        raise GrammarError(f"attribute {attr.name!r}: the default {text} {wrong}")
    return Attr(
        name=attr.name,
        kind=attr.kind,
        is_list=attr.is_list,
        allowed=attr.allowed,
        minimum=attr.minimum,
        default=value,
    )


def _wrong_kind(kind: str, value: Any) -> str | None:
    """ "must be ..." when ``value`` is not of the scalar ``kind``."""
    if kind == "shape":
        fits = isinstance(value, (list, tuple, torch.Size)) and all(_is_int(item) for item in value)
        return None if fits else "must be a shape, a list of int"
    fits = {
        "string": lambda: isinstance(value, str),
        "int": lambda: _is_int(value),
        "float": lambda: isinstance(value, float) or _is_int(value),
        "bool": lambda: isinstance(value, bool),
        "type": lambda: isinstance(value, torch.dtype),
    }[kind]()
    return None if fits else f"must be of kind {kind}"


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)
