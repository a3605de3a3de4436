"""Where on the paper does a value lie, and which round values are worth a tick?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Values spread over more than this factor are easier to read on a logarithmic axis.
_LOG_SPREAD = 8.0


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis shows.

    Attributes:
        label: name and unit.
        write: how a tick is written.
        kind: ``"linear"``, ``"log"`` (ticks at 1, 2, 5), ``"log2"`` (ticks at powers of two) or ``"auto"``
            (logarithmic where all values are positive and spread widely).
        zero: a linear axis begins at zero.
    """

    label: str
    write: Callable[[float], str]
    kind: str = "auto"
    zero: bool = False


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A mapping of ``low..high`` to ``start..end`` (drawing units), linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    kind: str = "linear"

    def __call__(self, value: float) -> float:
        """Place of ``value``; values outside are put on the border."""
        low, high, here = (self._bend(item) for item in (self.low, self.high, min(max(value, self.low), self.high)))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """About ``wanted`` round values between ``low`` and ``high``, ascending."""
        if self.kind == "log2":
            return _powers_of_two(self.low, self.high, wanted)
        return (
            log_ticks(self.low, self.high, wanted) if self.kind == "log" else linear_ticks(self.low, self.high, wanted)
        )

    def _bend(self, value: float) -> float:
        return value if self.kind == "linear" else math.log10(value)


def fit(values: Iterable[float], axis: Axis, start: float, end: float) -> Scale:
    """A scale that holds all finite ``values`` with round ends. Without values it runs from 0 to 1."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    kind = _kind(axis.kind, low, high)
    if kind == "linear":
        low, high = _round_linear(min(low, 0.0) if axis.zero or 0 <= low < 0.4 * high else low, high)
    else:
        low, high = _round_log(low, high, kind)
    return Scale(low=low, high=high, start=start, end=end, kind=kind)


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten inside ``low..high``."""
    if not high > low:
        return [low]
    step = _nice_step((high - low) / max(wanted, 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Powers of ten inside ``low..high``, with 2 and 5 between them where there is room, thinned where there is not."""
    first, last = math.floor(math.log10(low) - 1e-9), math.ceil(math.log10(high) + 1e-9)
    rich = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    inside = [value for value in rich if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    if len(inside) <= max(wanted, 2) + 3:
        return inside
    decades = [value for value in inside if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
    return decades[:: max(1, math.ceil(len(decades) / max(wanted, 1)))] or inside


def _powers_of_two(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    step = max(1, math.ceil((last - first) / max(wanted, 1)))
    return [2.0**power for power in range(first, last + 1, step)]


def _kind(kind: str, low: float, high: float) -> str:
    if kind == "auto":
        return "log" if low > 0 and high > _LOG_SPREAD * low else "linear"
    return kind if kind == "linear" or low > 0 else "linear"


def _round_linear(low: float, high: float) -> tuple[float, float]:
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        return (0.0 if low == 0 else low - pad), high + pad
    step = _nice_step((high - low) / 5)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _round_log(low: float, high: float, kind: str) -> tuple[float, float]:
    if kind == "log2":
        lower, upper = math.floor(math.log2(low)), math.ceil(math.log2(high))
        return 2.0 ** (lower - (upper == lower)), 2.0 ** (upper + (upper == lower))
    if high <= low:
        return low / 2, high * 2
    pad = (high / low) ** 0.04
    return low / pad, high * pad


def _nice_step(raw: float) -> float:
    base = 10.0 ** math.floor(math.log10(raw))
    return next(factor * base for factor in (1, 2, 2.5, 5, 10) if factor * base >= raw * (1 - 1e-9))
