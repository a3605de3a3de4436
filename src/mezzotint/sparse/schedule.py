"""When is the topology updated, how much is pruned then, and in which steps is the dense gradient wanted?

Steps are optimiser steps that were taken; skipped steps do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mezzotint.errors import InputError, NotRegistered, message, suggest

FINAL_PRUNE_RATE: Final = 0.005
"""Where the decays end, as in the published code of sparse momentum."""


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _linear(start: float, end: float, progress: float) -> float:
    return start + (end - start) * progress


def _constant(start: float, end: float, progress: float) -> float:
    return start


DECAYS: Final[dict[str, Callable[[float, float, float], float]]] = {
    "cosine": _cosine,
    "linear": _linear,
    "constant": _constant,
}
"""Name -> (first rate, last rate, fraction of the training that is over) -> rate."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The times of topology updates and their prune rates.

    Attributes:
        interval: steps between updates. Updates happen after steps interval, 2 * interval ... as long as one whole
            interval remains: grown weights always get that much training, so nothing is grown in the last interval.
        total_steps: length of the training in steps.
        prune_rate: fraction of the active weights that the first update prunes, in [0, 1].
        decay: "cosine" or "linear", both down to 0.005 at ``total_steps``, or "constant".
        window: steps before each update whose dense gradients are collected; clipped to ``interval``, which means
            "always" and gives the published algorithm.
    """

    interval: int
    total_steps: int
    prune_rate: float = 0.5
    decay: str = "cosine"
    window: int = 44

    def __post_init__(self) -> None:
        for name in ("interval", "total_steps", "window"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(message(name, received=value, allowed="a whole number of steps, at least 1"))
        if not 0 <= self.prune_rate <= 1:
            raise InputError(message("prune_rate", received=self.prune_rate, allowed="0 to 1; 0.5 is usual"))
        if self.decay not in DECAYS:
            raise NotRegistered(
                message("decay", received=self.decay, allowed=", ".join(DECAYS)) + suggest(self.decay, DECAYS)
            )

    def is_due(self, step: int) -> bool:
        """Whether the topology is updated after ``step`` steps."""
        return step > 0 and step % self.interval == 0 and step + self.interval <= self.total_steps

    def rate(self, step: int) -> float:
        """The prune rate of an update after ``step`` steps."""
        end = min(FINAL_PRUNE_RATE, self.prune_rate)
        return DECAYS[self.decay](self.prune_rate, end, min(step / self.total_steps, 1.0))

    def collects(self, step: int) -> bool:
        """Whether the step after ``step`` steps lies in the dense window of a coming update."""
        update = (step // self.interval + 1) * self.interval
        return self.is_due(update) and step >= update - min(self.window, self.interval)

    @property
    def always_collects(self) -> bool:
        """Whether one window follows the other, so that the windowed momentum is never truncated."""
        return self.window >= self.interval
