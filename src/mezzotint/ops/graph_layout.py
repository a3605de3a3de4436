"""Where does each node of a drawn graph go? Boxes for modules inside each other, chains straight down, no overlaps.

A module is a box around what it holds. Inside a box things are placed in the order in which they run: each below all
that it reads, in the column of the one that it waits for longest when that column is free there, otherwise in the next
free one. A chain thereby becomes a straight line and a branch a second column. The outermost chain is broken into
several columns, so that a deep network does not become a ribbon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

NODE_HEIGHT: Final = 38.0
GAP: Final = 18.0
COLUMN_GAP: Final = 22.0
PAGE_GAP: Final = 64.0
TITLE: Final = 20.0
PADDING: Final = 16.0
#: Room at the left of a box for the edges that pass by the nodes in it.
LANE: Final = 30.0
#: A drawing gets as many page columns as bring it nearest to this ratio of height to width.
_RATIO: Final = 0.9


@dataclass(kw_only=True)
class Box:
    """A rectangle of the drawing: a node, or a module with what is in it. ``x``, ``y`` are its upper left corner.

    Attributes:
        name: of the node, or path of the module.
        members: what a module holds, in running order; empty for a node.
        x, y, width, height: in pixels; inside another box relative to the drawing, not to the box.
    """

    name: str
    width: float = 0.0
    height: float = NODE_HEIGHT
    x: float = 0.0
    y: float = 0.0
    members: list[Box] = field(default_factory=list)

    @property
    def is_node(self) -> bool:
        """Whether it is a node and not a module."""
        return not self.members

    def move(self, dx: float, dy: float) -> None:
        """Shift it with all that it holds."""
        self.x += dx
        self.y += dy
        for member in self.members:
            member.move(dx, dy)

    def leaves(self) -> list[Box]:
        """The nodes in it, in running order."""
        return [self] if self.is_node else [leaf for member in self.members for leaf in member.leaves()]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A finished layout: the outermost boxes by page column, and the size of it all."""

    pages: list[list[Box]]
    width: float
    height: float

    def leaves(self) -> dict[str, Box]:
        """Node name -> its rectangle."""
        return {leaf.name: leaf for page in self.pages for box in page for leaf in box.leaves()}


Reads = Mapping[str, Sequence[str]]


def lay_out(widths: Mapping[str, float], modules: Mapping[str, str], reads: Reads) -> Layout:
    """Place the nodes.

    Args:
        widths: node name -> width in pixels, in running order.
        modules: node name -> dotted path of its module.
        reads: node name -> names of the nodes that it reads.
    """
    boxes = _grouped(list(widths), {name: _parts(modules[name]) for name in widths}, (), _ancestors(widths, reads))
    for box in boxes:
        _size(box, widths, reads)
    _place(boxes, reads)
    pages = _broken(boxes, reads)
    left = 0.0
    for page in pages:
        _shift(page, left - min(box.x for box in page), -min(box.y for box in page))
        left = max(box.x + box.width for box in page) + PAGE_GAP
    height = max((box.y + box.height for page in pages for box in page), default=0.0)
    return Layout(pages=pages, width=max(0.0, left - PAGE_GAP), height=height)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _ancestors(order: Iterable[str], reads: Reads) -> dict[str, set[str]]:
    """Node name -> all nodes on which it depends."""
    found: dict[str, set[str]] = {}
    for name in order:
        found[name] = set().union(*({read} | found[read] for read in reads[name]))
    return found


def _grouped(
    names: Sequence[str],
    paths: Mapping[str, tuple[str, ...]],
    prefix: tuple[str, ...],
    ancestors: Mapping[str, set[str]],
) -> list[Box]:
    """Boxes for ``names``, all inside the module ``prefix``, at the place of their first node."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        inside = paths[name][: len(prefix) + 1]
        groups.setdefault(inside if len(inside) > len(prefix) else ("", name), []).append(name)
    boxes: list[tuple[int, Box]] = []
    place = {name: number for number, name in enumerate(names)}
    for path, members in groups.items():
        if len(members) > 1 and _closed(set(members), ancestors):
            inner = _grouped(members, paths, path, ancestors)
            box = Box(name=".".join(path), members=inner) if len(inner) > 1 else inner[0]
            boxes.append((place[members[0]], box))
        else:
            boxes += [(place[member], Box(name=member)) for member in members]
    return [box for _, box in sorted(boxes, key=lambda item: item[0])]


def _closed(members: set[str], ancestors: Mapping[str, set[str]]) -> bool:
    """Whether nothing outside lies between two members: only then can they stand in one box."""
    behind = {name for name, before in ancestors.items() if before & members} - members
    return not any(ancestors[member] & behind for member in members)


def _size(box: Box, widths: Mapping[str, float], reads: Reads) -> None:
    """Set the size of a box; what it holds is placed relative to its corner (0, 0)."""
    if box.is_node:
        box.width = widths[box.name]
        return
    for member in box.members:
        _size(member, widths, reads)
    _place(box.members, reads)
    _shift(box.members, PADDING + LANE, PADDING + TITLE)
    box.width = max(member.x + member.width for member in box.members) + PADDING
    box.width = max(box.width, 7.0 * len(box.name) + 2 * PADDING)
    box.height = max(member.y + member.height for member in box.members) + PADDING


def _place(boxes: Sequence[Box], reads: Reads) -> None:
    """Place boxes that stand side by side in one box; the first is at (0, 0)."""
    owner = {leaf.name: number for number, box in enumerate(boxes) for leaf in box.leaves()}
    columns: list[list[Box]] = []
    column_of: list[int] = []
    for number, box in enumerate(boxes):
        before = {owner[read] for leaf in box.leaves() for read in reads[leaf.name] if read in owner}
        waited = sorted((other for other in before if other < number), key=lambda other: -_bottom(boxes[other]))
        top = _bottom(boxes[waited[0]]) + GAP if waited else 0.0
        wishes = [column_of[other] for other in waited] + list(range(len(columns)))
        chosen = next((wish for wish in wishes if _free(columns[wish], top, box.height)), len(columns))
        if chosen == len(columns):
            columns.append([])
        columns[chosen].append(box)
        column_of.append(chosen)
        box.move(-box.x, top - box.y)
    left = 0.0
    for column in columns:
        width = max(box.width for box in column)
        for box in column:
            box.move(left + (width - box.width) / 2, 0.0)
        left += width + COLUMN_GAP


def _bottom(box: Box) -> float:
    return box.y + box.height


def _free(column: Sequence[Box], top: float, height: float) -> bool:
    return all(top >= _bottom(other) + GAP / 2 or top + height + GAP / 2 <= other.y for other in column)


def _broken(boxes: list[Box], reads: Reads) -> list[list[Box]]:
    """The outermost boxes in page columns. Only a single chain is broken: branches stay side by side."""
    in_one_column = all(one.y + one.height <= two.y for one, two in pairwise(boxes))
    if len(boxes) < 2 or not in_one_column:
        return [boxes] if boxes else []
    total, width = _bottom(boxes[-1]), max(box.width for box in boxes) + PAGE_GAP
    count = max(1, round(math.sqrt(total / (width * _RATIO))))
    limit = max(total / count, max(box.height for box in boxes))
    pages: list[list[Box]] = [[]]
    for box in boxes:
        if pages[-1] and _bottom(box) - pages[-1][0].y > limit * 1.05:
            pages.append([])
        pages[-1].append(box)
    return pages


def _shift(boxes: Iterable[Box], dx: float, dy: float) -> None:
    for box in boxes:
        box.move(dx, dy)
