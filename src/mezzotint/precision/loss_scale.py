"""By which factor is the loss scaled, so that FP16 gradients neither vanish nor overflow? Dynamic loss scaling.

Micikevicius et al. 2018 ("Mixed precision training", section 3.2): gradients below 2**-24 vanish in FP16, so the loss
is multiplied by a large factor and the gradients are divided by it in FP32. The factor doubles after a run of clean
steps and halves after a step whose gradients overflowed; that step is skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from mezzotint.errors import InputError, message

GROWTH: Final = 2.0
BACKOFF: Final = 0.5
SMALLEST: Final = 2.0**-14
LARGEST: Final = 2.0**24
"""The scale stays between these: beyond them it could itself under- or overflow what it protects."""


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """The state of dynamic loss scaling: a value, replaced after every step.

    Attributes:
        value: what the loss is multiplied by; 1.0 and constant when ``dynamic`` is False.
        growth_interval: clean steps in a row after which ``value`` doubles.
        clean_steps: clean steps since ``value`` changed or a step was skipped.
        skipped: all steps that were skipped.
        skipped_in_row: steps that were skipped since the last clean one.
    """

    value: float
    growth_interval: int
    dynamic: bool = True
    clean_steps: int = 0
    skipped: int = 0
    skipped_in_row: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and SMALLEST <= self.value <= LARGEST):
            raise InputError(message("loss scale", received=self.value, allowed="2**-14 to 2**24; 2**16 is usual"))
        if self.growth_interval < 1:
            raise InputError(message("growth_interval", received=self.growth_interval, allowed="at least 1 step"))


def after_clean_step(scale: LossScale) -> LossScale:
    """The scale after a step with finite gradients: doubled when that makes ``growth_interval`` of them in a row."""
    clean = scale.clean_steps + 1
    if not scale.dynamic or clean < scale.growth_interval:
        return replace(scale, clean_steps=clean, skipped_in_row=0)
    return replace(scale, value=min(scale.value * GROWTH, LARGEST), clean_steps=0, skipped_in_row=0)


def after_overflow(scale: LossScale) -> LossScale:
    """The scale after a step whose gradients were not finite: halved, down to ``2**-14``."""
    return replace(
        scale,
        value=max(scale.value * BACKOFF, SMALLEST) if scale.dynamic else scale.value,
        clean_steps=0,
        skipped=scale.skipped + 1,
        skipped_in_row=scale.skipped_in_row + 1,
    )
