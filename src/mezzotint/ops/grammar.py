"""How is an operator's argument or attribute written down? The small grammar of declarations.

::

    argument   = name ":" [ number "*" ] type [ "?" ]            "x: T"   "xs: N * T"   "xs: Ts"   "bias: float32?"
    attribute  = name ":" kind [ ">=" integer ] [ "=" default ]
    kind       = scalar | choice | "list(" item [ "," "length" ( ">=" | "=" ) integer ] ")"
    item       = ( scalar | choice ) [ ">=" integer ]
    scalar     = "string" | "int" | "float" | "bool" | "type" | "shape"
    choice     = "{" name "," ... "}"          (a type among these; a trailing comma is legal)
               | "{" "'word'" "," ... "}"      (a string among these)
               | "numbertype" | "realnumbertype" | "floattype" | "integertype"    (named unions of types)
    default    = a Python literal; types by name; true, false; inf, nan

``name`` is a lower-case identifier for arguments; attributes may also be upper-case (``T``). The grammar follows
TensorFlow's ``OpDef`` language with three differences: ``?`` (an optional argument) is added; references (``Ref(T)``)
are not, because operators are pure; and a list says by words which minimum is meant, because TensorFlow's
``list(int) >= 2`` bounds the *length*. Here ``list(int >= 1)`` bounds each item and ``list(int, length >= 2)`` the
length; ``list(int) >= 1`` is short for the first (decision 0024).
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from typing import Any

from mezzotint.ops.attribute import INT64_MAX, INT64_MIN, NO_DEFAULT, SCALARS, Argument, Attr
from mezzotint.ops.dtypes import DTYPES, UNIONS

_ARGUMENT = re.compile(
    r"^\s*([a-z][a-z0-9_]*)\s*:\s*(?:([A-Za-z][A-Za-z0-9_]*)\s*\*\s*)?([A-Za-z][A-Za-z0-9_]*)\s*(\?)?\s*$"
)
_NAMED = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_]*)\s*:\s*(?=\S)")
_WORD = re.compile(r"([a-z][a-z0-9]*)\s*")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_CHOICE = re.compile(rf"""\{{((?:[^{{}}'"]|{_QUOTED})*)\}}\s*""")
_ITEM = re.compile(rf"""((?:[^,'"]|{_QUOTED})*)(?:,|$)""")
_MINIMUM = re.compile(r">=\s*(-?\d+)\s*")
_LENGTH = re.compile(r",\s*length\s*(>=|=)\s*(-?\d+)\s*")
_DEFAULT = re.compile(r"=\s*(\S.*?)\s*$", re.DOTALL)
_KINDS = ", ".join((*SCALARS, "list(...)", "{...}", *UNIONS))
_NAMED_VALUES: dict[str, dict[str, Any]] = {
    "bool": {"true": True, "false": False},
    "float": {"inf": math.inf, "nan": math.nan},
    "type": dict(DTYPES),
}


class GrammarError(ValueError):
    """A declaration that cannot be read; the message says which part."""


def parse_argument(text: str) -> Argument:
    """Read ``"x: T"``, ``"bias: float32?"`` or ``"xs: N * T"``."""
    match = _ARGUMENT.match(text)
    if not match:
        pure = " Operators are pure: a reference is not offered." if re.search(r":\s*Ref\b", text) else ""
        raise GrammarError(
            f"trouble reading the argument {text!r}: write it as 'name: type', 'name: type?' or 'name: number * type', "
            f"the name in lower case.{pure}"
        )
    name, number, type_, optional = match.groups()
    return Argument(name=name, type=type_, optional=bool(optional), number=number)


def parse_attribute(text: str) -> Attr:
    """Read ``"stride: list(int >= 1) = [1, 1]"`` and its kin."""
    named = _NAMED.match(text)
    if not named:
        raise _trouble(text)
    name, rest = named.group(1), text[named.end() :]
    attr, rest = _kind(text, name, rest)
    minimum = _MINIMUM.match(rest)
    if minimum:
        attr, rest = _with_minimum(attr, minimum.group(1)), rest[minimum.end() :]
    if not rest:
        return attr
    default = _DEFAULT.match(rest)
    if not default:
        raise _trouble(text, f"; {rest!r} is left over")
    return _with_default(attr, default.group(1))


def _kind(text: str, name: str, rest: str) -> tuple[Attr, str]:
    """The attribute without minimum and default, and what follows its kind."""
    if re.match(r"list\s*\(", rest):
        return _list(text, name, rest[rest.index("(") + 1 :].lstrip())
    choice = _CHOICE.match(rest)
    if choice:
        kind, allowed = _choices(text, choice.group(1))
        return Attr(name=name, kind=kind, allowed=allowed), rest[choice.end() :]
    word = _WORD.match(rest)
    if not word:
        raise _trouble(text)
    kind = word.group(1)
    if kind in UNIONS:
        return Attr(name=name, kind="type", allowed=UNIONS[kind]), rest[word.end() :]
    if kind not in SCALARS:
        instead = " A tensor is an input, not an attribute." if kind == "tensor" else ""
        raise GrammarError(f"{text!r}: unknown kind {kind!r}; known: {_KINDS}.{instead}")
    return Attr(name=name, kind=kind), rest[word.end() :]


def _list(text: str, name: str, rest: str) -> tuple[Attr, str]:
    """``int >= 1, length = 2)`` and what follows it."""
    word = _WORD.match(rest)
    if word and word.group(1) not in SCALARS and word.group(1) not in UNIONS:
        holds = ", ".join((*SCALARS, "{...}", *UNIONS))
        raise GrammarError(f"{text!r}: a list holds one of {holds}, not {word.group(1)!r}")
    attr, rest = _kind(text, name, rest)
    minimum = _MINIMUM.match(rest)
    if minimum:
        attr, rest = _with_minimum(attr, minimum.group(1)), rest[minimum.end() :]
    length = _LENGTH.match(rest)
    least = most = None
    if length:
        least, rest = int(length.group(2)), rest[length.end() :]
        most = least if length.group(1) == "=" else None
        if least < 0:
            raise GrammarError(f"attribute {name!r}: a length is at least 0, not {least}")
    if not rest.startswith(")"):
        raise _trouble(text, "; the list is not closed" if not rest else f"; {rest!r} does not end the list")
    return replace(attr, is_list=True, min_length=least, max_length=most), rest[1:].lstrip()


def _choices(text: str, inner: str) -> tuple[str, tuple[str, ...]]:
    """(kind, allowed values) of what stands between braces."""
    items = [item.strip() for item in _ITEM.findall(inner)]
    if len(items) > 1 and items[-1] == "":
        items.pop()  # a trailing comma is legal
    if not all(items):
        raise GrammarError(f"{text!r}: an allowed value is missing between the commas")
    if len(set(items)) != len(items):
        raise GrammarError(f"{text!r}: an allowed value is named twice")
    quoted = [re.fullmatch(_QUOTED, item) is not None for item in items]
    if all(quoted):
        return "string", tuple(map(ast.literal_eval, items))
    if any(quoted):
        raise GrammarError(f"{text!r}: allowed values are either all quoted strings or all types")
    unknown = [item for item in items if item not in DTYPES]
    if unknown:
        raise GrammarError(f"{text!r}: unknown type {unknown[0]!r}; known: {', '.join(DTYPES)}")
    return "type", tuple(items)


def _with_minimum(attr: Attr, text: str) -> Attr:
    if attr.kind != "int":
        length = f"; for the length write list({attr.kind}, length >= {text})" if attr.is_list else ""
        raise GrammarError(
            f"attribute {attr.name!r}: a minimum needs an int or a list(int), not {attr.kind_text!r}{length}"
        )
    if attr.minimum is not None:
        raise GrammarError(f"attribute {attr.name!r}: the minimum of the items is given twice")
    minimum = int(text)
    if not INT64_MIN <= minimum <= INT64_MAX:
        raise GrammarError(f"attribute {attr.name!r}: the minimum {text} must fit in 64 bits, -2^63 to 2^63 - 1")
    return replace(attr, minimum=minimum)


def _with_default(attr: Attr, text: str) -> Attr:
    try:
        value = _literal(ast.parse(text, mode="eval").body, _NAMED_VALUES.get(attr.kind, {}))
    except (ValueError, SyntaxError) as error:
        if attr.kind == "type":
            raise GrammarError(
                f"attribute {attr.name!r}: default {text!r} is no type; known: {', '.join(DTYPES)}"
            ) from error
        raise GrammarError(
            f"attribute {attr.name!r}: cannot read the default {text!r}; allowed: a value of {attr.kind_text}"
        ) from error
    wrong = attr.problem_with(value)
    if wrong:
        raise GrammarError(f"attribute {attr.name!r}: the default {text} {wrong}")
    return replace(attr, default=value)


def _literal(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of a literal in which ``names`` stand for values; :class:`ValueError` for anything else."""
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item, names) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _literal(node.operand, names)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return -number
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError("no literal")


def _trouble(text: str, more: str = "") -> GrammarError:
    return GrammarError(
        f"trouble reading the attribute {text!r}: write it as 'name: kind', 'name: kind >= minimum' "
        f"or 'name: kind = default'{more}"
    )


__all__ = [
    "DTYPES",
    "NO_DEFAULT",
    "UNIONS",
    "Argument",
    "Attr",
    "GrammarError",
    "parse_argument",
    "parse_attribute",
]
