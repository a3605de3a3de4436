"""How are batches made ahead of their use? By threads, in pieces, delivered in order, and never more than a few ahead.

A batch is divided into pieces of a few samples, so that all threads work on the batch that is needed next; the thread
that finishes the last piece puts the batch together. Decoders and PyTorch release the interpreter lock while they work.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.batch import Batch
from mezzotint.data.maker import BatchMaker, Sample
from mezzotint.errors import RunError, message

PIECE = 16
"""Samples in a piece: enough to make the hand-over cheap, few enough to share one batch among threads."""
_BATCHES_AHEAD = 2
_numbers = count()


class Pool:
    """Threads for one pass. They end when ``close`` is called, when the pool is garbage, or with the interpreter."""

    def __init__(self, threads: int) -> None:
        """Start ``threads`` threads, each of which uses a single thread inside of PyTorch's operations.

        ``torch.set_num_threads`` sets the number of the calling thread, but also the number that threads started later
        begin with. So all start now, and the caller's number is set again after the last of them.
        """
        before = torch.get_num_threads()
        self._prefix = f"mezzotint-loader-{next(_numbers)}"
        self._executor = ThreadPoolExecutor(threads, self._prefix, initializer=_use_one_thread)
        started = threading.Barrier(threads + 1)
        try:
            for _ in range(threads):
                self._executor.submit(started.wait)
        except RuntimeError as error:  # the system gives no more threads
            started.abort()
            allowed = "as many threads as the system gives this process"
            raise RunError(message("threads", received=threads, allowed=allowed, fix="Use fewer.")) from error
        started.wait()
        torch.set_num_threads(before)
        self._finalizer = weakref.finalize(self, _shut_down, self._executor, self._prefix)

    def close(self) -> None:
        """Drop what has not been begun, and wait for the threads to end."""
        self._finalizer()

    def batch(self, maker: BatchMaker, epoch: int, indices: NDArray[np.int64]) -> Future[Batch]:
        """Begin to make a batch."""
        if maker.at_once:
            return self._executor.submit(maker.batch, epoch, indices)
        job = _Job(maker, epoch, indices)
        for place in range(len(job.pieces)):
            self._executor.submit(job.run, place)
        return job.done


def _use_one_thread() -> None:
    torch.get_num_threads()  # a thread takes over the common number at its first question, not at its start
    torch.set_num_threads(1)


def _shut_down(executor: ThreadPoolExecutor, prefix: str) -> None:
    """Also called by the garbage collector, perhaps in one of the pool's own threads, which cannot wait for itself."""
    own = threading.current_thread().name.startswith(f"{prefix}_")
    executor.shutdown(wait=not own, cancel_futures=True)


class _Job:
    """One batch in the making."""

    def __init__(self, maker: BatchMaker, epoch: int, indices: NDArray[np.int64]) -> None:
        self.done: Future[Batch] = Future()
        self.pieces = [indices[start : start + PIECE] for start in range(0, len(indices), PIECE)]
        self._maker, self._epoch, self._indices = maker, epoch, indices
        self._made: list[list[Sample]] = [[] for _ in self.pieces]
        self._errors: dict[int, BaseException] = {}
        self._left = len(self.pieces)
        self._lock = threading.Lock()

    def run(self, place: int) -> None:
        """Make one piece, and the whole batch if it was the last."""
        try:
            self._made[place] = self._maker.samples(self._epoch, self.pieces[place])
        except BaseException as error:  # noqa: BLE001 - handed on to the thread that asks for the batch
            self._errors[place] = error
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._finish()

    def _finish(self) -> None:
        if self._errors:  # always the first in the order of the samples, whatever the threads' timing
            self.done.set_exception(self._errors[min(self._errors)])
            return
        try:
            samples = [sample for piece in self._made for sample in piece]
            self.done.set_result(self._maker.assemble(self._indices, samples))
        except BaseException as error:  # noqa: BLE001 - handed on to the thread that asks for the batch
            self.done.set_exception(error)


def in_caller(maker: BatchMaker, epoch: int, batches: list[NDArray[np.int64]]) -> Iterator[Batch]:
    """The batches, each made when it is asked for."""
    return (maker.batch(epoch, indices) for indices in batches)


def ahead(pool: Pool, threads: int, maker: BatchMaker, epoch: int, batches: list[NDArray[np.int64]]) -> Iterator[Batch]:
    """The batches in order, made by the pool; at most two, or as many as keep all threads busy, are made ahead."""
    if not batches:
        return
    pieces = 1 if maker.at_once else -(-len(batches[0]) // PIECE)
    limit = max(_BATCHES_AHEAD, -(-2 * threads // pieces))
    waiting: deque[Future[Batch]] = deque()
    for indices in batches:
        waiting.append(pool.batch(maker, epoch, indices))
        if len(waiting) > limit:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
