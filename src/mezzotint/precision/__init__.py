"""In which precision does a network train, and what happens when half precision overflows?"""

from __future__ import annotations

from mezzotint.precision.gradients import attach_gradients, detach_gradients, mark_replaced
from mezzotint.precision.policy import MODES, Mode, Precision

__all__ = ["MODES", "Mode", "Precision", "attach_gradients", "detach_gradients", "mark_replaced"]
