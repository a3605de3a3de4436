"""Which values may the settings of a protocol have? Checks that name the setting, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from mezzotint.data.augment.base import is_integer, is_number, require

_MOST_PIXELS = 4096


def one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    """Refuse what is not among ``allowed``.

    Raises:
        ConfigError: it is not.
    """
    words = ["none" if word is None else str(word) for word in allowed]
    require(("none" if value is None else value) in words, name, value, ", ".join(words))


def pixels(name: str, value: int, *, most: int = _MOST_PIXELS) -> int:
    """A side in pixels, 1 to ``most``.

    Raises:
        ConfigError: it is none.
    """
    require(is_integer(value, 1) and value <= most, name, value, f"a whole number of pixels, 1 to {most}")
    return value


def share(name: str, value: float) -> float:
    """A part of a whole, above 0 and at most 1.

    Raises:
        ConfigError: it is none.
    """
    require(is_number(value, 0, 1) and value > 0, name, value, "a number above 0, at most 1")
    return float(value)
