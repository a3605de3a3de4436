"""How does each edge of a drawing find its way? Down its column where that is free, along gaps, and in lanes beside.

Every edge is cut into segments, one for each box that it leaves, crosses or enters. A segment goes from a member of the
box (or from the box's upper side) to another (or to its lower side). It uses horizontal tracks in the gaps between
rows, and crosses rows where a column is empty or in a lane at the left or right of all columns. Edges of one source
share their tracks and lanes: they part as late as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, Literal

from mezzotint.ops.graph_grid import Grid

if TYPE_CHECKING:
    from mezzotint.ops.graph_layout import Box

TOP: Final = "\0top"
BOTTOM: Final = "\0bottom"

Side = Literal["", "left", "right"]


@dataclass(frozen=True)
class Segment:
    """A piece of an edge inside a box. ``net`` is the atom from which the edge comes."""

    source: str
    target: str
    net: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a segment goes from the gap below its source to the gap above its target.

    Attributes:
        leave, enter: the gaps; gap 0 is above all rows.
        cross: where it passes the rows between: down the column of the ``"source"`` or of the ``"target"``, or in a
            ``"left"`` or ``"right"`` lane; ``"gap"`` when there are none.
        lane: number of the lane, from the columns outwards.
        side: at which side of its target it arrives; empty: from above.
    """

    leave: int
    enter: int
    cross: Literal["gap", "source", "target", "left", "right"]
    lane: int = 0
    side: Side = ""


@dataclass(kw_only=True)
class Wires:
    """The ways of all segments of a box.

    Attributes:
        ways: segment -> way.
        entries, exits: nets that pass the box's upper and lower side, the one on the spine first.
        arrivals: member -> nets that enter it from above, the one on its spine first.
        lanes_left, lanes_right: how many there are.
        order: (gap, net) -> number of the track; filled by :meth:`tracks`.
    """

    ways: dict[Segment, Way]
    entries: list[str]
    exits: list[str]
    arrivals: dict[str, list[str]]
    lanes_left: int = 0
    lanes_right: int = 0
    order: dict[tuple[int, str], int] = field(default_factory=dict)

    def tracks(self, box: Box) -> list[int]:
        """Give each net a track in each gap in which it runs sideways; how many each gap has. Columns are placed."""
        assert box.grid is not None
        counts = []
        for gap in range(box.grid.rows + 1):
            runs: dict[str, _Run] = {}
            for segment in self.ways:
                for above, below in self._turns(box, segment, gap):
                    runs.setdefault(segment.net, _Run(segment.net)).add(above, below)
            packed = _packed(list(runs.values()))
            self.order.update({(gap, net): number for net, number in packed.items()})
            counts.append(1 + max(packed.values(), default=-1))
        return counts

    def _turns(self, box: Box, segment: Segment, gap: int) -> Iterator[tuple[float, float]]:
        """Where the segment comes into the gap from above, and where it leaves it below."""
        way = self.ways[segment]
        out_x, across, in_x = self.out_x(box, segment), self.across_x(box, segment), self.in_x(box, segment)
        if gap == way.leave and apart(out_x, across):
            yield out_x, across
        if gap == way.enter and not way.side and apart(across, in_x):
            yield across, in_x

    def out_x(self, box: Box, segment: Segment) -> float:
        """Where the segment leaves its source."""
        if segment.source == TOP:
            return box.x + box.spine - _port(self.entries, segment.net, entering=True)
        member = _member(box, segment.source)
        ports = [] if member.wires is None else member.wires.exits
        return member.x + member.spine - _port(ports, segment.net, entering=False)

    def in_x(self, box: Box, segment: Segment) -> float:
        """Where the segment enters its target from above."""
        if segment.target == BOTTOM:
            return box.x + box.spine - _port(self.exits, segment.net, entering=False)
        member = _member(box, segment.target)
        if member.wires is not None:
            return member.x + member.spine - _port(member.wires.entries, segment.net, entering=True)
        nets = self.arrivals[segment.target]
        if segment.net not in nets:  # it arrives at a side
            return member.x + member.spine
        if len(nets) < 3:
            return member.x + member.spine - _port(nets, segment.net, entering=True)
        step = min(16.0, 0.7 * member.width / (len(nets) - 1))
        return member.x + member.spine + step * ((len(nets) - 1) / 2 - nets.index(segment.net))

    def across_x(self, box: Box, segment: Segment) -> float:
        """Where the segment passes the rows between."""
        from mezzotint.ops.graph_layout import LANE

        way = self.ways[segment]
        if way.cross == "left":
            return min(member.x for member in box.members) - LANE * (way.lane + 1)
        if way.cross == "right":
            return max(member.right for member in box.members) + LANE * (way.lane + 1)
        if way.cross == "target" or (way.cross == "gap" and not way.side):
            return self.in_x(box, segment)
        return self.out_x(box, segment)


