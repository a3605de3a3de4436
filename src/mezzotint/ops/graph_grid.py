"""How do the things in one box of a drawing stand to each other? In rows and columns, found from who reads whom.

Rows: each thing below all that it reads. Columns: the longest chain is column 0, the straight spine of the box; what is
left is taken apart into its longest chains, each of which gets the first column with room. A thing that is not read
before row r may use all the room down to it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Reads = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Names -> places. A thing occupies the rows ``first[name]`` to ``last[name]`` of ``column[name]``."""

    first: dict[str, int]
    last: dict[str, int]
    column: dict[str, int]

    @property
    def rows(self) -> int:
        """How many there are."""
        return 1 + max(self.last.values(), default=-1)

    @property
    def columns(self) -> int:
        """How many there are."""
        return 1 + max(self.column.values(), default=-1)

    def taken(self, row: int, column: int) -> bool:
        """Whether something stands there."""
        return any(self.column[name] == column and self.first[name] <= row <= self.last[name] for name in self.column)


def contracted(names: Sequence[str], reads: Reads, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """``names`` in an order in which they can run when each group runs as one; groups that make a circle are opened.

    Args:
        names: in running order.
        reads: name -> what it reads; names that are not among ``names`` are passed over.
        groups: disjoint ones.

    Returns:
        The groups that could be kept, and every other name by itself, each below all that it reads.
    """
    owner = {name: name for name in names}
    order = _order(names, reads, owner) or list(names)
    for group in groups:
        trial = {**owner, **dict.fromkeys(group, group[0])}
        made = _order(names, reads, trial)
        if made is not None:
            owner, order = trial, made
    members: dict[str, list[str]] = {head: [] for head in order}
    for name in names:
        members[owner[name]].append(name)
    return list(members.values())


def _order(names: Sequence[str], reads: Reads, owner: Mapping[str, str]) -> list[str] | None:
    """The owners, each behind those that it reads, earliest first; None when they read each other in a circle."""
    place = {name: number for number, name in enumerate(names)}
    before: dict[str, set[str]] = {owner[name]: set() for name in names}
    for name in names:
        before[owner[name]].update(owner[read] for read in reads[name] if read in owner)
    readers: dict[str, list[str]] = {head: [] for head in before}
    pending = {}
    for head, needed in before.items():
        needed.discard(head)
        pending[head] = len(needed)
        for other in needed:
            readers[other].append(head)
    ready = [(place[head], head) for head, count in pending.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, head = heapq.heappop(ready)
        order.append(head)
        for reader in readers[head]:
            pending[reader] -= 1
            if not pending[reader]:
                heapq.heappush(ready, (place[reader], reader))
    return order if len(order) == len(before) else None


def gridded(names: Sequence[str], reads: Reads, weights: Mapping[str, float]) -> Grid:
    """Rows and columns of ``names``, which come in running order.

    Args:
        names: what stands in the box.
        reads: name -> those among ``names`` that it reads.
        weights: how long each makes a chain.
    """
    first: dict[str, int] = {}
    for name in names:
        first[name] = 1 + max((first[read] for read in reads[name]), default=-1)
    readers: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for read in reads[name]:
            readers[read].append(name)
    last = {name: min((first[reader] for reader in readers[name]), default=first[name] + 1) - 1 for name in names}
    grid = Grid(first=first, last=last, column={})
    left = list(names)
    while left:
        chain = _longest_chain(left, reads, weights)
        column = 0
        while any(grid.taken(row, column) for name in chain for row in range(first[name], last[name] + 1)):
            column += 1
        grid.column.update(dict.fromkeys(chain, column))
        left = [name for name in left if name not in grid.column]
    return grid


def _longest_chain(names: Sequence[str], reads: Reads, weights: Mapping[str, float]) -> list[str]:
    """A chain of the greatest weight in which each reads the one before it."""
    total: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name in names:
        best = max((read for read in reads[name] if read in total), key=lambda read: total[read], default=None)
        before[name] = best
        total[name] = weights[name] + (0.0 if best is None else total[best])
    end: str | None = max(names, key=lambda name: total[name])
    chain: list[str] = []
    while end is not None:
        chain.append(end)
        end = before[end]
    return chain[::-1]
