"""How is a chart of a sweep drawn? A line with its band for each combination, over values at even distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart
from mezzotint.report.sweep import Estimate, Sweep
from mezzotint.report.table import Column, table

_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5")
_DASHES: Final = ("", " dashed", " dotted")
LOOKS: Final = tuple(colour + dash for dash in _DASHES for colour in _COLOURS)
"""Of lines, in their order; of more, the first ones come again."""
DENSE_LOOKS: Final = ("s6 dashed", "s6", "s6 dotted")
_LONGEST: Final = 14  # letters of a value below an axis

Cells = list[list[Estimate | None]]
"""A row for each line, a place for each value of the axis."""


def series_styles(sweep: Sweep) -> dict[str, str]:
    """Label -> colour and dash, the same in every chart over densities."""
    return styles(sweep.series) | styles(map(sweep.label, sweep.dense), DENSE_LOOKS)


def styles(labels: Iterable[str], looks: Sequence[str] = LOOKS) -> dict[str, str]:
    """Label -> colour and dash."""
    return {label: looks[place % len(looks)] for place, label in enumerate(labels)}


def line(name: str, style: str, estimates: Iterable[Estimate | None]) -> Line:
    """Means, with a band of one standard error to each side."""
    known = list(estimates)
    return Line(
        name=name,
        style=style,
        values=[None if one is None else one.mean for one in known],
        low=[None if one is None else one.mean - (one.error or 0.0) for one in known],
        high=[None if one is None else one.mean + (one.error or 0.0) for one in known],
    )


def chart_over(
    label: str,
    values: Sequence[str],
    lines: Sequence[Line],
    written: Sequence[Sequence[str]],
    y: Axis,
    *,
    key: str,
    title: str,
    says: str,
    means: str,
) -> Chart:
    """A chart over values at even distances: they are chosen, not measured.

    Args:
        label: of the axis.
        values: below it.
        lines: their places are those of ``values``.
        written: the same numbers as text, a row for each line.
        y: the other axis.
        key, title, says, means: see :class:`mezzotint.report.figure.Chart`.
    """
    columns = [Column(name=one.name, style=one.style) for one in lines]
    rows = ((value, *(row[place] for row in written)) for place, value in enumerate(values))
    x = Axis(label=label, write=lambda place: _short(values[round(place)]))
    return Chart(
        key=key,
        title=title,
        says=says,
        means=means,
        draw=lambda width: line_chart([float(place) for place in range(len(values))], lines, x=x, y=y, width=width),
        table=table((label.capitalize() if label == "density" else label, *columns), rows),
        legend=tuple((f"line {one.style}", one.name) for one in lines),
        wide=True,
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
