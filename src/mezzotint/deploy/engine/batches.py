"""Which program runs a batch? One for any number of images, and where it pays one for many, made when it is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from mezzotint.deploy.engine.compile import Compiled


class Batches:
    """Programs for inputs of one size.

    Args:
        alone: for any batch.
        make: the one in which images lie abreast, or None where it would gain nothing; called once, when a batch is
            large enough for it.
        least: images for each thread from which on a batch is large enough.
    """

    def __init__(self, alone: Compiled, make: Callable[[], Compiled | None], least: int) -> None:
        self.alone = alone
        self.abreast: Compiled | None = None
        self._make, self._least = make, least
        self._is_made = False
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], batch: int, threads: int) -> None:
        """As :meth:`NativeProgram.run`."""
        if batch < self._least * threads:
            self.alone.program.run(inputs, outputs, batch, threads)
            return
        for compiled, first, last in self._parts(batch, threads):
            some = [x[first:last] for x in inputs], [y[first:last] for y in outputs]
            compiled.program.run(*some, last - first, threads)

    def run_arrays(self, inputs: list[Any], outputs: list[Any], batch: int, threads: int) -> bool:
        """As :meth:`NativeProgram.run_arrays`."""
        if batch < self._least * threads:
            return self.alone.program.run_arrays(inputs, outputs, batch, threads)
        return all(
            compiled.program.run_arrays(
                [x[first:last] for x in inputs], [y[first:last] for y in outputs], last - first, threads
            )
            for compiled, first, last in self._parts(batch, threads)
        )

    def _parts(self, batch: int, threads: int) -> list[tuple[Compiled, int, int]]:
        """Whole rounds of each thread, and the rest: what runs them, the first image, and the first one behind."""
        abreast = self._made()
        if abreast is None:
            return [(self.alone, 0, batch)]
        rounds = batch - batch % (abreast.images * threads)
        parts = [(abreast, 0, rounds), (self.alone, rounds, batch)]
        return [part for part in parts if part[1] < part[2]]

    def _made(self) -> Compiled | None:
        if not self._is_made:
            with self._lock:
                if not self._is_made:
                    self.abreast = self._make()
                    self._is_made = True
        return self.abreast
