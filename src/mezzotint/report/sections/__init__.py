"""Which sections does a run's page have, and in which order? One file each, one line each."""

from __future__ import annotations

from collections.abc import Callable

from mezzotint.report.record import Run
from mezzotint.report.section import Section
from mezzotint.report.sections import (
    curves,
    decisions,
    density,
    layers,
    memory,
    mistakes,
    movement,
    next,
    pattern,
    samples,
    setting,
    timing,
)

#: Anchor -> the function that makes the section of a run.
SECTIONS: dict[str, Callable[[Run], Section]] = {
    "learning": curves.section,
    "density": density.section,
    "pattern": pattern.section,
    "movement": movement.section,
    "memory": memory.section,
    "time": timing.section,
    "samples": samples.section,
    "mistakes": mistakes.section,
    "kernels": decisions.section,
    "layers": layers.section,
    "setting": setting.section,
    "next": next.section,
}
