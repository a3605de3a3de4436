"""Which kernel does each convolution take? The fastest one, measured on this machine, or what a plan file remembers."""

from __future__ import annotations

from mezzotint.deploy.engine.compile import Compiled
from mezzotint.kernels.native_program import Choice

#: Cells at once that are tried; those that the registers of this CPU do not hold are no choices.
_TILES = frozenset({1, 2, 3, 4, 6, 8, 12, 24})
_REPEATS = 4


def tune(compiled: Compiled, threads: int) -> list[Choice | None]:
    """Measure, and give every convolution the fastest of its kernels; the choices, None for other steps."""
    program = compiled.program
    found: list[Choice | None] = []
    for step in range(len(program)):
        choices = [choice for choice in program.choices(step) if choice[1] in _TILES]
        times: dict[Choice, float] = {}
        _measure(compiled, step, threads, [choice for choice in choices if choice[2] == 1], times)
        # Parts let larger tiles stay in level 1.
        best = min(times, key=lambda choice: times[choice], default=None)
        if best is not None:
            near = {best[1], 2 * best[1]}
            _measure(compiled, step, threads, [one for one in choices if one[2] > 1 and one[1] in near], times)
        found.append(min(times, key=lambda choice: times[choice], default=None))
    apply(compiled, found)
    return found


def _measure(compiled: Compiled, step: int, threads: int, choices: list[Choice], times: dict[Choice, float]) -> None:
    for choice in choices:
        compiled.program.choose(step, choice)
        times[choice] = compiled.program.time(step, compiled.images, threads, _REPEATS)


def apply(compiled: Compiled, choices: list[Choice | None]) -> None:
    """Take these kernels and forget what the others need."""
    for step, choice in enumerate(choices):
        if choice is not None:
            compiled.program.choose(step, choice)
    compiled.program.settle()


def fits(compiled: Compiled, choices: list[Choice | None]) -> bool:
    """Whether the choices are of this program."""
    program = compiled.program
    return len(choices) == len(program) and all(
        choice in program.choices(step) if choice is not None else not program.choices(step)
        for step, choice in enumerate(choices)
    )
