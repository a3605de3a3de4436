"""Which learning rate belongs to an update? Pure functions of how many updates have been taken.

A skipped step is no update: the schedule waits for it. Times are in epochs here, so that a schedule reads the same for
every batch size.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol


class Settings(Protocol):
    """What a schedule needs to know; ``ScheduleConfig`` has it."""

    @property
    def epochs(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def drops(self) -> Sequence[float]: ...
    @property
    def drop_factor(self) -> float: ...


def _cosine(epoch: float, settings: Settings) -> float:
    """Loshchilov and Hutter 2017 ("SGDR"), one cycle, from the end of the warm-up to 0 at the end."""
    length = settings.epochs - settings.warmup_epochs
    progress = (epoch - settings.warmup_epochs) / length if length > 0 else 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def _step(epoch: float, settings: Settings) -> float:
    return settings.drop_factor ** bisect.bisect_right(settings.drops, epoch)


def _constant(epoch: float, settings: Settings) -> float:
    return 1.0


SCHEDULES: Final[dict[str, Callable[[float, Settings], float]]] = {
    "cosine": _cosine,
    "step": _step,
    "constant": _constant,
}
"""Name -> (epoch, settings) -> factor, after the warm-up."""


def factor(settings: Settings, updates: int, steps_per_epoch: int) -> float:
    """By what the learning rate is multiplied for the update after ``updates`` updates; 0 to 1.

    During the warm-up it rises linearly, the first update getting one part of it rather than none (Goyal et al. 2017,
    section 2.2).
    """
    epoch = updates / steps_per_epoch
    warm_up = round(settings.warmup_epochs * steps_per_epoch)
    if updates < warm_up:
        return (updates + 1) / warm_up
    return SCHEDULES[settings.name](epoch, settings)
