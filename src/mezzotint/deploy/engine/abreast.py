"""When do small images lie side by side, and what is copied for their windows? (docs/decisions/0046)

Where a batch is large, the rows of several small images fill one cell: no lane is wasted, weights are read once for all
of them, and every row begins a cell. A window reads the columns beside its pixel in copies that are shifted by as many
columns, so that it never reads across two cells. A visit is the images that go through a step before the next ones
begin: large images go one by one until small ones of them lie abreast, and stay in the caches meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from mezzotint.deploy.engine.buffers import Buffer, Planes
from mezzotint.deploy.engine.windows import Tap

#: Images that lie abreast at most.
MOST: Final = 4
#: A shifted copy pays if each number of it is read so often.
_LEAST_READS: Final = 16


def lay_abreast(planes: Sequence[Planes], halved: Sequence[tuple[Planes, Planes]], apart: Iterable[Planes]) -> None:
    """Decide for planes whose pitch is known; the pitch is a cell where images lie abreast.

    Args:
        planes: all of them.
        halved: planes and their phases for windows of stride 2, which a convolution writes together. Half of the room
            of an image must be that of its phases, if several lie abreast in both.
        apart: what must be one image alone.
    """
    found = {one.root(): 1 for one in planes}
    for root in found:
        lanes, images = root.lanes, 1
        while images < MOST and lanes // (2 * images) >= root.pitch:
            images *= 2
        found[root] = images
    for one in apart:
        found[one.root()] = 1
    changed = True
    while changed:
        changed = False
        for one, phases in halved:
            images = found[one.root()]
            if images > 1 and found[phases.root()] != 2 * images:
                found[one.root()] = 1
                changed = True
    for one in planes:
        one.abreast = found[one.root()]
        one.pitch = one.lanes if one.abreast > 1 else one.pitch


def visits_of(steps: Sequence[Sequence[Buffer]]) -> list[int]:
    """How many images each step takes at a visit: as many as lie abreast in what it reads and writes, or before."""
    own = [max((one.abreast for one in touched if isinstance(one, Planes)), default=1) for touched in steps]
    return list(accumulate(own, max))


class Copies:
    """Shifted copies of planes, which lie behind them.

    The room of a channel lies before each: without it, what is read and what is written would often be a multiple of
    4 KB apart, and a processor takes such a load for one of what it has just stored.
    """

    def __init__(self, planes: Planes, channels: int) -> None:
        """``channels``: of a phase."""
        self._planes, self._channels = planes, channels
        self._places: dict[tuple[int, int], int] = {}

    def want(self, taps: Sequence[Tap]) -> list[tuple[int, int]]:
        """Add the copies that taps read; the new ones: phase and column."""
        wanted = dict.fromkeys((tap.phase, tap.column) for tap in taps if tap.column)
        new = [one for one in wanted if one not in self._places]
        for one in new:
            self._places[one] = len(self._places)
        self._planes.copied = len(self._places) * (self._channels + 1)
        return new

    def first(self, of: tuple[int, int]) -> int:
        """The first channel of a copy."""
        return self._planes.channels + 1 + self._places[of] * (self._channels + 1)

    def shifts(self, of: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """What the extension takes for copies: the channels from which and to which, and the columns."""
        return [(phase * self._channels, self.first((phase, column)), column) for phase, column in of]

    def offset(self, tap: Tap) -> int:
        """As :meth:`Tap.offset`, in the copy of the tap's column."""
        planes = self._planes
        if not tap.column:
            return tap.offset(planes, self._channels)
        return self.first((tap.phase, tap.column)) * planes.stride + tap.row * planes.pitch


def pays(taps: Sequence[Tap], nonzeros: int, channels: int) -> bool:
    """Whether a convolution of so many nonzeros and input channels should read shifted copies: not at stride 2, where
    most taps are columns of phases.
    """
    beside = sum(tap.column != 0 for tap in taps)
    return 2 * beside > len(taps) and nonzeros >= _LEAST_READS * channels
