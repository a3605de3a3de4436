"""How does a field of small numbers become a picture? As an indexed PNG, in which a cell takes less than a byte."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

Colour = tuple[int, int, int, int]


def png(width: int, pixels: bytes, palette: Sequence[Colour]) -> str:
    """A PNG in base64.

    Args:
        width: pixels of a row.
        pixels: a byte each, row by row: places in ``palette``.
        palette: up to 256 colours (red, green, blue, opacity), each 0..255.
    """
    height = len(pixels) // width
    depth = 4 if len(palette) <= 16 else 8
    rows = (pixels[start : start + width] for start in range(0, len(pixels), width))
    data = b"".join(b"\0" + (_halved(row) if depth == 4 else row) for row in rows)
    parts = (
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, 0)),
        _chunk(b"PLTE", b"".join(bytes(colour[:3]) for colour in palette)),
        _chunk(b"tRNS", bytes(colour[3] for colour in palette)),
        _chunk(b"IDAT", zlib.compress(data, 9)),
        _chunk(b"IEND", b""),
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode("ascii")


def faded(colour: tuple[int, int, int], steps: int, least: float = 0.15) -> list[Colour]:
    """Nothing, then ``steps`` opacities of a colour from ``least`` to all of it."""
    red, green, blue = colour
    rise = (1.0 - least) / max(steps - 1, 1)
    return [(red, green, blue, 0), *((red, green, blue, round(255 * (least + index * rise))) for index in range(steps))]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _halved(row: bytes) -> bytes:
    """Two pixels a byte."""
    even = row + b"\0" * (len(row) % 2)
    return bytes(first << 4 | second for first, second in zip(even[::2], even[1::2], strict=True))
