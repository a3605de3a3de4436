"""What went from whom to whom? Ribbons from givers on the left to takers on the right, as wide as what they carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mezzotint.report.draw.svg import Drawing, box, n, shorten, width_of, words
from mezzotint.report.markup import Markup, join, tag

_NODE = 9.0
_GAP = 12.0
_TOP = 6.0
#: Height of all ribbons together, and the least height of an end, so that its name has room.
_HEIGHT, _LEAST = 210.0, 13.0


@dataclass(frozen=True, kw_only=True)
class Ribbon:
    """What one giver gave to one taker; ``value`` above 0."""

    source: str
    target: str
    value: float


def flow_chart(ribbons: Sequence[Ribbon], *, notes: dict[str, tuple[str, str]], width: float) -> Drawing:
    """Draw the ribbons, which are the drawing's items in their order.

    Args:
        ribbons: at least one.
        notes: name -> the texts behind it where it gives and where it takes.
        width: of the drawing.
    """
    givers = _sums((item.source, item.value) for item in ribbons)
    takers = _sums((item.target, item.value) for item in ribbons)
    left = _gutter([(name, notes[name][0]) for name in givers], width)
    right = width - _gutter([(name, notes[name][1]) for name in takers], width)
    unit = _HEIGHT / sum(givers.values())
    starts, low_left = _stacked(givers, unit)
    ends, low_right = _stacked(takers, unit)
    height = max(low_left, low_right) + 4
    out, into = dict(starts), dict(ends)
    drawn = []
    for item in ribbons:
        thick = item.value * unit
        drawn.append(_ribbon(left + _NODE, out[item.source], right - _NODE, into[item.target], thick))
        out[item.source] += thick
        into[item.target] += thick
    body = join(
        *drawn,
        *(_end(name, starts[name], value * unit, left, notes[name][0], left) for name, value in givers.items()),
        *(_end(name, ends[name], value * unit, right, notes[name][1], right - width) for name, value in takers.items()),
    )
    hit = {"hit": "items", "frame": f"0 0 {n(width)} {n(height)}"}
    return Drawing(width=width, height=height, body=body, hit=hit)


def _sums(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    made: dict[str, float] = {}
    for name, value in parts:
        made[name] = made.get(name, 0.0) + value
    return made


def _gutter(texts: Sequence[tuple[str, str]], width: float) -> float:
    widest = max(max(width_of(name), width_of(note)) for name, note in texts)
    return min(widest + 12, 0.3 * width)


def _stacked(sums: dict[str, float], unit: float) -> tuple[dict[str, float], float]:
    """(top of every end, lower border)."""
    tops, place = {}, _TOP
    for name, value in sums.items():
        tops[name] = place
        place += max(value * unit, 2 * _LEAST) + _GAP
    return tops, place - _GAP


def _ribbon(x1: float, y1: float, x2: float, y2: float, thick: float) -> Markup:
    half = (x1 + x2) / 2
    there = f"M{n(x1)} {n(y1)}C{n(half)} {n(y1)} {n(half)} {n(y2)} {n(x2)} {n(y2)}"
    thick = max(thick, 0.8)
    back = f"V{n(y2 + thick)}C{n(half)} {n(y2 + thick)} {n(half)} {n(y1 + thick)} {n(x1)} {n(y1 + thick)}z"
    return tag("path", d=there + back, class_="item ribbon")


def _end(name: str, top: float, thick: float, x: float, note: str, room: float) -> Markup:
    """A giver's end at ``x`` with its name on the left, where ``room`` is above 0; else a taker's."""
    gives = room > 0
    anchor, place = ("end", x - 7) if gives else ("start", x + 7)
    return join(
        box(x if gives else x - _NODE, top, _NODE, max(thick, 1.5), f"bar {'s2' if gives else 's1'}"),
        words(place, top + 10, shorten(name, abs(room) - 8), anchor=anchor, style="name", full=name),
        words(place, top + 24, note, anchor=anchor, style="value soft"),
    )
