"""How does a session use its own number of threads and leave PyTorch's setting as it was?

PyTorch keeps the number per Python thread and hands a new thread the number that was set last anywhere. While sessions
run, that may be a session's own; so the number to go back to is noted when the first of them begins.

PyTorch's threads do not outlive a fork: in the child they are waited for without end. There its part of a session runs
in one thread; our kernels have a pool of their own, which is made anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_running = 0
_before = 0
_forked = False


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """PyTorch and our kernels use ``count`` threads in this Python thread; ``None`` changes nothing.

    In a forked process PyTorch uses one; so do our kernels where ``count`` is None.
    """
    if _forked:
        count = 1
    if count is None:
        yield
        return
    _enter(count)
    try:
        yield
    finally:
        _leave()


def native_threads(count: int | None) -> int:
    """How many threads our kernels use where nothing runs in PyTorch; ``None``: as many as it would."""
    return count or (1 if _forked else torch.get_num_threads())


def _enter(count: int) -> None:
    global _running, _before
    with _lock:
        # Asked in every thread: the first question gives it a number of its own, which would undo ours later.
        found = torch.get_num_threads()
        if not _running:
            _before = found
        _running += 1
        torch.set_num_threads(count)


def _leave() -> None:
    global _running
    with _lock:
        _running -= 1
        torch.set_num_threads(_before)


def _after_fork() -> None:
    """Sessions that were running in other threads do not run here, and will not let go of the lock."""
    global _lock, _running, _forked
    _lock, _running, _forked = threading.Lock(), 0, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
