"""Where do native activations lie? In a few large pieces of memory on huge pages, used again step after step.

A training step makes and drops hundreds of megabytes of activations. The C library gives large blocks back to the
system, which then clears every page anew: on a Zen 4 core that takes ten times as long as the sparse convolution that
fills them. Here a tensor gets the lowest free place that it fits into, whatever lay there before, so that what a step
touches is little more than what it has in use at one time. Touched memory never exceeds twice that: free places give
way first. :func:`release` gives all free memory back. Batches of images lie in an arena of their own.

In a pass (:mod:`mezzotint.kernels.passes`) the calls that read and write a tensor are run after Python has dropped it.
So its place goes to nobody but the thread of the pass, whose calls are run in order. A pass that is done again without
Python asks for all the places that it had at once (:meth:`Arena.take_again`).
"""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mezzotint.kernels.intervals import Intervals

#: Smaller tensors are PyTorch's business: the C library keeps their memory.
_SMALL = 1 << 17
#: Address space of the first region; each further one is as large as all before it. Only what is touched takes memory.
_REGION = 1 << 30
#: Of the most that was ever in use; the steps of a training loop need less than this to find all places again.
_HELD_AT_MOST = 2


class _Region:
    """Address space that tensors are placed in."""

    def __init__(self, size: int) -> None:
        # Private: of shared memory, which is Python's default, the system makes no huge pages.
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(self.memory)
        self.begin = torch.frombuffer(self.view, dtype=torch.uint8).data_ptr()
        self.end = self.begin + size
        self.free = Intervals([(0, size)])
        self.touched = Intervals()

    def release(self) -> int:
        """Give the pages of all free places back; returns their bytes."""
        gone = [part for place in self.free for part in self.touched.within(*place)]
        for begin, end in gone:
            self.memory.madvise(mmap.MADV_DONTNEED, begin, end - begin)
            self.touched.remove(begin, end)
        return sum(end - begin for begin, end in gone)


_Place = tuple[_Region, int, int]
"""A region, and from which to which byte of it."""


class Footprint:
    """Places that were given away in a block."""

    def __init__(self) -> None:
        self._given: list[_Place] = []

    def add(self, place: _Place) -> None:
        """``place`` was given away."""
        self._given.append(place)

    @cached_property
    def places(self) -> tuple[_Place, ...]:
        """All of them, joined; worked out when the block is over."""
        regions: dict[_Region, Intervals] = {}
        for region, begin, end in self._given:
            regions.setdefault(region, Intervals()).add(begin, end)
        self._given.clear()
        return tuple((region, begin, end) for region, joined in regions.items() for begin, end in joined)


@dataclass(frozen=True)
class Lease:
    """Nobody else gets what it holds, for as long as it lasts."""

    views: tuple[memoryview, ...]


