"""Where do native activations lie? In blocks of huge pages that are used again, step after step.

A training step makes and drops hundreds of megabytes of activations. The C library gives large blocks back to the
system, which then clears every page anew: on a Zen 4 core that takes ten times as long as the sparse convolution that
fills them. Here a block that nobody holds any more waits for the next tensor of about its size. Used and waiting blocks
together never take more than twice what was in use at one time: the sizes that were wanted longest ago give way.
:func:`release` gives all that wait back. Batches of images lie here as well.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

#: Smaller tensors are PyTorch's business: the C library keeps their memory.
_SMALL = 1 << 17
_HUGE_PAGE = 2 << 20
#: Of the most that was ever in use; the steps of a training loop need less than this to find all blocks again.
_HELD_AT_MOST = 2
#: Sizes are rounded up so that tensors of almost equal size share blocks; at most an eighth is wasted.
_STEPS = 8


class Arena:
    """Blocks of memory by size: those in use are known to their tensors alone, those that are free wait here."""

    def __init__(self) -> None:
        self._free: dict[int, list[mmap.mmap]] = {}  # the size that was wanted longest ago comes first
        self._used = self._waiting = self._most_used = 0  # bytes
        self._lock = threading.RLock()  # a block may come home during garbage collection inside take()

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised contiguous tensor, 64-byte aligned."""
        count = math.prod(shape)
        if count * dtype.itemsize < _SMALL:
            return torch.empty(tuple(shape), dtype=dtype)
        block = self._take(_rounded(count * dtype.itemsize))
        # The array keeps the block alive for as long as a tensor uses it, and brings it home afterwards.
        lease = (ctypes.c_char * len(block)).from_buffer(block)
        weakref.finalize(lease, self._give, block).atexit = False
        return torch.frombuffer(lease, dtype=dtype, count=count).view(tuple(shape))

    def release(self) -> int:
        """Give all free blocks back to the system; returns their bytes."""
        with self._lock:
            freed, self._waiting = self._waiting, 0
            self._free.clear()
        return freed

    def _take(self, size: int) -> mmap.mmap:
        with self._lock:
            self._used += size
            self._most_used = max(self._most_used, self._used)
            blocks = self._free[size] = self._free.pop(size, [])
            if blocks:
                self._waiting -= size
                return blocks.pop()
            self._make_room()
        try:
            block = mmap.mmap(-1, size)
        except BaseException:
            with self._lock:
                self._used -= size
            raise
        if hasattr(mmap, "MADV_HUGEPAGE") and size >= _HUGE_PAGE:
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _make_room(self) -> None:
        for size in list(self._free):
            blocks = self._free[size]
            while blocks and self._used + self._waiting > _HELD_AT_MOST * self._most_used:
                blocks.pop()
                self._waiting -= size
            if not blocks:
                del self._free[size]

    def _give(self, block: mmap.mmap) -> None:
        with self._lock:
            self._used -= len(block)
            self._waiting += len(block)
            self._free.setdefault(len(block), []).append(block)


def _rounded(size: int) -> int:
    """The size class of ``size``: a multiple of an eighth of its power of two, and of a page."""
    step = max(mmap.PAGESIZE, (1 << (size.bit_length() - 1)) // _STEPS)
    return -(-size // step) * step


_arena = Arena()
empty = _arena.empty
release = _arena.release
