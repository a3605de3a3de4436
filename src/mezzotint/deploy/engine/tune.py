"""Which kernel does each convolution take? The fastest one, measured on this machine, or what a plan file remembers.

Measured within the whole network: what a step reads lies then in the caches where the step before left it, and its
weights where the last image left them. All convolutions try a kernel of theirs in the same run, on one image: what is
fastest for one is so for several. What counts is the time that the processor works, in the thread that works longest:
another program that takes a core away does not change the choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mezzotint.deploy.engine.compile import Compiled
from mezzotint.kernels.native_program import Choice

#: Cells at once that are tried, of those that are choices; 7 and 14 are a whole plane of 14 x 14 in BF16 and FP32.
_TILES = frozenset({1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24})
_REPEATS = 4


def tune(compiled: Compiled, shapes: Sequence[tuple[int, ...]], threads: int) -> list[Choice | None]:
    """Measure, and give every convolution the fastest of its kernels; the choices, None for other steps.

    Args:
        compiled: the program.
        shapes: of its inputs, without the batch.
        threads: that will run it.
    """
    program = compiled.program
    inputs = [torch.zeros(1, *shape) for shape in shapes]
    outputs = [torch.empty(1, *shape) for shape in compiled.outputs]
    choices = [[one for one in program.choices(step) if one[1] in _TILES] for step in range(len(program))]
    times: list[dict[Choice, float]] = [{} for _ in choices]
    for turn in range(max(map(len, choices), default=0)):
        tried = {step: some[turn] for step, some in enumerate(choices) if turn < len(some)}
        for step, choice in tried.items():
            program.choose(step, choice)
        program.run(inputs, outputs, 1, threads)
        runs = [program.profile(inputs, outputs, 1, threads) for _ in range(_REPEATS)]
        for step, choice in tried.items():
            times[step][choice] = min(run[step][1] for run in runs)
    found = [min(taken, key=lambda choice: taken[choice]) if taken else None for taken in times]
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
