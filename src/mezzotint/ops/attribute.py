"""What is an argument, what is an attribute, and which values may an attribute have?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch

from mezzotint.kernels.geometry import surely
from mezzotint.ops.dtypes import DTYPES, UNIONS, dtype_name

SCALARS: Final = ("string", "int", "float", "bool", "type", "shape")
NO_DEFAULT: Final[Any] = object()
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An input or output: ``name``, its type (a dtype's name or a type attribute), and whether it may be absent.

    ``number`` names the int attribute that gives the length of a list of tensors of one type (``"xs: N * T"``). A
    list of tensors of several types names a ``list(type)`` attribute as its type (``"xs: Ts"``).
    """

    name: str
    type: str
    optional: bool = False
    number: str | None = None

    def __str__(self) -> str:
        """The argument as the grammar writes it."""
        number = f"{self.number} * " if self.number else ""
        return f"{self.name}: {number}{self.type}{'?' if self.optional else ''}"


@dataclass(frozen=True, kw_only=True)
class Attr:
    """An attribute: kind, allowed values, minima, default. The one object that checks calls, prints and exports.

    Attributes:
        name: as callers pass it.
        kind: one of :data:`SCALARS`, the kind of the value or, for a list, of each item.
        is_list: whether the value is a list.
        allowed: names of the allowed types, or the allowed strings; empty when all are.
        minimum: least value of an int, or of each item of a list of int.
        min_length, max_length: bounds of a list's length.
        default: what a call has that leaves the attribute out.
    """

    name: str
    kind: str
    is_list: bool = False
    allowed: tuple[str, ...] = ()
    minimum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    default: Any = NO_DEFAULT

    @property
    def has_default(self) -> bool:
        """Whether a caller may leave the attribute out."""
        return self.default is not NO_DEFAULT

    def problem_with(self, value: Any) -> str | None:
        """What is wrong with ``value`` for this attribute, as "must ..."; ``None`` when it is fine."""
        if not self.is_list:
            return self._problem_with_item(value)
        if not isinstance(value, (list, tuple, torch.Size)):
            return f"must be a list of {self.kind}"
        for position, item in enumerate(value):
            wrong = self._problem_with_item(item)
            if wrong:
                return f"item {position} {wrong}"
        return self._problem_with_length(len(value))

    def _problem_with_item(self, value: Any) -> str | None:
        wrong = _wrong_kind(self.kind, value)
        if wrong:
            return wrong
        if self.allowed and dtype_name(value) not in self.allowed:
            return f"must be one of {', '.join(self.allowed)}"
        if self.minimum is not None and surely(value < self.minimum):
            return f"must be at least {self.minimum}"
        return None

    def _problem_with_length(self, length: int) -> str | None:
        least, most = self.min_length, self.max_length
        if (least is None or length >= least) and (most is None or length <= most):
            return None
        exactly = "exactly" if least == most else "at least"
        return f"must have {exactly} {least} item{'s' * (least != 1)}, not {length}"

    @property
    def kind_text(self) -> str:
        """The kind with its minima, as the grammar writes it: ``list(int >= 1, length = 2)``."""
        inner = self._item_text()
        if self.minimum is not None:
            inner += f" >= {self.minimum}"
        if not self.is_list:
            return inner
        if self.min_length is not None:
            inner += f", length {'=' if self.min_length == self.max_length else '>='} {self.min_length}"
        return f"list({inner})"

    @property
    def default_text(self) -> str:
        """The default as the grammar writes it."""
        return value_text(self.default, self.kind)

    def __str__(self) -> str:
        """The attribute as the grammar writes it; reading that again gives an equal attribute."""
        return f"{self.name}: {self.kind_text}{f' = {self.default_text}' if self.has_default else ''}"

    def _item_text(self) -> str:
        if not self.allowed:
            return self.kind
        if self.kind == "string":
            return f"{{{', '.join(map(repr, self.allowed))}}}"
        union = next((name for name, members in UNIONS.items() if members == self.allowed), None)
        return union or f"{{{', '.join(self.allowed)}}}"


def value_text(value: Any, kind: str) -> str:
    """A value of ``kind`` as the grammar writes defaults: types by name, strings quoted."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(value_text(item, kind) for item in value)}]"
    return dtype_name(value) if kind == "type" else repr(value)


def _wrong_kind(kind: str, value: Any) -> str | None:
    """ "must be ..." when ``value`` is not of the scalar ``kind``."""
    if kind == "shape":
        fits = isinstance(value, (list, tuple, torch.Size)) and all(
            _is_int(item) and not surely(item < 0) for item in value
        )
        return None if fits else "must be a shape, a list of int that are not negative"
    fits = {
        "string": lambda: isinstance(value, str),
        "int": lambda: _is_int(value),
        "float": lambda: isinstance(value, (float, torch.SymFloat)) or _is_int(value),
        "bool": lambda: isinstance(value, bool),
        "type": lambda: isinstance(value, torch.dtype),
    }[kind]()
    if not fits:
        return f"must be of kind {kind}"
    if kind == "int" and isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        return "must fit in 64 bits, -2^63 to 2^63 - 1"
    if kind == "float" and isinstance(value, int) and not _is_finite(value):
        return "must fit in a 64-bit float"
    if kind == "type" and dtype_name(value) not in DTYPES:
        return f"must be one of {', '.join(DTYPES)}"
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)


def _is_finite(value: int) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
