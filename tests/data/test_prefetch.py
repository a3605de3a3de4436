"""Is no more made ahead than the budget of bytes allows, and is the time told that callers waited?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loader_parts import Drawn
from numpy.typing import NDArray

from mezzotint.data import Batch, Loader
from mezzotint.data.prefetch import Budget, ahead


class AtOnce:
    """Workers that finish every batch as soon as they are asked."""

    def __init__(self, sizes: list[int], busy: int) -> None:
        self.sizes, self.often = sizes, busy
        self.made: list[Batch] = []

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Future[Batch]:
        images = torch.zeros(self.sizes[len(self.made)], dtype=torch.float32)
        self.made.append(Batch(images, torch.empty(0), torch.empty(0)))
        done: Future[Batch] = Future()
        done.set_result(self.made[-1])
        return done

    def busy(self, samples: int) -> int:
        return self.often

    def close(self) -> None: ...


def waiting(workers: AtOnce, budget: Budget) -> Iterator[list[int]]:
    """The bytes of the batches that wait, after each one that is handed over."""
    batches = [np.arange(1)] * len(workers.sizes)
    for number, batch in enumerate(ahead(workers, budget, 0, batches), 1):
        assert batch is workers.made[number - 1]
        yield [other.nbytes for other in workers.made[number:]]


@given(size=st.integers(1, 50), count=st.integers(1, 12), limit=st.integers(0, 2000), busy=st.integers(1, 9))
def test_finished_batches_stay_within_the_budget(size: int, count: int, limit: int, busy: int) -> None:
    workers, budget = AtOnce([size] * count, busy), Budget(limit)
    seen = list(waiting(workers, budget))
    assert len(seen) == count
    for number, sizes in enumerate(seen, 1):
        assert len(sizes) <= 1 or sum(sizes) <= limit
        assert len(sizes) >= min(1, count - number), "one batch may always wait"
        assert len(sizes) <= max(2, busy)
    if limit >= 2000:
        assert len(seen[0]) >= 1


def test_workers_are_kept_busy_where_the_budget_allows_it() -> None:
    budget = Budget(1 << 20)
    first = [len(sizes) for sizes in waiting(AtOnce([4] * 20, busy=5), budget)]
    again = [len(sizes) for sizes in waiting(AtOnce([4] * 20, busy=5), budget)]
    assert first[:3] == [1, 5, 5], "the first batch shows how large they are"
    assert again[:3] == [5, 5, 5]


def test_a_larger_batch_makes_room() -> None:
    sizes = [len(sizes) for sizes in waiting(AtOnce([1] * 3 + [100] * 12, busy=4), Budget(810))]
    assert sizes[:2] == [1, 4]
    assert sizes[3:] == [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 1, 0], "what is under way is finished"


@pytest.mark.parametrize(("limit", "most"), [(0, 1), (20_000, 1), (31_000, 2), (1 << 30, 8)])
def test_a_slow_consumer_is_not_drowned(limit: int, most: int) -> None:
    """Batches of 8 images of 11 x 11 pixels: 11,744 bytes."""
    read: list[int] = []

    class Counted(Drawn):
        def read(self, index: int) -> tuple[torch.Tensor, int]:
            read.append(index)
            return super().read(index)

    loader = Loader(Counted(200, size=11), batch_size=8, threads=4, prefetch_bytes=limit, shuffle=False)
    for number, batch in enumerate(loader, 1):
        assert batch.nbytes == 8 * (11 * 11 * 3 * 4 + 16)
        time.sleep(0.01)
        assert len(read) <= 8 * (number + most)


@pytest.mark.parametrize("threads", [0, 1])
def test_the_time_that_callers_waited(threads: int) -> None:
    loader = Loader(Drawn(6), batch_size=2, threads=threads)
    assert loader.waited == 0
    next(iter(loader))
    first = loader.waited
    assert first > 0
    list(loader)
    assert loader.waited > first
