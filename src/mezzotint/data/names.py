"""How are the names of a million samples kept without a million Python objects? In one byte string with offsets.

Lists of strings or paths make worker memory grow, since reading them touches every object's reference count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


class PackedNames:
    """An immutable sequence of strings: UTF-8 bytes end to end, and int64 offsets [N + 1]."""

    def __init__(self, names: Iterable[str]) -> None:
        blob = bytearray()
        offsets = [0]
        for name in names:
            blob += name.encode("utf-8", "surrogateescape")
            offsets.append(len(blob))
        self._blob: bytes | memoryview = bytes(blob)
        self._offsets = np.array(offsets, dtype=np.int64)

    @classmethod
    def packed(cls, blob: bytes | memoryview, offsets: NDArray[np.int64]) -> PackedNames:
        """Names that are packed already, without a copy."""
        names = cls.__new__(cls)
        names._blob, names._offsets = blob, offsets
        return names

    @property
    def columns(self) -> tuple[bytes, NDArray[np.int64]]:
        """The bytes end to end, and where each name begins and the last one ends: int64 [N + 1]."""
        return bytes(self._blob), self._offsets

    def __len__(self) -> int:
        return int(self._offsets.size) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        return self._slice(int(self._offsets[index]), int(self._offsets[index + 1]))

    def __iter__(self) -> Iterator[str]:
        return (self._slice(start, stop) for start, stop in pairwise(self._offsets.tolist()))

    def _slice(self, start: int, stop: int) -> str:
        return str(self._blob[start:stop], "utf-8", "surrogateescape")
