"""Which of several kernels is the fastest on these tensors? Warm, interleaved rounds within a budget of time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.kernels.table import Kernel

#: Rounds at most; the warm-up is not one of them.
ROUNDS = 7
#: Seconds of timed rounds, without the warm-up, after which no third or later round of a problem begins.
BUDGET = 0.1
#: A kernel whose best run takes so many times the leader's best is timed no more.
CLEARLY_SLOWER = 1.5
#: So much slower in the warm-up alone, and longer than the whole budget: not even one round is spent on it. On CPUs
#: only; elsewhere the warm-up may compile.
HOPELESS = 3.0

#: Tells the time in seconds. Tests put a clock of their own here.
clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, kw_only=True)
class Race:
    """The outcome of timing kernels against each other.

    Attributes:
        winner: the lowest median of those that were timed to the end.
        milliseconds: kernel name -> median, in which kernels that were dropped early have fewer rounds.
        rounds: of the winner.
    """

    winner: Kernel
    milliseconds: dict[str, float]
    rounds: int


def race(kernels: Sequence[Kernel], trial: Callable[[Kernel], Any], device: str = "cpu") -> Race:
    """Time ``kernels`` against each other on the tensors that ``trial`` holds.

    Every kernel runs once to warm up. Rounds follow in which each runs once, so that a disturbance of the machine meets
    all of them. A kernel that is clearly slower after two looks (the warm-up is the first) drops out; timing ends when
    one kernel is left, after :data:`ROUNDS` rounds, or when the :data:`BUDGET` is spent, but not before the second
    round while more than one is left.

    Args:
        kernels: two or more.
        trial: runs a kernel once on the real tensors and returns its output.
        device: where it runs; work that waits there already is not part of anyone's time.
    """
    _synchronise(device)
    looks = {kernel.name: [_timed(kernel, trial, device)] for kernel in kernels}
    samples: dict[str, list[float]] = {kernel.name: [] for kernel in kernels}
    running = _without_hopeless(kernels, looks) if device == "cpu" else list(kernels)
    rounds, began = 0, clock()
    while rounds < ROUNDS:
        for kernel in running:
            seconds = _timed(kernel, trial, device)
            looks[kernel.name].append(seconds)
            samples[kernel.name].append(seconds)
        rounds += 1
        least = min(min(looks[kernel.name]) for kernel in running)
        running = [kernel for kernel in running if min(looks[kernel.name]) <= CLEARLY_SLOWER * least]
        if len(running) == 1 or (rounds >= 2 and clock() - began >= BUDGET):
            break
    medians = {name: round(1e3 * statistics.median(samples[name] or looks[name]), 4) for name in samples}
    winner = min(running, key=lambda kernel: medians[kernel.name])
    return Race(winner=winner, milliseconds=medians, rounds=rounds)


def _without_hopeless(kernels: Sequence[Kernel], looks: dict[str, list[float]]) -> list[Kernel]:
    limit = max(BUDGET, HOPELESS * min(seconds for (seconds,) in looks.values()))
    return [kernel for kernel in kernels if looks[kernel.name][0] <= limit]


def _timed(kernel: Kernel, trial: Callable[[Kernel], Any], device: str) -> float:
    start = clock()
    trial(kernel)
    _synchronise(device)
    return clock() - start


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