def apart(one: float, two: float) -> bool:
    """Whether two places are different ones: the same one is found by sums in different orders."""
    return abs(one - two) > 0.01


def _port(nets: Sequence[str], net: str, *, entering: bool) -> float:
    """How far to the left of the spine a net passes the side of a box.

    Those that enter and those that leave have different places, all but the first: where two nets change their order,
    neither comes to lie on the other.
    """
    from mezzotint.ops.graph_layout import PORT

    number = nets.index(net) if net in nets else 0
    return PORT * (number + 0.5 * entering) if number else 0.0


def _member(box: Box, name: str) -> Box:
    return next(member for member in box.members if member.name == name)


def segments_of(root: Box, edges: Sequence[tuple[str, str]]) -> dict[str, list[Segment]]:
    """Box name -> the segments in it, each once."""
    found: dict[str, dict[Segment, None]] = {box.name: {} for box in root.boxes()}
    chains = {box.name: chain for box, chain in _chains(root, ())}
    for source, target in edges:
        for box, segment in _cut(chains[source], chains[target], source):
            found[box][segment] = None
    return {name: list(segments) for name, segments in found.items()}


def _cut(above: Sequence[str], below: Sequence[str], net: str) -> list[tuple[str, Segment]]:
    """The segments of an edge in its direction, each with its box; the chains lead from the root to its ends."""
    common = next(n for n, (one, two) in enumerate(zip(above, below, strict=False)) if one != two)
    leaving = [(above[n], Segment(above[n + 1], BOTTOM, net)) for n in range(len(above) - 2, common - 1, -1)]
    crossing = [(above[common - 1], Segment(above[common], below[common], net))]
    entering = [(below[n], Segment(TOP, below[n + 1], net)) for n in range(common, len(below) - 1)]
    return [*leaving, *crossing, *entering]


def cut(root: Box, source: str, target: str) -> list[tuple[Box, Segment]]:
    """The segments of one edge, each with its box, in its direction."""
    boxes = {box.name: box for box in root.boxes()}
    chains = {box.name: chain for box, chain in _chains(root, ())}
    return [(boxes[name], segment) for name, segment in _cut(chains[source], chains[target], source)]


def _chains(box: Box, above: tuple[str, ...]) -> Iterator[tuple[Box, tuple[str, ...]]]:
    chain = (*above, box.name)
    yield box, chain
    for member in box.members:
        yield from _chains(member, chain)


def wired(grid: Grid, segments: Sequence[Segment], members: Mapping[str, Box]) -> Wires:
    """Choose the way of every segment. Things that stand in an edge's way give up the room below their first row."""
    while True:
        wires = _Router(grid, segments, members).route()
        blocking = {
            name
            for segment, way in wires.ways.items()
            for gap, low, high in _crossed(grid, segment, way)
            for name, column in grid.column.items()
            if low < column < high and grid.first[name] < gap <= grid.last[name]
        }
        if not blocking:
            return wires
        for name in blocking:
            grid.last[name] = grid.first[name]


