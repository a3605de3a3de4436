"""How did numbers change? A line chart with bands and marks, and a chart of stacked areas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mezzotint.report.draw.scale import Axis, Scale, fit
from mezzotint.report.draw.svg import Drawing, Frame, box, group, line, n, polyline, width_of, words
from mezzotint.report.markup import Markup, join, tag

Values = Sequence[float | None]

_TICK_FONT = 11.5
_RIGHT = 14.0
_TOP = 26.0
_BOTTOM = 40.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series over the chart's x values.

    Attributes:
        name: for the legend.
        style: colour class and, after a space, further classes such as ``dashed``.
        values: one for each x; None or a non-finite value leaves a gap.
        low, high: borders of a band round the line, one for each x, or empty.
        stepped: the value is set and holds until the next x, instead of changing evenly.
    """

    name: str
    style: str
    values: Values
    low: Values = ()
    high: Values = ()
    stepped: bool = False


def line_chart(
    xs: Sequence[float], lines: Sequence[Line], *, x: Axis, y: Axis, width: float, marks: Sequence[float] = ()
) -> Drawing:
    """Lines over ``xs`` (ascending); ``marks`` are x values that get a small flag at the foot of the plot."""
    height = _height(width)
    shown = [value for item in lines for value in (*item.values, *item.low, *item.high) if value is not None]
    up = fit(shown, y, height - _BOTTOM, _TOP)
    frame, along = _plot(xs, up, x, y, width, height)
    body = join(
        _grid(frame, up, along, x, y),
        *(_band(item, xs, along, up) for item in lines if item.low),
        *(_stroke(item, xs, along, up) for item in lines),
        *(_flag(along(place), frame.bottom) for place in marks),
    )
    return Drawing(width=width, height=height, body=body, hit=frame.hit("x", xs=[along(value) for value in xs]))


def area_chart(
    xs: Sequence[float], layers: Sequence[tuple[str, Sequence[float]]], *, x: Axis, y: Axis, width: float
) -> Drawing:
    """Layers (style, one value for each x) stacked upon each other from zero, the first at the bottom."""
    height = _height(width)
    sums = [[0.0] * len(xs)]
    for _, values in layers:
        sums.append([below + value for below, value in zip(sums[-1], values, strict=True)])
    up = fit([0.0, *_without_peaks(sums[-1])], y, height - _BOTTOM, _TOP)
    frame, along = _plot(xs, up, x, y, width, height)
    places = [along(value) for value in xs]
    areas = (
        _area(places, [up(value) for value in low], [up(value) for value in high], f"area {style}")
        for (style, _), low, high in zip(layers, sums, sums[1:], strict=False)
    )
    body = join(_grid(frame, up, along, x, y), *areas)
    return Drawing(width=width, height=height, body=body, hit=frame.hit("x", xs=places))


def _height(width: float) -> float:
    return round(min(max(0.56 * width, 220.0), 300.0))


def _plot(xs: Sequence[float], up: Scale, x: Axis, y: Axis, width: float, height: float) -> tuple[Frame, Scale]:
    """The plot's rectangle, with room for the tick texts on its left, and the x scale inside it."""
    widest = max((width_of(y.write(value), _TICK_FONT) for value in up.ticks(5)), default=0.0)
    frame = Frame(left=max(widest + 12, 26.0), top=_TOP, right=width - _RIGHT, bottom=height - _BOTTOM)
    low, high = (xs[0], xs[-1]) if xs else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return frame, Scale(low=low, high=high, start=frame.left, end=frame.right)


def _grid(frame: Frame, up: Scale, along: Scale, x: Axis, y: Axis) -> Markup:
    ends = (frame.left, frame.right)
    rows = [(up(value), y.write(value)) for value in up.ticks(5)]
    columns = [(along(value), x.write(value)) for value in _whole_ticks(along, frame)]
    scale_note = f"{y.label}, log scale" if up.kind != "linear" else y.label
    return join(
        group("rules", *(line(ends[0], place, ends[1], place, "rule") for place, _ in rows)),
        line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"),
        group("ticks", *(words(frame.left - 7, place + 4, text, anchor="end") for place, text in rows)),
        group("ticks", *(_column_tick(place, frame, text) for place, text in columns)),
        words(0, 12, scale_note, style="label"),
        words(frame.right, frame.bottom + 35, x.label, anchor="end", style="label"),
    )


def _whole_ticks(along: Scale, frame: Frame) -> list[float]:
    """Ticks of an axis that counts steps or epochs: whole numbers only."""
    wanted = max(int((frame.right - frame.left) / 75), 2)
    ticks = [value for value in along.ticks(wanted) if float(value).is_integer()]
    return ticks or [float(round((along.low + along.high) / 2))]


def _column_tick(place: float, frame: Frame, text: str) -> Markup:
    # The outermost texts keep inside the drawing.
    half = width_of(text, _TICK_FONT) / 2
    inside = min(max(place, half), frame.right + _RIGHT - half)
    return join(
        line(place, frame.bottom, place, frame.bottom + 5, "axis"),
        words(inside, frame.bottom + 18, text, anchor="middle"),
    )


def _stroke(item: Line, xs: Sequence[float], along: Scale, up: Scale) -> Markup:
    points = [_point(place, value, along, up) for place, value in zip(xs, item.values, strict=True)]
    return polyline(_corners(points) if item.stepped else points, f"line {item.style}")


def _corners(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float] | None]:
    """The points with a corner before each that lies at another height than the one before it."""
    made: list[tuple[float, float] | None] = []
    for before, here in zip([None, *points], points, strict=False):
        if before and here and before[1] != here[1]:
            made.append((here[0], before[1]))
        made.append(here)
    return made


def _point(place: float, value: float | None, along: Scale, up: Scale) -> tuple[float, float] | None:
    # Zero has no place on a logarithmic axis: the scale puts it on the lower border.
    return None if value is None or not math.isfinite(value) else (along(place), up(value))


def _band(item: Line, xs: Sequence[float], along: Scale, up: Scale) -> Markup:
    known = [
        (along(place), up(low), up(high))
        for place, low, high in zip(xs, item.low, item.high, strict=True)
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    ]
    places, lows, highs = zip(*known, strict=True) if known else ((), (), ())
    return _area(places, lows, highs, f"band {item.style}")


def _area(places: Sequence[float], low: Sequence[float], high: Sequence[float], style: str) -> Markup:
    there = [f"{n(place)} {n(value)}" for place, value in zip(places, high, strict=True)]
    back = [f"{n(place)} {n(value)}" for place, value in zip(places, low, strict=True)]
    return tag("path", d=f"M{'L'.join(there + back[::-1])}z", class_=style) if there else Markup()


def _flag(place: float, bottom: float) -> Markup:
    # A triangle besides the colour, so that the mark is told by its shape too.
    head = tag("path", d=f"M{n(place - 4)} {n(bottom)}h8l-4 -8z", class_="flag")
    return join(box(place - 0.5, bottom - 22, 1, 14, "flag"), head)


def _without_peaks(values: Iterable[float]) -> list[float]:
    """The values without a few far peaks (a slow first step), which would flatten the rest of the chart."""
    ordered = sorted(values)
    typical = ordered[int(0.95 * (len(ordered) - 1))] if ordered else 0.0
    return [value for value in ordered if value <= 1.5 * typical]
