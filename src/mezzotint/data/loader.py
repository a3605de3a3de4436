"""In what order do samples come, and where in that order are we? The loader cuts a source into batches, epoch by epoch.

A loader is a place in an endless row of batches: ``epoch`` and ``position``, the number of batches of this epoch that
have been handed over. These rules move it, and nothing else does:

* ``for batch in loader`` goes on from the place to the end of the epoch.
* Handing over a batch moves ``position`` by one; batches that are only prefetched do not count.
* When the batches of the epoch are used up and one more is asked for (the ``for`` loop ends by itself), ``epoch`` moves
  by one and ``position`` to 0. After the last batch and before that, ``position == len(loader)``: a state saved there
  resumes with the end of that epoch, a loop without batches, so that what a program does after an epoch is done once.
* ``break``, an exception or a deleted iterator leaves the place as it is; the next loop goes on there.
* ``seek`` and ``load_state_dict`` set the place.

The order of an epoch depends on (seed, epoch), the pixels of a sample on (seed, epoch, sample); neither depends on
threads, processes or ranks, so the same place gives the same bits. A place counts whole batches, of all ranks together.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence
from operator import index as whole_number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.batch import Batch, Normalise
from mezzotint.data.maker import BatchMaker
from mezzotint.data.prefetch import Budget, Threads, Workers, ahead, in_caller
from mezzotint.data.processes import Processes
from mezzotint.data.quarantine import MAX_BAD, OnError, Quarantine, checked_policy
from mezzotint.data.random import Key
from mezzotint.data.source import Source
from mezzotint.data.transform import Transform
from mezzotint.errors import CheckpointError, ConfigError, DataError, RunError, message

_WHOLE_EPOCH = -1  # stands in the place of a sample's number in the key of the order
_STATE_VERSION = 1
PREFETCH_BYTES = 512 << 20
"""Default of ``prefetch_bytes``: three batches of 256 photographs."""


class Loader:
    """Batches of a source, in a seeded order, with an exact place that can be saved.

    Attributes:
        source: where samples come from.
        batch_size: samples in a batch; the last of an epoch may have fewer unless ``drop_last``.
        quarantine: the samples handed over so far that could not be read; empty under ``on_error="fail"``.
        waited: seconds that callers have waited for batches, over all passes.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform | None = None,
        *,
        batch_size: int,
        seed: int = 0,
        threads: int = 0,
        processes: int = 0,
        prefetch_bytes: int = PREFETCH_BYTES,
        shuffle: bool = True,
        drop_last: bool = False,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        shard: tuple[int, int] = (0, 1),
        on_error: OnError = "fail",
        max_bad: float = MAX_BAD,
    ) -> None:
        """A loader at epoch 0, position 0.

        Args:
            source: the samples.
            transform: (image uint8 [H, W, C], key) -> [C, H, W], uint8 or float32 in [0, 1]; None to change nothing.
            batch_size: at least 1.
            seed: of the order and of the transforms; taken modulo 2^64.
            threads: that make batches ahead of their use; 0 makes each in the calling thread when it is asked for.
            processes: in the place of threads, for sources and transforms that hold the interpreter lock. They start
                with the first pass, which takes seconds, and serve until :meth:`close`. The source and the transform
                must be picklable; a script must begin its work below ``if __name__ == "__main__":``.
            prefetch_bytes: of batches that are made before they are asked for, at most; one batch always may. Within
                it, as many are made as keep all workers busy.
            shuffle: a new order in each epoch; otherwise the source's own order.
            drop_last: leave out the last batch of an epoch if it is not full.
            mean: per channel, in units of the range 0 to 1; with ``std``.
            std: per channel.
            shard: (rank, number of ranks): of each batch only the samples rank, rank + number, ... The order, the place
                and what is done to a sample do not depend on it, so a place can be taken up by another number of ranks.
            on_error: what becomes of a sample that the source cannot read (``ImageError`` or ``DataError``): "fail"
                raises the error; "quarantine" puts another sample, drawn by (seed, epoch, sample), in its place and
                enters it into the report.
            max_bad: share of the samples that may be in the report, 0 to 1; one always may. With more the loader fails.

        Raises:
            ConfigError: a number is out of range, or the source is none.
            DataError: the source is too small for a single batch.
        """
        batch_size = _integer("batch_size", batch_size, 1)
        threads = _integer("threads", threads, 0)
        processes = _integer("processes", processes, 0)
        prefetch_bytes = _integer("prefetch_bytes", prefetch_bytes, 0)
        seed = _integer("seed", seed, None)
        if threads and processes:
            raise ConfigError(message("threads and processes", received=(threads, processes), allowed="one of the two"))
        _require_source(source)
        self.source = source
        self.batch_size = batch_size
        self.quarantine = Quarantine(source.describe(), len(source), max_bad)
        self.waited = 0.0
        self._threads, self._processes = threads, processes
        self._kept: Processes | None = None
        self._budget = Budget(prefetch_bytes)
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._seed = seed
        self._shard = _checked_shard(shard, batch_size)
        self._maker = BatchMaker(source, transform, Normalise(mean, std), seed, checked_policy(on_error))
        self._epoch = 0
        self._position = 0
        self._current: weakref.ref[Pass] | None = None
        if len(self) == 0:
            allowed = f"at least {batch_size if drop_last else 1}, one batch"
            raise DataError(message(source.describe(), received=f"{len(source)} samples", allowed=allowed))

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (1 if rest and not self._drop_last else 0)

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to, from 0 (see the rules above)."""
        return self._epoch

    @property
    def position(self) -> int:
        """How many batches of this epoch have been handed over, 0 to ``len(self)``."""
        return self._position

    def __iter__(self) -> Pass:
        """Go on from the place to the end of the epoch. Only one pass is live: an older one ends with an error."""
        self._end_pass()
        current = Pass(self)
        self._current = weakref.ref(current)
        return current

    def seek(self, epoch: int, position: int = 0) -> None:
        """Set the place; ``position`` is 0 to ``len(self)``. A pass that is under way ends."""
        epoch, position = _integer("epoch", epoch, 0), _integer("position", position, 0)
        if position > len(self):
            raise ConfigError(message("position", received=position, allowed=f"0 to {len(self)}, batches of an epoch"))
        self._end_pass()
        self._epoch, self._position = epoch, position

    def batch_at(self, epoch: int, position: int) -> Batch:
        """Any batch, made now; the place does not move.

        Raises:
            ConfigError: there is no such epoch or batch.
        """
        epoch = _integer("epoch", epoch, 0)
        if not 0 <= position < len(self):
            raise ConfigError(message("position", received=position, allowed=f"0 to {len(self) - 1}"))
        return self._maker.batch(epoch, self.batches(epoch)[position])

    def sample_at(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Sample ``index`` as that epoch sees it: [C, H, W] after the transform, not normalised; and its label."""
        sample = self._maker.sample(epoch, whole_number(index))
        return sample.image, sample.label

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The samples of an epoch in their order, without those that ``drop_last`` leaves out."""
        used = min(len(self) * self.batch_size, len(self.source))
        if not self._shuffle:
            return np.arange(used)
        key = Key(self._seed, epoch, _WHOLE_EPOCH).child("order")
        return key.permutation(len(self.source))[:used]

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The samples of each batch of an epoch: of a shard, its part of each that it has a part of."""
        order, (rank, ranks) = self.order(epoch), self._shard
        whole = (order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size))
        return [part for batch in whole if len(part := batch[rank::ranks])]

    def state_dict(self) -> dict[str, Any]:
        """The place, what the order depends on, and the quarantine if it has anything; plain values, fit for JSON."""
        state = {"version": _STATE_VERSION, "epoch": self._epoch, "position": self._position, **self._fixed()}
        return {**state, "quarantine": self.quarantine.records()} if self.quarantine else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved place: the next loop goes on with the batch after the last that was handed over.

        Raises:
            CheckpointError: the state is damaged, or belongs to a loader with another order.
        """
        for name, here in {"version": _STATE_VERSION, **self._fixed()}.items():
            if state.get(name) != here:
                fix = "Make the loader with the settings of the run that is to be resumed."
                raise CheckpointError(
                    message(f"loader state: {name}", received=state.get(name), allowed=f"{here}", fix=fix)
                )
        epoch, position = state.get("epoch"), state.get("position")
        quarantine = self.quarantine.restored(state.get("quarantine", []))
        try:
            self.seek(epoch, position)  # type: ignore[arg-type]
        except ConfigError as error:
            raise CheckpointError(f"loader state: {error}") from error
        self.quarantine = quarantine

    def close(self) -> None:
        """End a pass that is under way, and the processes; the place stays, and a next loop starts them again."""
        self._end_pass()
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _fixed(self) -> dict[str, Any]:
        """What must be equal for a place to mean the same samples."""
        return {
            "seed": self._seed,
            "samples": len(self.source),
            "batch_size": self.batch_size,
            "shuffle": self._shuffle,
            "drop_last": self._drop_last,
        }

    def _end_pass(self) -> None:
        current = self._current() if self._current is not None else None
        self._current = None
        if current is not None:
            current.close()

    def _workers(self) -> Workers | None:
        """What makes the batches of the next pass, or None for the calling thread. Threads serve a single pass."""
        if self._threads:
            return Threads(self._threads, self._maker)
        if self._kept is not None:
            try:
                self._kept.drop_answers()
            except BaseException:
                self.close()
                raise
        elif self._processes:
            self._kept = Processes(self._processes, self._maker)
        return self._kept

    def _pass_ended(self, workers: Workers | None, *, failed: bool) -> None:
        """Processes are kept for the next pass, unless nobody knows what they are doing."""
        if workers is None or (workers is self._kept and not failed):
            return
        workers.close()
        self._kept = None

    def _deliver(self, batch: Batch) -> None:
        self.quarantine.add(batch.bad)
        self._position += 1

    def _epoch_ended(self) -> None:
        self._epoch, self._position = self._epoch + 1, 0
        self._current = None

    def __repr__(self) -> str:
        return f"Loader({self.source.describe()}; {len(self)} batches; epoch {self._epoch}, position {self._position})"


class Pass:
    """One way from a loader's place to the end of its epoch. Closing or dropping it ends its threads."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._state = "live"
        self._workers: Workers | None = None
        batches = loader.batches(loader.epoch)[loader.position :]
        self._batches: Iterator[Batch]
        if batches and (workers := loader._workers()) is not None:
            self._workers = workers
            self._batches = ahead(workers, loader._budget, loader.epoch, batches)
        else:
            self._batches = in_caller(loader._maker, loader.epoch, batches)

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> Batch:
        """The next batch; the loader's place moves with it.

        Raises:
            StopIteration: the epoch has ended; the loader has moved to the next one.
            RunError: the pass was closed, or ended by another loop over the same loader, ``seek`` or a loaded state.
            ImageError, DataError: a sample could not be read; it is named. The place has not moved.
        """
        if self._state == "ended":
            raise StopIteration
        if self._state == "closed":
            raise RunError("This pass over the loader is closed, or another one began; only one can be live at a time.")
        began = time.perf_counter()
        try:
            batch = next(self._batches)
            self._loader._deliver(batch)
        except StopIteration:
            self.close()
            self._state = "ended"
            self._loader._epoch_ended()
            raise
        except BaseException:
            self._end(failed=True)
            raise
        finally:
            self._loader.waited += time.perf_counter() - began
        return batch

    def close(self) -> None:
        """End the pass; the loader stays where it is."""
        self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        if self._state == "live":
            self._state = "closed"
            self._loader._pass_ended(self._workers, failed=failed)


def _checked_shard(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    rank, ranks = shard
    if not 0 <= rank < ranks:
        raise ConfigError(message("shard", received=shard, allowed="(rank, number of ranks), counted from 0"))
    if ranks > batch_size:
        raise ConfigError(
            message("batch_size", received=batch_size, allowed=f"at least {ranks}, an image for each rank")
        )
    return rank, ranks


def _require_source(source: object) -> None:
    if not isinstance(source, Source):
        raise ConfigError(
            message(
                "source",
                received=f"an object of type {type(source).__name__}",
                allowed="what open_source returns, or anything with the methods of mezzotint.data.Source",
                fix="mezzotint.data.from_dataset makes one of a torch Dataset.",
            )
        )


def _integer(name: str, value: Any, low: int | None) -> int:
    """The value as Python's own integer, whichever type of integer it has."""
    try:
        number = None if isinstance(value, bool) else whole_number(value)
    except TypeError:
        number = None
    if number is None or (low is not None and number < low):
        allowed = "an integer" if low is None else f"an integer of at least {low}"
        raise ConfigError(message(name, received=value, allowed=allowed))
    return number
