"""How far is it, and how long will it take? One way of telling for every command that takes more than a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING, Final

from mezzotint.cli.output import console, note

if TYPE_CHECKING:
    from mezzotint.train.progress import EpochView, Progress, Start, StepView, TuningView

_LINES: Final = 10  # where there is no terminal: a line for every tenth
_MOMENT: Final = 2.0  # seconds: what is done within them is not spoken of


@contextmanager
def counted(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (done, all): a bar with the time left, or plain lines; nothing in the first moment.

    Args:
        what: is being done.
        quiet: tell nothing.
    """
    out = console(stderr=True)
    if quiet:
        yield lambda done, total: None
    elif out.is_terminal:
        yield from _bar(what)
    else:
        yield _lines(what)


def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    out, began = console(stderr=True), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=out, transient=True)
    task = bar.add_task(what, total=None)
    shown = False

    def watch(done: int, total: int) -> None:
        nonlocal shown
        if not shown and done < total and time.perf_counter() - began > 0.5:
            bar.start()
            shown = True
        bar.update(task, completed=done, total=total)

    try:
        yield watch
    finally:
        if shown:
            bar.stop()


def _lines(what: str) -> Callable[[int, int], None]:
    began = told = time.perf_counter()
    tenth = 0

    def watch(done: int, total: int) -> None:
        from mezzotint.train.progress import time_left

        nonlocal told, tenth
        now = time.perf_counter()
        if done < total and now - told > _MOMENT and done * _LINES // total > tenth:
            told, tenth = now, done * _LINES // total
            note(f"{what}: {done:,} of {total:,}, {time_left((now - began) / done * (total - done))} left")

    return watch


class Patient:
    """Watches a run for another watcher, and says what is being done if the run takes a moment to begin.

    With nothing to say (an empty text) it only passes on.
    """

    def __init__(self, inner: Progress, doing: str) -> None:
        self._inner, self._doing = inner, doing
        self._timer = Timer(_MOMENT, note, [doing])
        self._timer.daemon = True

    def __enter__(self) -> Patient:
        if self._doing:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def begin(self, start: Start) -> None:
        """The wait is over."""
        self._timer.cancel()
        self._inner.begin(start)

    def tuning(self, view: TuningView) -> None:
        """Passed on."""
        self._inner.tuning(view)

    def step(self, view: StepView) -> None:
        """Passed on."""
        self._inner.step(view)

    def epoch(self, view: EpochView) -> None:
        """Passed on."""
        self._inner.epoch(view)

    def end(self) -> None:
        """Passed on."""
        self._inner.end()
