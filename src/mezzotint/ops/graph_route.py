"""What line does an edge draw? Points from card to card, with the turns that its segments take, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mezzotint.ops.graph_layout import LABEL, PAGE_GAP, TRACK, Box, Page
from mezzotint.ops.graph_wires import BOTTOM, Segment, apart, cut

MARGIN: Final = LABEL + TRACK + 2
"""Below the lowest page: the way to the next one."""

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Route:
    """The line of an edge: corners from the source's lower side to the target's upper side, or one of its others."""

    source: str
    target: str
    points: tuple[Point, ...]


def routed(root: Box, source: str, target: str) -> Route:
    """The line of the edge between two atoms of the placed tree, before it is broken into pages."""
    atoms = {box.name: box for box in root.boxes() if box.atom is not None}
    start, end = atoms[source], atoms[target]
    points: list[Point] = [(start.x + start.spine, start.y + start.height)]
    pieces = cut(root, source, target)
    for box, segment in pieces:
        points += _turns(box, segment)
    box, segment = pieces[-1]
    assert box.wires is not None
    assert segment.target != BOTTOM
    way = box.wires.ways[segment]
    if way.side:
        points.append((end.x if way.side == "left" else end.x + end.width, _middle(end)))
    else:
        points.append((box.wires.in_x(box, segment), end.y))
    return Route(source=source, target=target, points=tuple(_straightened(points)))


def _turns(box: Box, segment: Segment) -> list[Point]:
    assert box.wires is not None
    wires, way = box.wires, box.wires.ways[segment]
    out_x, across, in_x = wires.out_x(box, segment), wires.across_x(box, segment), wires.in_x(box, segment)
    points: list[Point] = []
    if apart(out_x, across):
        level = _level(box, way.leave, segment.net)
        points += [(out_x, level), (across, level)]
    if way.side:
        target = next(member for member in box.members if member.name == segment.target)
        return [*points, (across, _middle(target))]
    if apart(across, in_x):
        level = _level(box, way.enter, segment.net)
        points += [(across, level), (in_x, level)]
    return points


def _level(box: Box, gap: int, net: str) -> float:
    """Height of a net's track in a gap."""
    assert box.wires is not None
    label = LABEL if gap else 0.0
    return box.gaps[gap][0] + label + TRACK * (box.wires.order[gap, net] + 0.5)


def _middle(box: Box) -> float:
    return box.y + (box.atom.head if box.atom is not None and box.atom.head else box.height) / 2


def _straightened(points: Sequence[Point]) -> list[Point]:
    """Without points on the line between their neighbours."""
    kept: list[Point] = []
    for x, y in points:
        if kept:  # along an axis, to the last digit
            x, y = x if apart(x, kept[-1][0]) else kept[-1][0], y if apart(y, kept[-1][1]) else kept[-1][1]
        if kept and kept[-1] == (x, y):
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == x or kept[-2][1] == kept[-1][1] == y):
            kept.pop()
        kept.append((x, y))
    return kept


def paged(route: Route, pages: Sequence[Page]) -> Route:
    """The route on its pages: from the lower end of one through the space between them to the upper end of the next."""
    points: list[Point] = []
    before: tuple[Point, int] | None = None
    for point in route.points:
        at = page_at(pages, point[1])
        if before is not None:
            for number in range(before[1], at):
                points += _between(before[0][0], point[0], pages[number], pages[number + 1])
        points.append((point[0] + pages[at].dx, point[1] + pages[at].dy))
        before = (point, at)
    return Route(source=route.source, target=route.target, points=tuple(_straightened(points)))


def _between(out_x: float, in_x: float, page: Page, following: Page) -> list[Point]:
    low = page.bottom + page.dy + MARGIN - 2
    gutter = page.right + PAGE_GAP / 2
    high = following.top + following.dy - 2 * TRACK
    return [(out_x + page.dx, low), (gutter, low), (gutter, high), (in_x + following.dx, high)]


def page_at(pages: Sequence[Page], y: float) -> int:
    """Number of the page on which the height ``y`` of the root box lies."""
    return sum(y >= page.top - 1e-6 for page in pages[1:])