class Arena:
    """Places for tensors: those in use are known to their tensors alone, those that are free to their region."""

    def __init__(self) -> None:
        self._regions: list[_Region] = []
        self._used = self._most_used = 0  # bytes
        self._leases: dict[int, tuple[weakref.ref[memoryview], _Place]] = {}
        # A tensor may end during garbage collection, in the midst of anything: its place waits here to be noticed.
        self._home: deque[_Place] = deque()
        # Places that are free, by size: the next step wants the same ones, without a search.
        self._known: dict[int, list[_Place]] = defaultdict(list)
        self._lock = threading.Lock()
        self._kept_to: int | None = None  # a thread
        self._settle: Callable[[], None] | None = None
        self._footprint: Footprint | None = None

    @contextmanager
    def kept_to_this_thread(self, settle: Callable[[], None]) -> Iterator[None]:
        """Within the block other threads get PyTorch's memory; ``settle`` runs the calls that this one has noted."""
        with self._lock:
            self._kept_to, self._settle = threading.get_ident(), settle
        try:
            yield
        finally:
            with self._lock:
                self._kept_to = self._settle = None

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised contiguous tensor, 64-byte aligned."""
        count = math.prod(shape)
        if count * dtype.itemsize < _SMALL:
            return torch.empty(tuple(shape), dtype=dtype)
        with self._lock:
            if self._is_kept_from_us:
                return torch.empty(tuple(shape), dtype=dtype)
            place = self._take(-(-count * dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE)
        return torch.frombuffer(self._lend(place), dtype=dtype, count=count).view(tuple(shape))

    @contextmanager
    def leaves_footprint(self, footprint: Footprint) -> Iterator[None]:
        """``footprint`` gets the places that are given away within the block, in a pass of this thread alone."""
        if self._kept_to != threading.get_ident():
            yield
            return
        self._footprint = footprint
        try:
            yield
        finally:
            self._footprint = None

    def take_again(self, footprint: Footprint) -> Lease | None:
        """The whole footprint, for as long as the result lasts; ``None`` where anything else lies in it."""
        places = footprint.places
        with self._lock:
            if self._is_kept_from_us:
                return None
            self._notice()
            self._forget()
            if any(_length(region.free.within(begin, end)) < end - begin for region, begin, end in places):
                return None
            for region, begin, end in places:
                self._occupy(region, begin, end)
            self._used += sum(end - begin for _, begin, end in places)
            self._most_used = max(self._most_used, self._used)
        return Lease(tuple(self._lend(place) for place in places))

    def without_lease(self, tensor: Tensor) -> Tensor:
        """``tensor`` itself where its memory is not the arena's, else a twin that keeps nobody from its place."""
        address = tensor.data_ptr()
        if (region := self._region_of(address)) is None:
            return tensor
        offset = address - region.begin
        return torch.frombuffer(region.view, dtype=tensor.dtype, count=tensor.numel(), offset=offset).view(tensor.shape)

    def lends(self, tensor: Tensor) -> bool:
        """Whether the memory of ``tensor`` is the arena's."""
        return self._region_of(tensor.data_ptr()) is not None

    def holds(self, address: int) -> bool:
        """Whether the arena lends what lies there."""
        return self._region_of(address) is not None

    def release(self) -> int:
        """Give all free memory back to the system; returns its bytes. During another thread's pass: none."""
        with self._lock:
            if self._is_kept_from_us:
                return 0
            self._notice()
            return self._release()

    @property
    def _is_kept_from_us(self) -> bool:
        return self._kept_to is not None and self._kept_to != threading.get_ident()

    def _region_of(self, address: int) -> _Region | None:
        for region in self._regions:
            if region.begin <= address < region.end:
                return region
        return None

    def _lend(self, place: _Place) -> memoryview:
        """A view that keeps the region alive for as long as a tensor uses it, and the place from being given away."""
        region, begin, end = place
        lease = region.view[begin:end]
        ended = weakref.ref(lease, self._come_home)
        self._leases[id(ended)] = ended, place
        return lease

    def _come_home(self, ended: weakref.ref[memoryview]) -> None:
        self._home.append(self._leases.pop(id(ended))[1])

    def _take(self, size: int) -> _Place:
        self._notice()
        known = self._known[size]
        place = known.pop() if known else self._find(size)
        self._used += size
        self._most_used = max(self._most_used, self._used)
        if self._footprint is not None:
            self._footprint.add(place)
        return place

    def _notice(self) -> None:
        while self._home:
            place = self._home.popleft()
            size = place[2] - place[1]
            self._known[size].append(place)
            self._used -= size

    def _find(self, size: int) -> _Place:
        """The lowest place of ``size`` bytes; fresh memory is touched when all that is free was joined in vain."""
        region, begin = self._lowest(size)
        if self._fresh(region, begin, size):
            self._forget()
            region, begin = self._lowest(size)
            fresh = self._fresh(region, begin, size)
            held = sum(each.touched.total for each in self._regions)
            if fresh and held + fresh > _HELD_AT_MOST * max(self._most_used, self._used + size):
                self._release()
        self._occupy(region, begin, begin + size)
        return region, begin, begin + size

    @staticmethod
    def _occupy(region: _Region, begin: int, end: int) -> None:
        region.free.remove(begin, end)
        region.touched.add(begin, end)

    @staticmethod
    def _fresh(region: _Region, begin: int, size: int) -> int:
        return size - _length(region.touched.within(begin, begin + size))

    def _lowest(self, size: int) -> tuple[_Region, int]:
        for region in self._regions:
            for begin, end in region.free:
                if end - begin >= size:
                    return region, begin
        reserved = sum(len(region.memory) for region in self._regions)
        self._regions.append(_Region(max(size, reserved, _REGION)))
        return self._regions[-1], 0

    def _forget(self) -> None:
        """Free places may be cut and joined from now on."""
        for places in self._known.values():
            for region, begin, end in places:
                region.free.add(begin, end)
        self._known.clear()

    def _release(self) -> int:
        if self._settle is not None:  # what lies in a free place may still be read by a call that is only noted
            self._settle()
        self._forget()
        return sum(region.release() for region in self._regions)


def _length(intervals: Iterable[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in intervals)


_activations, _batches = Arena(), Arena()
empty = _activations.empty
leaves_footprint = _activations.leaves_footprint
take_again = _activations.take_again
without_lease = _activations.without_lease
empty_batch = _batches.empty
lends = _activations.lends
holds = _activations.holds
kept_to_this_thread = _activations.kept_to_this_thread


def release() -> int:
    """Give all free memory back to the system; returns its bytes. During another thread's pass: the batches' alone."""
    return _activations.release() + _batches.release()
