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
        times = {}
        for choice in choices:
            program.choose(step, choice)
            times[choice] = program.time(step, compiled.images, threads, _REPEATS)
        found.append(min(choices, key=lambda choice: times[choice]) if choices else None)
    apply(compiled, found)
    return found


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
