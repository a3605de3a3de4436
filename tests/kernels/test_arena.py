"""Does memory of activations come back, does it stay small, and does nobody's place go to anybody else?"""

from __future__ import annotations

import gc
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.kernels.arena import Arena
from mezzotint.kernels.intervals import Intervals

MEGABYTE = 1 << 18  # of float32


def held(arena: Arena) -> int:
    """Bytes that the arena has touched, in use or not."""
    return sum(region.touched.total for region in arena._regions)


def test_memory_is_used_again_and_given_back() -> None:
    shape, arena = (1 << 20,), Arena()
    first = arena.empty(shape, torch.float32)
    address, view = first.data_ptr(), first[5:]
    del first
    assert arena.empty(shape, torch.float32).data_ptr() != address, "a view still holds the place"
    del view
    assert address in {arena.empty(shape, torch.float32).data_ptr() for _ in range(3)}
    assert arena.release() == 8 << 20
    assert arena.release() == 0


def test_tensors_of_any_sizes_lie_where_others_lay() -> None:
    arena = Arena()
    for size in range(10, 40):  # thirty sizes, one at a time
        arena.empty((size * MEGABYTE,), torch.float32)
    assert held(arena) <= 40 << 20
    for sizes in ((30, 20, 10), (10, 20, 30), (5, 25, 15, 15)):
        together = [arena.empty((size * MEGABYTE,), torch.float32) for size in sizes]
        del together
    assert held(arena) == 60 << 20


def test_a_step_that_comes_again_touches_no_fresh_memory() -> None:
    """As a network does: each tensor ends when the one behind it was made."""
    arena, sizes = Arena(), [3, 1, 7, 2, 2, 9, 4, 1, 5]

    def step() -> None:
        last = arena.empty((MEGABYTE,), torch.float32)
        for size in sizes:
            last = arena.empty((size * MEGABYTE,), torch.float32)
        del last

    step()
    before = held(arena)
    for _ in range(20):
        step()
    assert held(arena) == before <= 16 << 20, "13 MB are in use at one time; gaps may remain"


def test_contents_are_nobody_elses() -> None:
    arena, draw, alive = Arena(), random.Random(0), []
    for number in range(400):
        tensor = arena.empty((draw.randrange(1 << 15, 1 << 19),), torch.float32).fill_(number)
        alive.append((number, tensor))
        del tensor
        draw.shuffle(alive)
        for _ in range(draw.randrange(3)):
            if alive:
                number, tensor = alive.pop()
                assert bool((tensor == number).all())
    assert held(arena) <= 2 * arena._most_used


def test_more_than_a_region_is_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.kernels.arena._REGION", 1 << 22)
    arena = Arena()
    tensors = [arena.empty((size * MEGABYTE,), torch.float32).fill_(size) for size in (3, 3, 9, 1)]
    assert len(arena._regions) == 3
    assert [float(tensor[-1]) for tensor in tensors] == [3, 3, 9, 1]


def test_a_tensor_outlives_the_arena() -> None:
    tensor = Arena().empty((MEGABYTE,), torch.float32).fill_(7)
    gc.collect()
    assert float(tensor.sum()) == 7 * MEGABYTE


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(1, 12)), max_size=30), st.integers(0, 50))
def test_intervals_are_a_set(changes: list[tuple[bool, int, int]], begin: int) -> None:
    intervals, wanted = Intervals(), set[int]()
    for added, first, length in changes:
        part = range(first, first + length)
        if added:
            intervals.add(first, first + length)
            wanted |= set(part)
        else:
            intervals.remove(first, first + length)
            wanted -= set(part)
    found = list(intervals)
    assert [number for low, high in found for number in range(low, high)] == sorted(wanted)
    assert all(end < later for (_, end), (later, _) in pairwise(found)), "none touch"
    assert intervals.total == len(wanted)
    inside = [number for low, high in intervals.within(begin, begin + 9) for number in range(low, high)]
    assert inside == sorted(wanted & set(range(begin, begin + 9)))
