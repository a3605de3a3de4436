"""Which kernel does each convolution take? The fastest one, measured on this machine, or what a plan file remembers.

Measured within the whole network: what a step reads lies then in the caches where the step before left it, and its
weights where the last image left them. All convolutions try a kernel of theirs in the same run, on one image: what is
fastest for one is so for several, unless images lie abreast. What counts is the time that the processor works, in the
thread that works longest: another program that takes a core away does not change the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mezzotint.deploy.engine.compile import Compiled
from mezzotint.kernels.native_program import Choice

#: Cells at once that are tried, of those that are choices; 7 and 14 are a whole plane of 14 x 14 in BF16 and FP32.
_TILES = frozenset({1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24})
_REPEATS = 4
_BEST = 3
_ROUNDS_OF_THE_BEST = 2
#: Fewer, as a run takes longer: a cell holds a row of images abreast, and planes are 7 or 14 of them.
_TILES_ABREAST = frozenset({3, 4, 7})
_REPEATS_ABREAST = 2


def tune(compiled: Compiled, shapes: Sequence[tuple[int, ...]], threads: int) -> list[Choice | None]:
    """Measure, and give every convolution the fastest of its kernels; the choices, None for other steps.

    Args:
        compiled: the program.
        shapes: of its inputs, without the batch.
        threads: that will run it.
    """
    choices = [[one for one in found if one[1] in _TILES] for found in _choices(compiled)]
    found = _fastest(compiled, shapes, choices, (1, threads, _REPEATS))
    apply(compiled, found)
    return found


def tune_abreast(compiled: Compiled, shapes: Sequence[tuple[int, ...]], alone: Compiled) -> list[Choice | None]:
    """As :func:`tune`, of a program in which images lie abreast: each thread does a round of its own.

    Convolutions take the kind of kernel that their twins in ``alone``, which is tuned, have taken. Tiles and parts are
    measured anew, as a thread goes through a whole image here.
    """
    twins = {what.name: alone.program.choice(step) for step, what in enumerate(alone.steps)}
    choices = []
    for what, some in zip(compiled.steps, _choices(compiled), strict=True):
        twin = twins.get(what.name)
        same = [one for one in some if twin is None or one[0] == twin[0]] or some
        choices.append([one for one in same if one[1] in _TILES_ABREAST or one == twin] or same)
    found = _fastest(compiled, shapes, choices, (compiled.images, 1, _REPEATS_ABREAST))
    apply(compiled, found)
    return found


def _fastest(
    compiled: Compiled, shapes: Sequence[tuple[int, ...]], choices: list[list[Choice]], how: tuple[int, int, int]
) -> list[Choice | None]:
    """``how``: images, threads and repeats. All choices once, then the best of each step several times in turn: whoever
    else is busy on the machine for a moment must not decide.
    """
    batch, threads, repeats = how
    program = compiled.program
    inputs = [torch.zeros(batch, *shape) for shape in shapes]
    outputs = [torch.empty(batch, *shape) for shape in compiled.outputs]
    times: list[dict[Choice, float]] = [dict.fromkeys(some, math.inf) for some in choices]

    def measure(rows: list[list[Choice]]) -> None:
        for turn in range(max(map(len, rows), default=0)):
            tried = {step: some[turn] for step, some in enumerate(rows) if turn < len(some)}
            for step, choice in tried.items():
                program.choose(step, choice)
            if batch == 1:
                program.run(inputs, outputs, batch, threads)  # with several images, the first one does that
            runs = [program.profile(inputs, outputs, batch, threads) for _ in range(repeats)]
            for step, choice in tried.items():
                times[step][choice] = min(times[step][choice], *(run[step][1] for run in runs))

    measure(choices)
    best = [sorted(taken, key=lambda choice: taken[choice])[:_BEST] for taken in times]
    for _ in range(_ROUNDS_OF_THE_BEST):
        measure([some if len(some) > 1 else [] for some in best])
    return [min(taken, key=lambda choice: taken[choice]) if taken else None for taken in times]


def _choices(compiled: Compiled) -> list[list[Choice]]:
    return [compiled.program.choices(step) for step in range(len(compiled.program))]


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
