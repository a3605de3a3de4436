"""How is a file of a run folder read while the run may still be writing it? What cannot be read becomes a note."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: A longer sample picture is not embedded; the page would become heavy.
_LARGEST_PICTURE = 2_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
#: Numbers beyond these count as infinite and as zero: sums and quotients of all others stay finite.
_LARGEST, _SMALLEST = 1e100, 1e-100

Object = dict[str, Any]


class Reader:
    """Reads the files of one run folder and collects what was wrong with them in ``notes``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def text(self, name: str) -> str | None:
        """The text of a file (UTF-8, damaged bytes replaced), or None where it is absent."""
        path = self.folder / name
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            self.notes.append(f"{name} cannot be read: {error.strerror or error}.")
            return None

    def json(self, name: str) -> Any:
        """The value in a JSON file, or None where it is absent or damaged."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self.notes.append(f"{name} is not valid JSON; it was left out.")
            return None

    def lines(self, name: str) -> Iterator[Object]:
        """The objects of a JSON-lines file. A half-written last line is noted as such, other bad lines are counted."""
        rows = (self.text(name) or "").split("\n")
        tail, bad = rows.pop(), 0
        for row in rows:
            value = parsed(row)
            bad += value is None and bool(row.strip())
            if value is not None:
                yield value
        ended = parsed(tail)
        if ended is not None:
            yield ended
        elif tail.strip():
            self.notes.append(
                f"{name}: the last line is incomplete (the run may still be writing it) and was left out."
            )
        if bad:
            self.notes.append(f"{name}: {bad} unreadable line{'s' if bad > 1 else ''} left out.")

    def picture(self, name: str) -> tuple[str, int, int] | None:
        """A PNG inside the folder as ``(base64, width, height)``; None with a note where that cannot be done."""
        path = self.folder / name
        # A record must not make the report embed files from elsewhere on the machine.
        if "\0" in name or not path.resolve().is_relative_to(self.folder.resolve()):
            self.notes.append(f"{name} lies outside the run folder and was left out.")
            return None
        try:
            data = path.read_bytes() if path.stat().st_size <= _LARGEST_PICTURE else b""
        except OSError as error:
            self.notes.append(f"{name} cannot be read: {error.strerror or error}.")
            return None
        if not data.startswith(_PNG) or len(data) < 24:
            self.notes.append(f"{name} is not a PNG of less than {_LARGEST_PICTURE // 1_000_000} MB and was left out.")
            return None
        width, height = struct.unpack(">II", data[16:24])
        return base64.b64encode(data).decode("ascii"), width, height


def number(value: object) -> float | None:
    """``value`` as a float where it is a JSON number (NaN and infinity included), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > _LARGEST:
        return math.inf if value > 0 else -math.inf
    # Not `>`: NaN stays what it is.
    return 0.0 if abs(value) < _SMALLEST else float(value)


def finite(value: object) -> float | None:
    """``value`` as a float where it is a finite JSON number, else None."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def whole(value: object) -> int | None:
    """``value`` as an int where it is a finite JSON number, else None."""
    found = finite(value)
    return None if found is None else int(found)


def words(value: object) -> str:
    """``value`` as text; None becomes the empty string."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mapping(value: object) -> Object:
    """``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """``value`` where it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []


def parsed(row: str) -> Object | None:
    """The JSON object in a line, or None where it holds something else."""
    try:
        value = json.loads(row)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
