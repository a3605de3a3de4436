"""Which parts of a line belong to a set? Intervals of whole numbers that never touch each other, in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Intervals:
    """A set of whole numbers as intervals ``begin <= number < end``; made for a few dozen of them."""

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        """Numbers in the set."""
        for begin, end in intervals:
            self.add(begin, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._begins, self._ends, strict=True)

    def add(self, begin: int, end: int) -> None:
        """Whatever lies from ``begin`` to ``end`` belongs to the set from now on; neighbours grow together."""
        first, last = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if first < last:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[last - 1])
        self._replace(first, last, [(begin, end)])

    def remove(self, begin: int, end: int) -> None:
        """Nothing from ``begin`` to ``end`` belongs to it any longer."""
        first, last = bisect_right(self._ends, begin), bisect_left(self._begins, end)
        if first < last:
            rests = [(self._begins[first], begin), (end, self._ends[last - 1])]
            self._replace(first, last, [rest for rest in rests if rest[0] < rest[1]])

    def within(self, begin: int, end: int) -> list[tuple[int, int]]:
        """What of it lies from ``begin`` to ``end``."""
        first, last = bisect_right(self._ends, begin), bisect_left(self._begins, end)
        both = zip(self._begins[first:last], self._ends[first:last], strict=True)
        return [(max(begin, low), min(end, high)) for low, high in both]

    def _replace(self, first: int, last: int, new: list[tuple[int, int]]) -> None:
        gone = zip(self._begins[first:last], self._ends[first:last], strict=True)
        self.total += sum(end - begin for begin, end in new) - sum(end - begin for begin, end in gone)
        self._begins[first:last] = [begin for begin, _ in new]
        self._ends[first:last] = [end for _, end in new]
