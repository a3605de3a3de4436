"""When do the native calls of a pass do their work? All at its end, so that Python does its part on warm caches.

Between two native calls Python only works out sizes and addresses; but the calls leave none of its code and data in the
caches, which makes it three to five times as slow. In a pass it goes through all layers first, and calls are noted. Who
wants to see numbers before the end asks for them (:func:`settle`); what PyTorch does with them can wait as well
(:func:`then`). And a pass that is recorded (:func:`recorded`) can be done again without Python's part.

Noted calls know addresses. The arena's memory may be given away meanwhile, since the calls are run in order; until the
pass is over, only its own thread gets any. All other tensors that calls are told about are held. A call gets its memory
before it is told about tensors: getting memory may settle the pass.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mezzotint.kernels import arena, native
from mezzotint.kernels.native import Argument
from mezzotint.kernels.recording import Recording, Work


@dataclass
class _Pass:
    thread: int
    held: list[object] = field(default_factory=list)
    afterwards: list[Work] = field(default_factory=list)
    recording: Recording | None = None


_one_at_a_time = threading.Lock()
_pass: _Pass | None = None


@contextmanager
def one_pass() -> Iterator[None]:
    """Native calls of this thread are noted within the block and run at its end; after an error, none of them are.

    While another pass is under way, in this thread or elsewhere in the process, calls do their work at once.
    """
    global _pass
    if native.unavailable() is not None or not _one_at_a_time.acquire(blocking=False):
        yield
        settle()
        return
    try:
        native.extension().note_calls()
        _pass = _Pass(threading.get_ident())
        with arena.kept_to_this_thread(settle):
            yield
            settle()
    finally:
        native.extension().forget_noted()
        _pass = None
        _one_at_a_time.release()


def is_under_way() -> bool:
    """Whether this thread is in a pass."""
    return _mine() is not None


@contextmanager
def recorded(given: Iterable[Tensor]) -> Iterator[Recording | None]:
    """What this thread does in the block, to be done again; ``None`` where no pass of it is under way.

    Args:
        given: what it begins with; another time it finds other numbers there.
    """
    mine = _mine()
    if mine is None or mine.recording is not None:
        yield None
        return
    recording = mine.recording = Recording()
    for tensor in given:
        recording.own(tensor)
    native.extension().keep_noted()
    try:
        yield recording
        recording.end()
    finally:
        native.extension().keep_no_more()
        mine.recording = None


def do_again(recording: Recording) -> None:
    """Note what was recorded, without going through what noted it."""
    if (mine := _mine()) is not None:
        mine.held.append(recording)
    for part in recording.parts:
        part()


def settle() -> None:
    """Run what this thread has noted: numbers are there afterwards."""
    if (mine := _mine()) is not None:
        if mine.recording is not None:
            mine.recording.cut()
        native.extension().run_noted()
        for work in mine.afterwards:
            work()
        mine.afterwards.clear()
        mine.held.clear()


def then(work: Work) -> None:
    """Do ``work``, which reads what calls have written, as soon as they have: now, or when the pass is settled."""
    each_time(lambda: _afterwards(work))


def each_time(work: Work) -> None:
    """Do ``work`` now, and again whenever the pass is done again from its recording. It may call and settle."""
    mine = _mine()
    if mine is None or (recording := mine.recording) is None:
        work()
        return
    recording.add(work)
    native.extension().keep_no_more()
    mine.recording = None
    try:
        work()
    finally:
        mine.recording = recording
        native.extension().keep_noted()


def differs() -> None:
    """What follows depends on numbers: this pass cannot be done again from its recording."""
    if (recording := _recording()) is not None:
        recording.differs()


def own(tensor: Tensor) -> Tensor:
    """``tensor``, made for the calls of this pass alone; it lasts as long as the recording, if there is one."""
    if (recording := _recording()) is not None:
        recording.own(tensor)
    return tensor


def result(count: int) -> Tensor:
    """Memory for float32 ``[count]`` that leaves the pass: of a pass that is recorded, copies will."""
    recording = _recording()
    return torch.empty(count) if recording is None else recording.room(count)


def hold(tensor: Tensor) -> None:
    """Keep a tensor that a call was told about until the call has been run."""
    if (mine := _mine()) is not None:
        mine.held.append(tensor)
        if mine.recording is not None:
            mine.recording.hear_of(tensor)


def argument(tensor: Tensor) -> Argument:
    """:func:`mezzotint.kernels.native.argument` of a tensor that is held."""
    hold(tensor)
    return native.argument(tensor)


def maybe(tensor: Tensor | None) -> Argument | None:
    """:func:`argument`, or ``None``."""
    return None if tensor is None else argument(tensor)


def _afterwards(work: Work) -> None:
    if (mine := _mine()) is not None:
        mine.afterwards.append(work)
    else:
        work()


def _recording() -> Recording | None:
    return mine.recording if (mine := _mine()) is not None else None


def _mine() -> _Pass | None:
    return _pass if _pass is not None and _pass.thread == threading.get_ident() else None
