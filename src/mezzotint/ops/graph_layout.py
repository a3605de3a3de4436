"""Where does each node of a drawn graph go? Boxes for modules inside each other, on straight spines, nothing overlaps.

A module is a box around what it holds. Inside a box things stand in a grid (:mod:`mezzotint.ops.graph_grid`), columns
aligned on their spines: the main chain of a network is one straight line through all of its boxes. Edges run in the
gaps between rows and in lanes beside the columns (:mod:`mezzotint.ops.graph_wires`), and so never through a node. The
outermost chain is broken into several pages side by side, where one edge alone crosses the break.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from mezzotint.ops.graph_grid import Grid, Reads, contracted, gridded
from mezzotint.ops.graph_wires import Segment, Wires, segments_of, wired

PADDING: Final = 14.0
TITLE: Final = 22.0
COLUMN_GAP: Final = 26.0
PAGE_GAP: Final = 56.0
LANE: Final = 12.0
TRACK: Final = 9.0
#: Below each row: room for the shape that is written beside an edge, then tracks, then the arrow's head.
LABEL: Final = 16.0
ARROW: Final = 11.0
PORT: Final = 13.0
#: A drawing gets as many pages as bring it nearest to this ratio of width to height.
_RATIO: Final = 1.35
#: Where the longest page would still have more of the height than this, one page remains.
_WORTH_A_BREAK: Final = 0.75
#: Pixels that a page has at least.
_SHORTEST: Final = 420.0
#: A box of a single chain that would be so many times as long as a page is left out; what it holds is not.
_LONGEST: Final = 1.5

_ROOT: Final = "\0root"

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Atom:
    """What is placed as a whole: a card, or a stack of them.

    Attributes:
        name: unique.
        module: where it stands, names from the outside in.
        width, height: pixels.
        label: width of the text beside the edge that leaves it; 0 for none.
        head: height of its uppermost card, at whose middle edges enter from the side.
    """

    name: str
    module: Path
    width: float
    height: float
    label: float = 0.0
    head: float = 0.0


@dataclass(kw_only=True)
class Box:
    """A rectangle of the drawing: an atom, or a module with what is in it. ``x``, ``y`` are its upper left corner.

    ``spine`` is the distance from its left side to the middle of its main column. Coordinates are relative to the
    drawing once all is placed.
    """

    name: str
    path: Path = ()
    atom: Atom | None = None
    members: list[Box] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    spine: float = 0.0
    grid: Grid | None = None
    wires: Wires | None = None
    columns: list[float] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)

    def move(self, dx: float, dy: float) -> None:
        """Shift it with all that it holds."""
        self.x += dx
        self.y += dy
        self.columns = [column + dx for column in self.columns]
        self.gaps = [(top + dy, bottom + dy) for top, bottom in self.gaps]
        for member in self.members:
            member.move(dx, dy)

    @property
    def right(self) -> float:
        """Where it ends, the text beside the edge that leaves it included."""
        label = 0.0 if self.atom is None else self.spine + 8 + self.atom.label
        return self.x + max(self.width, label)

    def boxes(self) -> Iterator[Box]:
        """It and all that it holds."""
        yield self
        for member in self.members:
            yield from member.boxes()


Titles = Callable[["Box"], tuple[float, float]]
"""Box of a module -> widths of the texts at its upper left and upper right, between which its spine runs."""


def laid_out(atoms: Sequence[Atom], edges: Sequence[tuple[str, str]], titles: Titles) -> Box:
    """The boxes of a drawing in their places, the outermost at (0, 0), before it is broken into pages.

    A module is a box when nothing outside lies between two of its atoms, and unless it would fill more than a page.

    Args:
        atoms: in running order.
        edges: (source, target) names.
        titles: see :data:`Titles`.
    """
    reads: dict[str, list[str]] = {atom.name: [] for atom in atoms}
    for source, target in edges:
        reads[target].append(source)
    root = Box(name=_ROOT, members=_grouped(atoms, (), reads))
    while True:
        _size(root, segments_of(root, edges), titles)
        large = [member for member in root.members if _too_large(member, root)]
        if not large:
            return root
        inside = [inner for member in root.members for inner in (member.members if member in large else [member])]
        root = Box(name=_ROOT, members=[_fresh(box) for box in inside])


def _too_large(box: Box, root: Box) -> bool:
    """Whether a box is so long that pages cannot be of one length, and could be broken itself."""
    chain = all(part.grid is not None and part.grid.columns == 1 for part in (box, root)) and _breaks(box)
    return bool(chain) and box.height > _LONGEST * root.height / _page_count(root)


def _page_count(root: Box) -> int:
    return max(1, min(int(root.height / _SHORTEST), round(math.sqrt(root.height * _RATIO / (root.width + PAGE_GAP)))))


def _fresh(box: Box) -> Box:
    """The same boxes, not yet placed."""
    return Box(name=box.name, path=box.path, atom=box.atom, members=[_fresh(member) for member in box.members])


def _grouped(atoms: Sequence[Atom], prefix: Path, reads: Reads) -> list[Box]:
    """Boxes for the atoms of the module ``prefix``, each behind all that it reads."""
    groups: dict[Path, list[Atom]] = {}
    for atom in atoms:
        if len(atom.module) > len(prefix):
            groups.setdefault(atom.module[: len(prefix) + 1], []).append(atom)
    paths = {members[0].name: path for path, members in groups.items()}
    by_name = {atom.name: atom for atom in atoms}
    together = [[atom.name for atom in members] for members in groups.values() if len(members) > 1]
    boxes = []
    for names in contracted(list(by_name), reads, together):
        if len(names) == 1:
            boxes.append(Box(name=names[0], atom=by_name[names[0]]))
            continue
        path = paths[names[0]]
        inner = _grouped([by_name[name] for name in names], path, reads)
        boxes.append(Box(name=".".join(path) + "/", path=path, members=inner) if len(inner) > 1 else inner[0])
    return boxes


def _size(box: Box, segments: Mapping[str, list[Segment]], titles: Titles) -> None:
    """Set the sizes of a box and the places of what it holds, relative to its corner (0, 0)."""
    if box.atom is not None:
        box.width, box.height, box.spine = box.atom.width, box.atom.height, box.atom.width / 2
        return
    for member in box.members:
        _size(member, segments, titles)
    own = segments[box.name]
    members = {member.name: member for member in box.members}
    reads = {name: [s.source for s in own if s.target == name and s.source in members] for name in members}
    weights = {name: float(sum(inner.atom is not None for inner in member.boxes())) for name, member in members.items()}
    box.grid = gridded(list(members), reads, weights)
    box.wires = wired(box.grid, own, members)
    _columns(box, titles(box) if box.path else (0.0, 0.0))
    _rows(box)


def _columns(box: Box, title: tuple[float, float]) -> None:
    assert box.grid is not None
    assert box.wires is not None
    extents = [[0.0, 0.0] for _ in range(box.grid.columns)]
    for member in box.members:
        left, right = extents[box.grid.column[member.name]]
        label = 8 + member.atom.label if member.atom is not None else 0.0
        extents[box.grid.column[member.name]] = [
            max(left, member.spine),
            max(right, member.width - member.spine, label),
        ]
    pad = PADDING if box.path else 0.0
    ports = PORT * (0.5 + max(len(box.wires.entries), len(box.wires.exits)))
    left = max(pad + LANE * box.wires.lanes_left + extents[0][0], title[0] + ports if title[0] else 0.0)
    for number, (before, after) in enumerate(extents):
        left += COLUMN_GAP + before if number else 0.0
        box.columns.append(left)
        left += after
    right = left + LANE * box.wires.lanes_right + pad
    box.spine = box.columns[0]
    box.width = max(right, box.spine + PORT + title[1]) if title[1] else right
    for member in box.members:
        member.move(box.columns[box.grid.column[member.name]] - member.spine, 0.0)


def _rows(box: Box) -> None:
    assert box.grid is not None
    assert box.wires is not None
    grid, top = box.grid, TITLE if box.path else 0.0
    tracks = box.wires.tracks(box)
    heights = [
        (LABEL if gap else 0.0) + TRACK * count + (ARROW if gap < grid.rows else 0.0)
        for gap, count in enumerate(tracks)
    ]
    if not box.path:
        heights[0] = TRACK * tracks[0]  # nothing enters the drawing from above
    starts: list[float] = []
    for row in range(grid.rows + 1):
        ending = [m.y + m.height for m in box.members if grid.last[m.name] == row - 1]
        upper = max([top if not row else starts[-1], *ending])
        box.gaps.append((upper, upper + heights[row]))
        starts.append(upper + heights[row])
        for member in box.members:
            if grid.first[member.name] == row:
                member.move(0.0, starts[row] - member.y)
    box.height = starts[-1] + (2.0 if box.path else 0.0)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A stretch of the root box, from ``top`` to ``bottom``, that is drawn ``dx`` to the right and ``dy`` lower."""

    top: float
    bottom: float
    dx: float
    dy: float
    left: float
    right: float


