"""When is the topology updated, how much is pruned then, and in which steps is the dense gradient wanted?

Steps are optimiser steps that were taken; skipped steps do not count. An update has one *turn* for each layer. Turns
are all at the update's step, or staggered: spread evenly over the interval that ends there, so that the layers' dense
windows follow each other and few of their buffers are alive at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mezzotint.errors import InputError, message, require_registered

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
        prune_rate: fraction of the active weights that an update would prune at step 0, in [0, 1]; the decay begins
            there, so that the first update, at step ``interval``, prunes less: see :meth:`rate`.
        decay: "cosine" or "linear", both down to ``final_rate`` at the end of the updates, or "constant".
        window: steps before each turn whose dense gradients are collected; clipped to ``interval``, which means
            "always" and gives the published algorithm of sparse momentum.
        stagger: spread the layers' turns over the interval. Without effect when windows follow each other anyhow.
        end: fraction of the training after which the topology stays, in (0, 1]; the decay ends there, too.
        final_rate: where the decays end.
    """

    interval: int
    total_steps: int
    prune_rate: float = 0.5
    decay: str = "cosine"
    window: int = 44
    stagger: bool = False
    end: float = 1.0
    final_rate: float = FINAL_PRUNE_RATE

    def __post_init__(self) -> None:
        for name in ("interval", "total_steps", "window"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(message(name, received=value, allowed="a whole number of steps, at least 1"))
        for name, usual in (("prune_rate", 0.5), ("final_rate", FINAL_PRUNE_RATE)):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(message(name, received=getattr(self, name), allowed=f"0 to 1; {usual} is usual"))
        if not 0 < self.end <= 1:
            raise InputError(message("end", received=self.end, allowed="a fraction of the training, above 0, up to 1"))
        require_registered("decay", self.decay, DECAYS)

    def is_due(self, step: int) -> bool:
        """Whether an update ends after ``step`` steps: without staggering, the step at which all layers change."""
        within = step <= self.end * self.total_steps and step + self.interval <= self.total_steps
        return step > 0 and step % self.interval == 0 and within

    @property
    def updates(self) -> int:
        """How many updates there are in the whole training."""
        last = min(math.floor(self.end * self.total_steps), self.total_steps - self.interval)
        return max(last // self.interval, 0)

    def rate(self, step: int) -> float:
        """The prune rate of the update that ends after ``step`` steps."""
        last = min(self.final_rate, self.prune_rate)
        return DECAYS[self.decay](self.prune_rate, last, min(step / (self.end * self.total_steps), 1.0))

    @property
    def is_staggered(self) -> bool:
        """Whether layers have turns of their own."""
        return self.stagger and not self.always_collects

    @property
    def always_collects(self) -> bool:
        """Whether one window follows the other, so that the windowed momentum is never truncated."""
        return self.window >= self.interval

    def next_turn(self, step: int, place: int, layers: int) -> tuple[int, int]:
        """(step of the turn, step of its update): the first turn after ``step`` steps of layer ``place`` of ``layers``.

        The update may be one that is not due.
        """
        offset = -(-(place + 1) * self.interval // layers) if self.is_staggered else self.interval
        number = max(0, (step - offset) // self.interval + 1)
        return number * self.interval + offset, (number + 1) * self.interval

    def has_turn(self, step: int, place: int, layers: int) -> bool:
        """Whether layer ``place`` of ``layers`` changes after ``step`` steps."""
        turn, update = self.next_turn(step - 1, place, layers)
        return turn == step and self.is_due(update)

    def collects(self, step: int, place: int = 0, layers: int = 1) -> bool:
        """Whether the step after ``step`` steps lies in the dense window of layer ``place`` of ``layers``."""
        turn, update = self.next_turn(step, place, layers)
        return self.is_due(update) and step >= turn - min(self.window, self.interval)
