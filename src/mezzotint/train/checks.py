"""Is a value of the configuration allowed? Checks that raise a ``ConfigError`` with name, value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mezzotint.data.augment.mix import build_mix
from mezzotint.data.transform import build_augmentation
from mezzotint.errors import ConfigError, MezzotintError, message, suggest
from mezzotint.outside import is_outside
from mezzotint.sparse import METHODS, method


def require_one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """``value`` is one of the allowed words."""
    known = list(allowed)
    if value not in known:
        fix = suggest(value, known).strip()
        raise ConfigError(message(name, received=repr(value), allowed=", ".join(known), fix=fix))


def require_method(name: str, value: str) -> None:
    """``value`` names a method: one of ours, or somebody's own by its dotted path."""
    if is_outside(value):
        method(value)
    else:
        require_one_of(name, value, METHODS)


def require_whole(name: str, value: int, low: int) -> None:
    """``value`` is at least ``low``."""
    if value < low:
        raise ConfigError(message(name, received=value, allowed=f"a whole number, at least {low}"))


def require_number(
    name: str, value: float, low: float, high: float = math.inf, *, above: bool = False, below: bool = False
) -> None:
    """``value`` is finite and in [low, high]; ``above`` and ``below`` leave out the ends."""
    inside = (low < value if above else low <= value) and (value < high if below else value <= high)
    if not (math.isfinite(value) and inside):
        first = f"{'above' if above else 'at least'} {low:g}"
        last = "" if math.isinf(high) else f" and {'below' if below else 'at most'} {high:g}"
        raise ConfigError(message(name, received=value, allowed=f"a number {first}{last}"))


def require_channels(name: str, value: str | tuple[float, ...], *, above: bool) -> None:
    """``value`` is "auto", or one number or more, at least 0; ``above`` leaves out 0."""
    if value == "auto":
        return
    if isinstance(value, str) or not value:
        raise ConfigError(message(name, received=value or "an empty list", allowed='"auto", or one number per channel'))
    for number in value:
        require_number(name, number, 0.0, above=above)


def require_augmentation(place: str, settings: dict[str, Any]) -> None:
    """The settings make an augmentation."""
    try:
        build_augmentation(settings)
    except MezzotintError as error:
        raise ConfigError(f"{place}: {error}") from error


def require_mix(place: str, settings: dict[str, Any]) -> None:
    """The settings make a mix of the images of a batch."""
    try:
        build_mix(settings)
    except MezzotintError as error:
        raise ConfigError(f"{place}: {error}") from error
