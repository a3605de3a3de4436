"""Where does a dense kernel put a sparse layer's weight? Into one scratch weight a thread, which every call reuses.

A thread holds one buffer, whatever the types and sizes of its layers, so at most one layer's dense weight exists at a
time, and none of more than :data:`KEPT` bytes between calls. Its content means nothing outside of the call: results of
custom operators are fresh tensors, and what autograd saves are activations, values and indices.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mezzotint.kernels import native

#: Bytes that a thread keeps at most; a larger weight is allocated for its call alone.
KEPT = 64 << 20
#: What the native library scatters: types, rounds and writes zeros in one pass.
_NATIVE = frozenset((torch.float32, torch.bfloat16, torch.float16))


class _Slot:
    """The buffer of a thread while no call uses it."""

    buffer: Tensor | None = None


class _Thread(threading.local):
    """Makes every thread's slot, and lists it so that another thread can free it."""

    def __init__(self) -> None:
        self.slot = _Slot()
        with _lock:
            _slots.add(self.slot)


_lock = threading.Lock()
_slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
_thread = _Thread()


@contextmanager
def dense_weight(
    values: Tensor, indices: Tensor, weight_shape: Sequence[int], rounded_to: torch.dtype, dtype: torch.dtype
) -> Iterator[Tensor]:
    """The dense weight of ``values [nnz]`` at ``indices [nnz]``, zeros elsewhere; valid inside of the context only.

    Autograd is off inside: a graph that saved the weight would find another layer's numbers in it.

    Args:
        rounded_to: the type whose precision the values get (the working copy).
        dtype: the type of the weight, at least as wide.
    """
    numel = math.prod(weight_shape)
    with torch.no_grad(), _bytes(numel * dtype.itemsize, values.device) as buffer:
        flat = buffer[: numel * dtype.itemsize].view(dtype)
        if values.device.type == "cpu" and {values.dtype, rounded_to, dtype} <= _NATIVE and not native.unavailable():
            native.scatter(values.resolve_neg(), indices, flat, rounded_to)
        else:
            flat.zero_().index_copy_(0, indices.long(), values.to(rounded_to).to(dtype))
        yield flat.view(list(weight_shape))


def release_scratch() -> int:
    """Give the scratch memory of all kernels, in all threads, back to the system; returns its bytes.

    A call that is under way keeps what it uses. The next call that needs scratch memory allocates it anew.
    """
    with _lock:
        slots = list(_slots)
    freed = 0 if native.unavailable() else native.release_scratch()
    for slot in slots:
        buffer, slot.buffer = slot.buffer, None
        freed += 0 if buffer is None else buffer.numel()
    return freed


@contextmanager
def _bytes(count: int, device: torch.device) -> Iterator[Tensor]:
    """At least ``count`` bytes; the thread's buffer on a CPU, where nothing runs after a call has returned."""
    if device.type != "cpu" or count > KEPT:
        yield _empty(count, device)
        return
    # The slot is empty while its buffer is used: a call within the call would get another one.
    slot = _thread.slot
    buffer, slot.buffer = slot.buffer, None
    if buffer is None or buffer.numel() < count:
        del buffer  # before its successor is allocated
        buffer = _empty(count, device)
    try:
        yield buffer
    finally:
        slot.buffer = buffer


def _empty(count: int, device: torch.device) -> Tensor:
    # A tensor made in inference mode could not be written to outside of it.
    with torch.inference_mode(False):
        return torch.empty(count, dtype=torch.uint8, device=device)
