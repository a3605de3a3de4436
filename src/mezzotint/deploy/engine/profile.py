"""Where does the time of a call go? Step by step, as the caller waits for them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from mezzotint.deploy.engine.draft import Emitted

#: What a call's native steps took, each with its seconds; None: nobody wants to know.
_watch: ContextVar[list[tuple[Emitted, str, float]] | None] = ContextVar("watch", default=None)
_HEADER: Final = "      ms   share  G multiply-adds/s"


@dataclass(frozen=True)
class StepTime:
    """A native step.

    Attributes:
        name: the layer, and what is done in one pass.
        kernel: which one does it.
        milliseconds: of a call, median.
        multiply_adds: of a call, those of missing weights not counted; 0 where it is no convolution or linear layer.
    """

    name: str
    kernel: str
    milliseconds: float
    multiply_adds: int

    @property
    def rate(self) -> float:
        """10^9 multiply-adds a second."""
        return self.multiply_adds / self.milliseconds / 1e6 if self.milliseconds else 0.0


@dataclass(frozen=True)
class Profile:
    """The steps of a call, in their order; ``str`` is a table.

    Attributes:
        batch: images of a call.
        milliseconds: of a whole call, median; what the steps leave of it is PyTorch's, Python's and copying.
        steps: what native programs do.
    """

    batch: int
    milliseconds: float
    steps: tuple[StepTime, ...]

    @property
    def elsewhere(self) -> float:
        """Milliseconds that no native step takes."""
        return max(0.0, self.milliseconds - sum(step.milliseconds for step in self.steps))

    def __str__(self) -> str:
        def row(taken: float, rate: float, what: str) -> str:
            return f"{taken:8.3f} {taken / self.milliseconds:6.1%} {f'{rate:18.0f}' if rate else '':18s}  {what}"

        images = "1 image" if self.batch == 1 else f"{self.batch} images"
        lines = [f"{self.milliseconds:.2f} ms for {images}, medians", _HEADER]
        lines += [row(step.milliseconds, step.rate, f"{step.name}: {step.kernel}") for step in self.steps]
        return "\n".join([*lines, row(self.elsewhere, 0.0, "PyTorch, Python and copies")])


@contextmanager
def watched() -> Iterator[list[tuple[Emitted, str, float]]]:
    """What native programs note within, in this thread."""
    noted: list[tuple[Emitted, str, float]] = []
    token = _watch.set(noted)
    try:
        yield noted
    finally:
        _watch.reset(token)


def watcher() -> list[tuple[Emitted, str, float]] | None:
    """Where a native program notes its steps, if anybody watches."""
    return _watch.get()


def profile_of(call: Callable[[], object], batch: int, calls: int) -> Profile:
    """The profile of so many calls, after one that is not counted."""
    call()
    whole, runs = [], []
    for _ in range(calls):
        with watched() as noted:
            begin = time.perf_counter()
            call()
            whole.append(time.perf_counter() - begin)
        runs.append(noted)
    steps = tuple(
        StepTime(what.name, kernel, 1e3 * statistics.median(run[at][2] for run in runs), what.multiply_adds * batch)
        for at, (what, kernel, _) in enumerate(runs[0])
    )
    return Profile(batch, 1e3 * statistics.median(whole), steps)
