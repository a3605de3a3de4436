"""How are batches made ahead of their use? By workers, delivered in order, no more than a budget of bytes allows.

The workers are threads (here) or processes (``processes.py``). For threads a batch is divided into pieces of a few
samples, so that all of them work on the batch that is needed next; the thread that finishes the last piece puts the
batch together. Decoders and PyTorch release the interpreter lock while they work.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.batch import Batch
from mezzotint.data.maker import PIECE, BatchMaker, Sample
from mezzotint.errors import RunError, message

_BATCHES_AHEAD = 2
_numbers = count()


class Promise(Protocol):
    """A batch that is being made."""

    def result(self) -> Batch:
        """Wait for it; what went wrong in its making is raised here."""
        ...


class Workers(Protocol):
    """Whatever makes batches beside the calling thread."""

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Promise:
        """Begin to make a batch."""
        ...

    def busy(self, samples: int) -> int:
        """How many batches of so many samples keep all workers busy, and some over."""
        ...

    def close(self) -> None:
        """Drop what is under way, and end the workers."""
        ...


class Budget:
    """How many batches may wait, by the bytes of the largest batch so far; one may always."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of finished batches that nobody has asked for yet."""
        self._limit = limit
        self._largest = 0

    def batches(self) -> int:
        """How many may be under way or wait; one until the first batch has shown its size."""
        return max(1, self._limit // self._largest) if self._largest else 1

    def saw(self, batch: Batch) -> None:
        """Take note of a batch's size."""
        self._largest = max(self._largest, batch.nbytes)


def in_caller(maker: BatchMaker, epoch: int, batches: list[NDArray[np.int64]]) -> Iterator[Batch]:
    """The batches, each made when it is asked for."""
    return (maker.batch(epoch, indices) for indices in batches)


def ahead(workers: Workers, budget: Budget, epoch: int, batches: list[NDArray[np.int64]]) -> Iterator[Batch]:
    """The batches in order, made ahead: as many as keep all workers busy, at least two, as far as the budget allows."""
    left = iter(batches)
    most = max(_BATCHES_AHEAD, workers.busy(len(batches[0])))
    waiting: deque[Promise] = deque()

    def begin() -> None:
        while len(waiting) < min(most, budget.batches()) and (indices := next(left, None)) is not None:
            waiting.append(workers.batch(epoch, indices))

    begin()
    while waiting:
        asked_for = waiting.popleft()
        begin()  # what somebody waits for does not count as waiting itself
        batch = asked_for.result()
        budget.saw(batch)
        yield batch


class Threads:
    """Threads for one pass. They end when ``close`` is called, when they are garbage, or with the interpreter."""

    def __init__(self, number: int, maker: BatchMaker) -> None:
        """Start ``number`` threads, each of which uses a single thread inside of PyTorch's operations.

        ``torch.set_num_threads`` sets the number of the calling thread, but also the number that threads started later
        begin with. So all start now, and the caller's number is set again after the last of them.
        """
        before = torch.get_num_threads()
        self._number, self._maker = number, maker
        self._prefix = f"mezzotint-loader-{next(_numbers)}"
        self._executor = ThreadPoolExecutor(number, self._prefix, initializer=_use_one_thread)
        started = threading.Barrier(number + 1)
        try:
            for _ in range(number):
                self._executor.submit(started.wait)
        except RuntimeError as error:  # the system gives no more threads
            started.abort()
            allowed = "as many threads as the system gives this process"
            raise RunError(message("threads", received=number, allowed=allowed, fix="Use fewer.")) from error
        started.wait()
        torch.set_num_threads(before)
        self._finalizer = weakref.finalize(self, _shut_down, self._executor, self._prefix)

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Promise:
        """Begin to make a batch."""
        if self._maker.at_once:
            return self._executor.submit(self._maker.batch, epoch, indices)
        job = _Job(self._maker, epoch, indices)
        for place in range(len(job.pieces)):
            self._executor.submit(job.run, place)
        return job.done

    def busy(self, samples: int) -> int:
        """Two pieces a thread."""
        pieces = 1 if self._maker.at_once else -(-samples // PIECE)
        return -(-2 * self._number // pieces)

    def close(self) -> None:
        """Drop what has not been begun, and wait for the threads to end."""
        self._finalizer()


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
