"""How do other processes make batches? Each has a pipe for what it shall make; the pixels come back in shared memory.

The workers are spawned, not forked: a fork copies locks that other threads hold. They cost seconds to start, so they
serve all epochs of a loader. Python's own pools are not used, since their workers outlive a parent that is killed: each
of them holds both ends of the common queue. Here a worker leaves when its pipe has ended, and for no other reason: what
Ctrl-C or a scheduler's SIGTERM mean is for this process to decide, which perhaps wants to finish its step and save.

Shared memory is that of ``torch.multiprocessing``: on Linux it has no name once it exists, so it is gone with the last
process that holds it, however that one ends.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.batch import Batch, index_tensor
from mezzotint.data.maker import BatchMaker
from mezzotint.data.quarantine import BadSample
from mezzotint.errors import ConfigError, RunError, message

_PATIENCE = 5.0  # seconds in which a worker may finish its batch and end by itself


class WorkerTraceback(Exception):
    """Where in a worker process an error was raised; the cause of the error in this process."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


@dataclass(frozen=True, slots=True)
class _Made:
    """What a worker sends of a batch; its indices are known here."""

    images: Tensor
    labels: NDArray[np.int64]
    bad: tuple[BadSample, ...]


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a worker sends in the place of a batch."""

    error: BaseException
    trace: str


class Processes:
    """Worker processes of a loader. They end when ``close`` is called, when they are garbage, or with this process."""

    def __init__(self, number: int, maker: BatchMaker) -> None:
        """Start ``number`` processes, each of which has a copy of ``maker`` and uses one thread.

        Raises:
            ConfigError: the source or the transform cannot be sent to another process.
        """
        workers: list[_Worker] = []
        self._number = number
        # Of multiprocessing, so that at the end of the interpreter it comes before multiprocessing waits for children.
        self._finalizer = Finalize(self, _end, (workers,), exitpriority=1)
        with _signals_held():
            for _ in range(number):
                workers.append(_Worker(maker))  # noqa: PERF401 - when one fails, those before it must be ended
        self._workers, self._next = workers, cycle(workers)

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> _Worker:
        """Begin to make a batch. Workers take turns and answer in order: each is the promise of its oldest batch."""
        worker = next(self._next)
        worker.ask(epoch, indices)
        return worker

    def busy(self, samples: int) -> int:
        """One batch in the making and one waiting for each process."""
        return 2 * self._number

    def drop_answers(self) -> None:
        """Wait for what a pass that was left early had asked for, and drop it."""
        for worker in self._workers:
            worker.drop_answers()

    def close(self) -> None:
        """End the processes, whatever they are doing; they may finish a batch that takes no longer than seconds."""
        self._finalizer()


class _Worker:
    """A process, seen from here."""

    def __init__(self, maker: BatchMaker) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, maker), daemon=True)
        self._asked: deque[NDArray[np.int64]] = deque()
        try:
            self.process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self._pipe.close()
            raise ConfigError(
                message(
                    "processes",
                    received=f"a source or transform that cannot be pickled ({error})",
                    allowed="one that can be sent to another process",
                    fix="Define its classes and functions at the top of a module (no lambdas), or use threads.",
                )
            ) from error
        finally:
            theirs.close()

    def ask(self, epoch: int, indices: NDArray[np.int64]) -> None:
        """Ask for a batch."""
        self._asked.append(indices)
        try:
            self._pipe.send((epoch, indices))
        except OSError as error:
            raise self._died() from error

    def result(self) -> Batch:
        """The batch that was asked for first.

        Raises:
            RunError: the process has died.
            BaseException: what was raised in it.
        """
        indices, answer = self._answer()
        if isinstance(answer, _Failed):
            raise answer.error from WorkerTraceback(answer.trace)
        return Batch(answer.images, torch.from_numpy(answer.labels), index_tensor(indices), answer.bad)

    def drop_answers(self) -> None:
        """Receive and forget everything that was asked for."""
        while self._asked:
            self._answer()

    def _answer(self) -> tuple[NDArray[np.int64], _Made | _Failed]:
        """The oldest request and what became of it."""
        try:
            answer: _Made | _Failed = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        return self._asked.popleft(), answer

    def leave(self) -> None:
        """Let the process end with what it is doing; :meth:`gone` makes sure of it."""
        self._pipe.close()

    def gone(self) -> None:
        """Wait for the end of the process, not for long."""
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def _died(self) -> RunError:
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        fix = "What it printed tells the reason. A script must begin its work below `if __name__ == '__main__':`."
        if code in (-signal.SIGBUS, -signal.SIGKILL):
            fix = "Memory ran out, perhaps the shared one (/dev/shm): use fewer processes, smaller batches, or threads."
        return RunError(message("loader process", received=f"its end (exit code {code})", allowed="alive", fix=fix))


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.leave()
    for worker in workers:
        worker.gone()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes started inside never see the signals that a terminal or a scheduler sends to all processes of a job.

    They inherit the block. A signal that comes meanwhile reaches this process at the end.
    """
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and lifts the block then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, maker: BatchMaker) -> None:
    """The life of a worker process."""
    torch.set_num_threads(1)
    sys.excepthook = _unless_the_parent_is_gone
    with suppress(EOFError, ConnectionError):  # the parent wants no more, or is gone
        while True:
            epoch, indices = pipe.recv()
            pipe.send(_made(maker, epoch, indices))


def _unless_the_parent_is_gone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """multiprocessing's own thread, which hands pixels over, ends like this when the parent ends meanwhile."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _made(maker: BatchMaker, epoch: int, indices: NDArray[np.int64]) -> _Made | _Failed:
    try:
        batch = maker.batch(epoch, indices)
        return _Made(batch.images.share_memory_(), batch.labels.numpy(), batch.bad)
    except BaseException as error:  # noqa: BLE001 - handed on to the process that asks for the batch
        return _Failed(_portable(error), traceback.format_exc())


def _portable(error: BaseException) -> BaseException:
    """The error, if it survives the way; otherwise one with its type and its text in words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign exception may fail in any way
        return RunError(f"{type(error).__module__}.{type(error).__qualname__} in a loader process: {error}")
    return error