def _crossed(grid: Grid, segment: Segment, way: Way) -> Iterator[tuple[int, int, int]]:
    """(gap, column, column): where the segment runs sideways; columns strictly between are passed."""
    source, target = grid.column.get(segment.source, 0), grid.column.get(segment.target, 0)
    if way.cross in ("left", "right"):
        lane = -1 if way.cross == "left" else grid.columns
        yield way.leave, min(source, lane), max(source, lane)
        if not way.side:
            yield way.enter, min(target, lane), max(target, lane)
    elif not way.side:
        gap = way.leave if way.cross == "target" else way.enter
        yield gap, min(source, target), max(source, target)


class _Router:
    def __init__(self, grid: Grid, segments: Sequence[Segment], members: Mapping[str, Box]) -> None:
        self.grid, self.segments, self.members = grid, segments, members
        self.held: dict[tuple[int, int], str] = {}
        self.lanes: dict[str, list[tuple[int, int, str, int]]] = {"left": [], "right": []}
        self.nets = {name: list(dict.fromkeys(s.net for s in segments if s.target == name)) for name in grid.column}

    def route(self) -> Wires:
        ways = {}
        for segment in sorted(self.segments, key=self._length):  # short ones first: they keep to the columns
            ways[segment] = self._way(segment)
        arrivals = {name: self._arrivals(name, ways) for name in self.grid.column}
        return Wires(
            ways={segment: ways[segment] for segment in self.segments},
            entries=self._ports(TOP),
            exits=self._ports(BOTTOM),
            arrivals=arrivals,
            lanes_left=self._count("left"),
            lanes_right=self._count("right"),
        )

    def _gaps(self, segment: Segment) -> tuple[int, int]:
        leave = 0 if segment.source == TOP else self.grid.last[segment.source] + 1
        return leave, self.grid.rows if segment.target == BOTTOM else self.grid.first[segment.target]

    def _length(self, segment: Segment) -> tuple[int, int]:
        leave, enter = self._gaps(segment)
        same = self.grid.column.get(segment.source, 0) == self.grid.column.get(segment.target, 0)
        return enter - leave, 0 if same else 1

    def _way(self, segment: Segment) -> Way:
        leave, enter = self._gaps(segment)
        source, target = self.grid.column.get(segment.source, 0), self.grid.column.get(segment.target, 0)
        if leave == enter:
            return Way(leave=leave, enter=enter, cross="gap", side=self._side(segment, source, target))
        if self._hold(segment.net, range(leave, enter), source):
            return Way(leave=leave, enter=enter, cross="source", side=self._side(segment, source, target))
        if self._hold(segment.net, range(leave, enter), target):
            return Way(leave=leave, enter=enter, cross="target")
        where: Literal["left", "right"] = "right" if target and target == self.grid.columns - 1 else "left"
        edge = -1 if where == "left" else self.grid.columns
        lane = self._lane(where, leave, enter, segment.net)
        return Way(leave=leave, enter=enter, cross=where, lane=lane, side=self._side(segment, edge, target))

    def _hold(self, net: str, rows: range, column: int) -> bool:
        """Whether the column is empty in these rows; it is the net's then."""
        cells = [(row, column) for row in rows]
        if any(self.grid.taken(*cell) or self.held.get(cell, net) != net for cell in cells):
            return False
        self.held.update(dict.fromkeys(cells, net))
        return True

    def _side(self, segment: Segment, column: int, target: int) -> Side:
        """At which side a card with two inputs takes the second one, which comes down in another column."""
        name = segment.target
        is_card = name in self.members and self.members[name].atom is not None
        if not is_card or len(self.nets[name]) != 2 or column == target or self._is_main(segment):
            return ""
        row, step = self.grid.first[name], 1 if column > target else -1
        if any(self.grid.taken(row, passed) for passed in range(target + step, column + step, step)):
            return ""
        return "right" if step > 0 else "left"

    def _is_main(self, segment: Segment) -> bool:
        """Whether it is the one that goes straight down into its target, or else the first."""
        into = [other for other in self.segments if other.target == segment.target]
        column = self.grid.column.get(segment.target, 0)

        def strangeness(other: Segment) -> tuple[int, bool, bool, int]:
            leave, enter = self._gaps(other)
            aside = self.grid.column.get(other.source, 0) != column
            return enter - leave, aside, other.source == TOP, self._place(other.source, other.net)

        return min(into, key=strangeness).net == segment.net

    def _arrivals(self, name: str, ways: Mapping[Segment, Way]) -> list[str]:
        into = [s for s in self.segments if s.target == name and not ways[s].side]
        into.sort(key=lambda s: not self._is_main(s))
        if len({s.net for s in into}) > 2:  # spread over the card from right to left, as they come
            into.sort(key=lambda s: -self._from_column(s, ways[s]))
        return list(dict.fromkeys(s.net for s in into))

    def _from_column(self, segment: Segment, way: Way) -> int:
        edges = {"left": -1, "right": self.grid.columns}
        return edges.get(way.cross, self.grid.column.get(segment.source, 0))

    def _lane(self, where: str, leave: int, enter: int, net: str) -> int:
        taken = self.lanes[where]

        def is_free(lane: int) -> bool:
            return not any(at == lane and other != net and a <= enter and leave <= b for a, b, other, at in taken)

        own = [at for _, _, other, at in taken if other == net and is_free(at)]
        lane = own[0] if own else next(lane for lane in count() if is_free(lane))
        taken.append((leave, enter, net, lane))
        return lane

    def _count(self, where: str) -> int:
        return 1 + max((lane for *_, lane in self.lanes[where]), default=-1)

    def _ports(self, end: str) -> list[str]:
        """Nets at the upper or lower side, the one that needs no turn first."""
        at = [s for s in self.segments if end in (s.source, s.target)]
        other = {s: s.target if end == TOP else s.source for s in at}
        column = self.grid.column
        at.sort(key=lambda s: (column.get(other[s], 0) != 0, self._length(s)[0], self._place(other[s], s.net)))
        return list(dict.fromkeys(s.net for s in at))

    def _place(self, name: str, net: str) -> int:
        """Number of a net among those that pass a member's side; outer boxes keep the order of inner ones."""
        wires = self.members[name].wires if name in self.members else None
        places = [nets.index(net) for nets in (wires.entries, wires.exits) if net in nets] if wires else []
        return min(places, default=0)


