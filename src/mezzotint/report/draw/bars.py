"""How large are a few named things? Horizontal bars, in groups or on both sides of a middle line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mezzotint.report.draw.svg import Drawing, Frame, box, group, line, shorten, width_of, words
from mezzotint.report.markup import Markup, join

_GAP = 3.0
_TOP = 4.0
#: Below this width a row's name stands above its bars instead of on their left.
_STACKED_BELOW = 420.0
_NAME = 17.0
#: Charts of more rows are drawn with thinner bars.
_MANY = 20


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar: its value (negative and non-finite ones draw nothing), colour class and the text at its end."""

    value: float
    style: str
    text: str

    @property
    def length(self) -> float:
        """The value as it is drawn."""
        return self.value if math.isfinite(self.value) and self.value > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """The bars under one name."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The vertical measure of a chart: bar height, space between rows, and whether names stand above the bars."""

    bar: float
    between: float
    stacked: bool

    @property
    def lift(self) -> float:
        """Room for the name above the bars."""
        return _NAME if self.stacked else 0.0

    def height(self, bars: int) -> float:
        """Height of ``bars`` bars below each other."""
        return bars * (self.bar + _GAP) - _GAP


def bar_chart(groups: Sequence[Group], *, width: float) -> Drawing:
    """One row for each group, its bars below each other, all to the same linear scale from zero."""
    rows = _measure(len(groups), width)
    gutter = 0.0 if rows.stacked else min(_widest(item.name for item in groups) + 12, 0.36 * width)
    bars = [bar for item in groups for bar in item.bars]
    unit = max(width - gutter - _notes(bars), 20.0) / _largest(bars)
    drawn, centres, top = [], [], _TOP
    for item in groups:
        height = rows.height(len(item.bars))
        first = top + rows.lift
        drawn += [
            _name(item.name, gutter, first, height, rows, width),
            _bars(item, gutter, first, unit, rows),
            line(gutter, first - 4, gutter, first + height + 4, "axis"),
        ]
        centres.append((top + first + height) / 2)
        top = first + height + rows.between
    frame = Frame(left=0, top=0, right=width, bottom=top)
    return Drawing(width=width, height=top, body=join(*drawn), hit=frame.hit("y", ys=centres))


def two_sided(rows: Sequence[tuple[str, Bar, Bar]], *, width: float) -> Drawing:
    """Rows of (name, bar to the left, bar to the right) on both sides of a middle line."""
    measure = _measure(len(rows), width)
    gutter = 0.0 if measure.stacked else min(_widest(name for name, _, _ in rows) + 12, 0.3 * width)
    bars = [bar for _, left, right in rows for bar in (left, right)]
    middle = gutter + (width - gutter) / 2
    unit = max((width - gutter) / 2 - _notes(bars), 20.0) / _largest(bars)
    pitch = measure.lift + measure.bar + measure.between
    drawn, centres = [], []
    for index, (name, left, right) in enumerate(rows):
        top = _TOP + index * pitch
        first = top + measure.lift
        drawn += [
            _name(name, gutter, first, measure.bar, measure, width),
            _pair(left, right, middle, first, unit, measure.bar),
            line(middle, first - 3, middle, first + measure.bar + 3, "axis"),
        ]
        centres.append((top + first + measure.bar) / 2)
    height = _TOP + len(rows) * pitch
    frame = Frame(left=0, top=0, right=width, bottom=height)
    return Drawing(width=width, height=height, body=join(*drawn), hit=frame.hit("y", ys=centres))


def _measure(rows: int, width: float) -> _Rows:
    many = rows > _MANY
    return _Rows(bar=10.0 if many else 15.0, between=6.0 if many else 12.0, stacked=width < _STACKED_BELOW)


def _bars(item: Group, left: float, top: float, unit: float, rows: _Rows) -> Markup:
    drawn = []
    for index, bar in enumerate(item.bars):
        place = top + index * (rows.bar + _GAP)
        # The smallest bar stays visible.
        length = max(bar.length * unit, 1.5) if bar.length else 0.0
        drawn.append(box(left, place, length, rows.bar, f"bar {bar.style}", round_=1.5))
        drawn.append(words(left + length + 6, place + rows.bar / 2 + 4, bar.text, style="value"))
    return group("row", *drawn)


def _pair(left: Bar, right: Bar, middle: float, top: float, unit: float, height: float) -> Markup:
    west, east = left.length * unit, right.length * unit
    base = top + height / 2 + 4
    return group(
        "row",
        box(middle - west, top, west, height, f"bar {left.style}", round_=1.5),
        box(middle, top, east, height, f"bar {right.style}", round_=1.5),
        words(middle - west - 6, base, left.text, anchor="end", style="value"),
        words(middle + east + 6, base, right.text, style="value"),
    )


def _name(name: str, gutter: float, first: float, height: float, rows: _Rows, width: float) -> Markup:
    if rows.stacked:
        return words(0, first - 6, shorten(name, width), style="name", full=name)
    place = first + height / 2 + 4
    return words(gutter - 9, place, shorten(name, gutter - 12), anchor="end", style="name", full=name)


def _notes(bars: Iterable[Bar]) -> float:
    return max((width_of(bar.text) for bar in bars), default=0.0) + 8


def _largest(bars: Iterable[Bar]) -> float:
    return max((bar.length for bar in bars), default=0.0) or 1.0


def _widest(names: Iterable[str]) -> float:
    return max((width_of(name) for name in names), default=0.0)
