"""What did a stretch of a pass do, so that it can be done again? Its calls, and which memory they were told about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import Tensor

from mezzotint.kernels import arena, native

Work = Callable[[], object]

#: Numbers that a recording asks the arena for at a time: 1 MiB.
_ROOM = 1 << 18


class Recording:
    """What a stretch of a pass did, to be done again: native calls, and what Python did between them each time.

    Calls know addresses. Done again they are right as long as every tensor that they were told about lies where it lay:
    the pass's own (:meth:`own`) last as long as the recording, activations lie in the arena, and all others are known
    to who records, or the recording is of no use (:meth:`needs_only`).
    """

    def __init__(self) -> None:
        self._parts: list[Work] = []
        self._own: dict[int, Tensor] = {}
        self._heard_of: set[int] = set()
        self._differs = False
        self._room: Tensor | None = None

    @property
    def parts(self) -> Sequence[Work]:
        """To be done in order."""
        return self._parts

    def needs_only(self, tensors: Iterable[Tensor | None]) -> bool:
        """Whether, done again, it would do the same; ``tensors`` lie where they lay."""
        known = {tensor.data_ptr() for tensor in tensors if tensor is not None} | self._own.keys()
        return not self._differs and all(map(arena.holds, self._heard_of - known))

    @property
    def made_by_it(self) -> Collection[Tensor]:
        """The small tensors that last as long as it."""
        return self._own.values()

    def writes(self, tensor: Tensor | None) -> bool:
        """Whether ``tensor`` is memory of the recording, which it writes anew each time."""
        return tensor is None or not tensor.numel() or tensor.data_ptr() in self._own or arena.lends(tensor)

    def add(self, part: Work) -> None:
        """``part`` is done each time, after what was noted so far."""
        self.cut()
        self._parts.append(part)

    def cut(self) -> None:
        """What was noted up to here is one part."""
        kept = native.extension().cut()
        if not kept.is_empty:
            self._parts.append(kept.do_again)

    def hear_of(self, tensor: Tensor) -> None:
        """A call was told about ``tensor``."""
        if tensor.numel():
            self._heard_of.add(tensor.data_ptr())

    def own(self, tensor: Tensor) -> None:
        """``tensor``, which is not the arena's, was made for the calls."""
        self._own[tensor.data_ptr()] = tensor

    def room(self, count: int) -> Tensor:
        """Float32 ``[count]`` of the arena, however small, so that nothing of it is kept from pass to pass."""
        if count == 0:
            return torch.empty(0)
        if self._room is None or count > self._room.numel():
            self._room = arena.empty((max(count, _ROOM),), torch.float32)
        piece, self._room = self._room[:count], self._room[-(-count // 16) * 16 :]
        return piece

    def end(self) -> None:
        """Nothing is added any more."""
        self.cut()
        self._room = None

    def differs(self) -> None:
        """Something in it would be different next time."""
        self._differs = True
