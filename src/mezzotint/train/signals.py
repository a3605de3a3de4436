"""How does a run end when it is asked to? The first SIGINT or SIGTERM lets the step finish and the state be saved.

So does the end of a pipe that progress is written to, which counts as SIGPIPE: nobody would hear of the run any more.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mezzotint.train.progress import EpochView, Progress, Start, StepView, TuningView

_ASKED: Final = (signal.SIGINT, signal.SIGTERM)
_STDERR: Final = 2
_HINT: Final = b"\nstopping after this step, saving first; Ctrl-C once more ends at once\n"


class StopRequest:
    """A context in which SIGINT and SIGTERM are noted in ``signal`` instead of ending the program.

    A second SIGINT raises KeyboardInterrupt at once: what has been saved stays, nothing more is. Handlers can be set in
    the main thread only; in another thread the context changes nothing.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {asked: signal.signal(asked, self._note) for asked in _ASKED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for asked, former in self._former.items():
            signal.signal(asked, former)
        self._former = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None and os.isatty(_STDERR):
            os.write(_STDERR, _HINT)  # not through sys.stderr, whose lock may be held where the signal came
        self.signal = signal.Signals(number)


class Heard:
    """Passes on to a watcher; where nobody reads any more what that one writes, the run is asked to stop."""

    def __init__(self, inner: Progress, stop: StopRequest) -> None:
        self._inner, self._stop = inner, stop

    def begin(self, start: Start) -> None:
        """Passed on."""
        self._tell(self._inner.begin, start)

    def tuning(self, view: TuningView) -> None:
        """Passed on."""
        self._tell(self._inner.tuning, view)

    def step(self, view: StepView) -> None:
        """Passed on."""
        self._tell(self._inner.step, view)

    def epoch(self, view: EpochView) -> None:
        """Passed on."""
        self._tell(self._inner.epoch, view)

    def end(self) -> None:
        """Passed on."""
        self._tell(self._inner.end)

    def _tell(self, moment: Callable[..., None], *views: object) -> None:
        try:
            moment(*views)
        except BrokenPipeError:
            self._stop.signal = self._stop.signal or signal.SIGPIPE