def pages_of(root: Box) -> list[Page]:
    """The placed root box in pages. Only a single chain is broken, and only where one atom's edges cross."""
    assert root.grid is not None
    assert root.wires is not None
    breaks = [] if root.grid.columns > 1 else _breaks(root)
    count = _page_count(root)
    chosen: list[int] = []
    for number in range(1, count):
        goal = number * root.height / count
        near = [row for row in breaks if row not in chosen and (not chosen or row > chosen[-1])]
        if near:
            chosen.append(min(near, key=lambda row: abs(root.gaps[row][0] - goal)))
    starts = [0.0, *(root.gaps[row][0] for row in chosen), root.height]
    if max(after - before for before, after in pairwise(starts)) > _WORTH_A_BREAK * root.height:
        chosen = []
    pages: list[Page] = []
    left = 0.0
    for start, end in zip([0, *chosen], [*chosen, root.grid.rows], strict=True):
        shown = [member for member in root.members if start <= root.grid.first[member.name] < end]
        low = min(member.x for member in shown) - LANE * root.wires.lanes_left
        high = max(member.right for member in shown) + LANE * root.wires.lanes_right
        top = root.gaps[start][1] if start else 0.0
        bottom = root.gaps[end][0]
        pages.append(Page(top=top, bottom=bottom, dx=left - low, dy=-top, left=left, right=left + high - low))
        left = pages[-1].right + PAGE_GAP
    return pages


def _breaks(box: Box) -> list[int]:
    """The rows above which a page may begin: one atom's edges cross, from the row above to the row below."""
    assert box.grid is not None
    assert box.wires is not None
    found = []
    for row in range(1, box.grid.rows):
        crossing = [(segment, way) for segment, way in box.wires.ways.items() if way.leave <= row <= way.enter]
        if len({segment.net for segment, _ in crossing}) == 1 and all(way.cross == "gap" for _, way in crossing):
            found.append(row)
    return found
