"""When do the native calls of a pass do their work? All at its end, so that Python does its part on warm caches.

Between two native calls Python only works out sizes and addresses; but the calls leave none of its code and data in the
caches, which makes it three to five times as slow. In a pass it goes through all layers first, and calls are noted. Who
wants to see numbers before the end asks for them (:func:`settle`); what PyTorch does with them can wait as well
(:func:`then`).

Noted calls know addresses. The arena's memory may be given away meanwhile, since the calls are run in order; until the
pass is over, only its own thread gets any. All other tensors that calls are told about are held. A call gets its memory
before it is told about tensors: getting memory may settle the pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from mezzotint.kernels import arena, native
from mezzotint.kernels.native import Argument


@dataclass(frozen=True)
class _Pass:
    thread: int
    held: list[Tensor] = field(default_factory=list)
    afterwards: list[Callable[[], object]] = field(default_factory=list)


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


def settle() -> None:
    """Run what this thread has noted: numbers are there afterwards."""
    if (mine := _mine()) is not None:
        native.extension().run_noted()
        for work in mine.afterwards:
            work()
        mine.afterwards.clear()
        mine.held.clear()


def then(work: Callable[[], object]) -> None:
    """Do ``work``, which reads what calls have written, as soon as they have: now, or when the pass is settled."""
    if (mine := _mine()) is not None:
        mine.afterwards.append(work)
    else:
        work()


def hold(tensor: Tensor) -> None:
    """Keep a tensor that a call was told about until the call has been run."""
    if (mine := _mine()) is not None:
        mine.held.append(tensor)


def argument(tensor: Tensor) -> Argument:
    """:func:`mezzotint.kernels.native.argument` of a tensor that is held."""
    hold(tensor)
    return native.argument(tensor)


def maybe(tensor: Tensor | None) -> Argument | None:
    """:func:`argument`, or ``None``."""
    return None if tensor is None else argument(tensor)


def _mine() -> _Pass | None:
    return _pass if _pass is not None and _pass.thread == threading.get_ident() else None
