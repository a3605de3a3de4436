"""How does a run end when it is asked to? The first SIGINT or SIGTERM lets the step finish and the state be saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final

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
