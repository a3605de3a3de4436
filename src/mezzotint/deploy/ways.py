"""Which way does a batch take through a lowered network? What costs least, by a rule; where that is close, measured.

A cell of the native layout holds 16 or 32 images, and costs as much when it is half empty. A program of the inference
engine goes through a network image by image, whatever their number. Where cells are full, one or the other is faster by
up to a fifth, which depends on the machine.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum

from mezzotint.lowering.worth import Worth

#: Lanes for each image up to which the native layout may be as fast as a program.
_NEARLY_FULL = 1.25
#: Timed calls of each way, after one that prepares it.
_CALLS = 3
_measuring = threading.Lock()

Key = tuple[object, ...]


class Way(Enum):
    """How a batch may go."""

    NATIVE = "the native layout"
    PROGRAM = "a program of the inference engine"
    PLAIN = "the plain layout"


def without_programs(found: Worth) -> Way:
    """The cheaper one of the two layouts."""
    return Way.NATIVE if found.pays else Way.PLAIN


class Ways:
    """The fastest way of each kind of batch; what has to be measured is measured once."""

    def __init__(self) -> None:
        self._times: dict[Key, Mapping[Way, float]] = {}

    def fastest(self, found: Worth, batch: int, key: Key, calls: Mapping[Way, Callable[[], object]]) -> tuple[Way, str]:
        """Of all three ways, and why.

        Args:
            found: what ``batch`` images cost.
            key: the kind of batch, whatever its number of images.
            calls: what each way is.
        """
        way = _by_rule(found)
        if way is not None:
            return way, f"{found.in_words(batch)}, and {found.full / max(found.dense, 1.0):.1f} times in a program"
        if key not in self._times:
            with _measuring:
                if key not in self._times:
                    self._times[key] = _timed({way: calls[way] for way in (Way.NATIVE, Way.PROGRAM)})
        times = self._times[key]
        told = ", ".join(f"{1e3 * seconds:.3g} ms in {way.value}" for way, seconds in times.items())
        return min(times, key=lambda way: times[way]), f"measured: {told}"


def _by_rule(found: Worth) -> Way | None:
    """The way that costs least; ``None`` where the native layout and a program are too close to each other."""
    if not found.can_pay:
        return Way.PLAIN
    return None if found.native <= _NEARLY_FULL * found.full else Way.PROGRAM


def _timed(calls: Mapping[Way, Callable[[], object]]) -> dict[Way, float]:
    for call in calls.values():
        call()
    times = dict.fromkeys(calls, math.inf)
    for _ in range(_CALLS):
        for way, call in calls.items():
            began = time.perf_counter()
            call()
            times[way] = min(times[way], time.perf_counter() - began)
    return times
