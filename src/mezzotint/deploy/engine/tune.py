"""Which kernel does each convolution take? The fastest one, measured on this machine, or what a plan file remembers.

Measured within the whole network: what a step reads lies then in the caches where the step before left it, and its
weights where the last image left them. All convolutions try a kernel of theirs in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mezzotint.deploy.engine.compile import Compiled
from mezzotint.kernels.native_program import Choice

#: Cells at once that are tried; those that the registers of this CPU do not hold are no choices.
_TILES = frozenset({1, 2, 3, 4, 6, 8, 12, 24})
_REPEATS = 5
Times = list[dict[Choice, float]]


def tune(compiled: Compiled, shapes: Sequence[tuple[int, ...]], threads: int) -> list[Choice | None]:
    """Measure, and give every convolution the fastest of its kernels; the choices, None for other steps.

    Args:
        compiled: the program.
        shapes: of its inputs, without the batch.
        threads: that will run it.
    """
    program = compiled.program
    choices = [
        [choice for choice in program.choices(step) if choice[1] in _TILES] for step in range(len(compiled.steps))
    ]
    times: Times = [{} for _ in choices]
    _measure(compiled, shapes, threads, [[one for one in some if one[2] == 1] for some in choices], times)
    # Parts let larger tiles stay in level 1.
    near = []
    for some, taken in zip(choices, times, strict=True):
        tile = min(taken, key=lambda choice: taken[choice])[1] if taken else 0
        near.append([one for one in some if one[2] > 1 and one[1] in (tile, 2 * tile)])
    _measure(compiled, shapes, threads, near, times)
    found = [min(taken, key=lambda choice: taken[choice]) if taken else None for taken in times]
    apply(compiled, found)
    return found


def _measure(
    compiled: Compiled, shapes: Sequence[tuple[int, ...]], threads: int, choices: list[list[Choice]], times: Times
) -> None:
    """Add the least time of each choice; who has fewer of them than others runs its fastest one meanwhile."""
    program, batch = compiled.program, compiled.images
    inputs = [torch.zeros(batch, *shape) for shape in shapes]
    outputs = [torch.empty(batch, *shape) for shape in compiled.outputs]
    for turn in range(max(map(len, choices), default=0)):
        for step, some in enumerate(choices):
            if turn < len(some):
                program.choose(step, some[turn])
            elif turn == len(some) and times[step]:
                program.choose(step, min(times[step], key=lambda choice: times[step][choice]))
        program.run(inputs, outputs, batch, threads)
        runs = [program.profile(inputs, outputs, batch, threads) for _ in range(_REPEATS)]
        for step, some in enumerate(choices):
            if turn < len(some):
                times[step][some[turn]] = min(run[step] for run in runs)


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