class _Run:
    """What a net does in a gap: where it comes from above, where it leaves below."""

    def __init__(self, net: str) -> None:
        self.net = net
        self.above: set[float] = set()
        self.below: set[float] = set()

    def add(self, above: float, below: float) -> None:
        self.above.add(above)
        self.below.add(below)

    @property
    def low(self) -> float:
        return min(self.above | self.below)

    @property
    def high(self) -> float:
        return max(self.above | self.below)


def _packed(runs: Sequence[_Run]) -> dict[str, int]:
    """Net -> track, from above: runs that meet have tracks of their own, and no vertical piece covers another one."""
    waiting = sorted(runs, key=lambda run: run.low)
    placed: dict[str, int] = {}
    while waiting:
        # A run that comes from above where another one leaves below must turn first.
        ready = [run for run in waiting if not any(_covers(run, other) for other in waiting if other is not run)]
        run = (ready or waiting)[0]
        waiting.remove(run)
        done = [other for other in runs if other.net in placed]
        floor = max((placed[o.net] + 1 for o in done if _covers(run, o)), default=0)
        while any(placed[o.net] == floor and _meet(run, o) for o in done):
            floor += 1
        placed[run.net] = floor
    return placed


def _covers(later: _Run, earlier: _Run) -> bool:
    """Whether ``later`` leaves below where ``earlier`` comes from above."""
    return any(abs(below - above) < 6 for below in later.below for above in earlier.above)


def _meet(one: _Run, two: _Run) -> bool:
    return one.low - 8 < two.high and two.low - 8 < one.high
