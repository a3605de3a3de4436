"""How are Protocol Buffers read and written? Messages are dataclasses whose fields carry their numbers.

Only what ONNX files need: varints, 32- and 64-bit numbers, strings, bytes and nested messages, single or repeated,
packed or not. Unknown fields are skipped, as the format demands. Nothing is trusted: every length is held against what
is left, nesting is bounded, and memory stays within a constant times the file's size.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH: Final = 32
"""Of messages within messages; a graph within a graph takes three."""

_DTYPES: Final[dict[Any, np.dtype[Any]]] = {
    "int": np.dtype(np.int64),
    "uint": np.dtype(np.uint64),
    "float": np.dtype("<f4"),
    "double": np.dtype("<f8"),
}
"""Kind of a repeated number -> type of the array that it is read into."""

Message = TypeVar("Message")


class Malformed(Exception):
    """The bytes are no such message; the text says why. Never leaves this room."""


@dataclass(frozen=True, slots=True)
class Field:
    """How a field is written: its number, its kind (or the class of a message), and whether there are many."""

    number: int
    kind: str | type
    repeated: bool


def single(number: int, kind: str | type) -> Any:
    """A field that occurs once: "int" (0 when absent), "float", "string", "bytes", or None for an absent message.

    "size" is an "int" that is None when absent: 0 is a size.
    """
    absent: dict[Any, Any] = {"int": 0, "float": 0.0, "string": "", "bytes": b""}
    return field(default=absent.get(kind), metadata={"wire": Field(number, kind, False)})


def repeated(number: int, kind: str | type) -> Any:
    """A list of strings, bytes or messages; an array of "int" (int64), "uint", "float" (float32) or "double"."""
    empty = _DTYPES.get(kind) if isinstance(kind, str) else None
    wire = {"wire": Field(number, kind, True)}
    if empty is None:
        return field(default_factory=list, metadata=wire)
    return field(default_factory=lambda: np.empty(0, empty), metadata=wire)


def decode(kind: type[Message], content: memoryview, depth: int = 0) -> Message:
    """The message of class ``kind`` in ``content``.

    Raises:
        Malformed: it is none.
    """
    if depth > _DEPTH:
        raise Malformed(f"messages nested deeper than {_DEPTH}")
    known = _by_number(cast(Hashable, kind))
    found: dict[str, Any] = {}
    many: dict[str, list[Any]] = {}
    for number, wire, value in _records(content):
        if number not in known:
            continue
        name, item = known[number]
        try:
            if item.repeated:
                many.setdefault(name, []).extend(_several(item, wire, value, depth))
            else:
                found[name] = _one(item, wire, value, depth)
        except Malformed as error:
            raise Malformed(f"{kind.__name__}.{name}: {error}") from error
    for name, values in many.items():
        dtype = _DTYPES.get(_spec(cast(Hashable, kind))[name].kind)
        found[name] = values if dtype is None else np.concatenate(values).astype(dtype, copy=False)
    return kind(**found)


def encode(message: object) -> bytes:
    """The bytes of a message; fields with their default are left out."""
    parts: list[bytes] = []
    for name, item in _spec(cast(Hashable, type(message))).items():
        value = getattr(message, name)
        if item.repeated:
            if len(value) and item.kind in _DTYPES:
                parts += [_tag(item.number, _BYTES), *_sized(_packed(item.kind, value))]
            elif len(value):
                parts += [part for one in value for part in _written(item, one)]
        elif value is not None and value not in (0, "", b""):
            parts += _written(item, value)
    return b"".join(parts)


@cache
def _spec(kind: Hashable) -> dict[str, Field]:
    return {item.name: item.metadata["wire"] for item in fields(kind)}  # type: ignore[arg-type]


@cache
def _by_number(kind: Hashable) -> dict[int, tuple[str, Field]]:
    return {item.number: (name, item) for name, item in _spec(kind).items()}


def _records(content: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, int or memoryview) of each record."""
    at, end = 0, len(content)
    while at < end:
        tag, at = _varint(content, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise Malformed("a field with the number 0")
        value: Any
        if wire == _VARINT:
            value, at = _varint(content, at)
        else:
            if wire == _BYTES:
                size, at = _varint(content, at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise Malformed(f"wire type {wire}")
            if size > end - at:
                raise Malformed(f"a field of {size} bytes where {end - at} are left")
            value, at = content[at : at + size], at + size
        yield number, wire, value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(content):
            raise Malformed("it ends within a number")
        byte = content[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise Malformed("a number of more than ten bytes")


def _one(item: Field, wire: int, value: Any, depth: int) -> Any:
    if isinstance(item.kind, type):
        return decode(item.kind, _expect(wire, _BYTES, value), depth + 1)
    if item.kind in ("int", "size"):
        return _signed(_expect(wire, _VARINT, value))
    if item.kind == "float":
        return struct.unpack("<f", _expect(wire, _FIXED32, value))[0]
    content = _expect(wire, _BYTES, value)
    return content if item.kind == "bytes" else _text(content)


def _several(item: Field, wire: int, value: Any, depth: int) -> list[Any]:
    """What one record adds to a repeated field; numbers come as arrays."""
    if item.kind not in _DTYPES:
        return [_one(item, wire, value, depth)]
    dtype = _DTYPES[item.kind]
    if item.kind in ("int", "uint"):
        if wire == _VARINT:
            return [np.array([value], np.uint64).view(dtype)]
        return [_varints(_expect(wire, _BYTES, value)).view(dtype)]
    single_wire = _FIXED32 if item.kind == "float" else _FIXED64
    if wire not in (_BYTES, single_wire) or len(value) % dtype.itemsize:
        raise Malformed("numbers of another size")
    return [np.frombuffer(value, dtype)]


def _varints(content: memoryview) -> NDArray[np.uint64]:
    """All the numbers of a packed field at once."""
    octets = np.frombuffer(content, np.uint8)
    last = np.flatnonzero(octets < 0x80)
    if len(octets) and (not len(last) or last[-1] != len(octets) - 1):
        raise Malformed("it ends within a number")
    first = np.concatenate([np.zeros(1, np.int64), last[:-1] + 1]) if len(last) else last
    lengths = last - first + 1
    if len(lengths) and lengths.max() > 10:
        raise Malformed("a number of more than ten bytes")
    result = np.zeros(len(last), np.uint64)
    for place in range(int(lengths.max(initial=0))):
        there = lengths > place
        digits = (octets[first[there] + place] & 0x7F).astype(np.uint64)
        result[there] |= digits << np.uint64(7 * place)
    return result


def _expect(wire: int, wanted: int, value: Any) -> Any:
    if wire != wanted:
        raise Malformed(f"wire type {wire} where {wanted} belongs")
    return value


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _text(content: memoryview) -> str:
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("text that is not UTF-8") from error


def _tag(number: int, wire: int) -> bytes:
    return _number(number << 3 | wire)


def _number(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _sized(content: bytes) -> tuple[bytes, bytes]:
    return _number(len(content)), content


def _packed(kind: Any, values: Iterable[Any]) -> bytes:
    if kind in ("int", "uint"):
        return b"".join(_number(int(value)) for value in values)
    return np.asarray(values, _DTYPES[kind]).tobytes()


def _written(item: Field, value: Any) -> list[bytes]:
    if item.kind in ("int", "size"):
        return [_tag(item.number, _VARINT), _number(value)]
    if item.kind == "float":
        return [_tag(item.number, _FIXED32), struct.pack("<f", value)]
    text_or_bytes = value.encode() if item.kind == "string" else value
    content = bytes(text_or_bytes) if item.kind in ("string", "bytes") else encode(value)
    return [_tag(item.number, _BYTES), *_sized(content)]
