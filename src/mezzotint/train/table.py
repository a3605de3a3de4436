"""How does a TOML table become a dataclass, and back? By the field's type annotations; nothing is guessed.

Supported annotations: bool, int, float (takes whole numbers too), str, ``tuple[X, ...]``, ``tuple[X, Y]``,
``dict[str, Any]``, other dataclasses, and unions of these; ``None`` in a union marks a key that may be left out.
"""

from __future__ import annotations

import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final, TypeVar

from mezzotint.errors import ConfigError, message, suggest

T = TypeVar("T")
_LARGEST: Final = 2**1000  # a larger whole number does not fit a float
_NAMES: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


class _Mismatch(Exception):
    """The value is not of the wanted type."""


def from_table(cls: type[T], table: Mapping[str, Any]) -> T:
    """Make ``cls`` from a TOML table.

    Args:
        cls: a keyword-only dataclass.
        table: keys and values as ``tomllib`` gives them.

    Raises:
        ConfigError: a key is unknown (with a suggestion) or missing, or a value has the wrong type or is out of range.
    """
    return _Reader(cls).read(cls, table, "")


def to_table(config: Any) -> dict[str, Any]:
    """The dataclass as a table of plain values; fields that are None are left out."""
    plain = {item.name: _plain(getattr(config, item.name)) for item in fields(config)}
    return {key: value for key, value in plain.items() if value is not None}


def all_keys(cls: type, place: str = "") -> list[str]:
    """Dotted names of all keys, nested sections included."""
    found = []
    for key, hint in _hints(cls).items():
        found += all_keys(hint, _dotted(place, key)) if _is_section(hint) else [_dotted(place, key)]
    return found


def _hints(cls: type) -> dict[str, Any]:
    """Field name -> type."""
    annotated = typing.get_type_hints(cls)
    return {item.name: annotated[item.name] for item in fields(cls)}


class _Reader:
    """Reads a table and the sections in it; knows the whole, so that a key in the wrong place can be put right."""

    def __init__(self, root: type) -> None:
        self._root = root

    def read(self, cls: type[T], table: Mapping[str, Any], place: str) -> T:
        """``cls`` from the table at the dotted ``place``."""
        hints = _hints(cls)
        for key in table:
            if key not in hints:
                raise ConfigError(self._unknown(list(hints), key, place))
        for item in fields(cls):  # type: ignore[arg-type]
            if item.name not in table and _required(item):
                raise ConfigError(_missing(hints[item.name], _dotted(place, item.name)))
        return cls(**{key: self._value(hints[key], value, _dotted(place, key)) for key, value in table.items()})

    def _value(self, hint: Any, value: Any, place: str) -> Any:
        if _is_section(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(message(place, received=value, allowed=f"a section: [{place}] and its keys below it"))
            return self.read(hint, value, place)
        try:
            return _convert(hint, value)
        except _Mismatch:
            raise ConfigError(message(place, received=_described(value), allowed=_spoken(hint))) from None

    def _unknown(self, known: list[str], key: str, place: str) -> str:
        # A key in the wrong section is the commonest slip: say where it belongs.
        elsewhere = [name for name in all_keys(self._root) if name.rpartition(".")[2] == key]
        if key in elsewhere:
            fix = f"{key!r} belongs at the top level, above all sections."
        else:
            fix = f"Did you mean {elsewhere[0]!r}?" if elsewhere else suggest(key, known).strip()
        where = f"section [{place}]" if place else "the top level"
        return message(f"unknown key {key!r}", received=f"it in {where}", allowed=", ".join(known), fix=fix)


def _required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _missing(hint: Any, place: str) -> str:
    if _is_section(hint):
        return message(f"section [{place}]", received="nothing", allowed=f"a section with {', '.join(_hints(hint))}")
    return message(place, received="nothing", allowed=_spoken(hint))


def _is_section(hint: Any) -> bool:
    return is_dataclass(hint) and isinstance(hint, type)


def _dotted(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {str: "the text ", list: "the list ", dict: "the table "}
    kind = next((said for known, said in kinds.items() if isinstance(value, known)), "")
    return kind + textwrap.shorten(repr(value), 60)


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_fitting(arguments, value)
    if origin is tuple:
        return _convert_list(arguments, value)
    if origin is dict:
        return dict(value) if isinstance(value, dict) else _refuse()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) <= _LARGEST else _refuse()
    return value if type(value) is hint else _refuse()


def _first_fitting(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return _convert(hint, value)
        except _Mismatch:
            continue
    return _refuse()


def _convert_list(arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        _refuse()
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item) for item in value)
    if len(value) != len(arguments):
        _refuse()
    return tuple(_convert(hint, item) for hint, item in zip(arguments, value, strict=True))


def _refuse() -> typing.NoReturn:
    raise _Mismatch


def _spoken(hint: Any) -> str:
    """The type in the words of a TOML user."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_spoken(part) for part in arguments if part is not types.NoneType)
    if origin is tuple:
        count = "" if arguments[1] is Ellipsis else f" of {len(arguments)}"
        return f"a list{count}, each {_spoken(arguments[0])}"
    return "a table" if origin is dict else _NAMES[hint]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, dict) else value
