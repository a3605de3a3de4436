"""How does a chart stand in the page? Drawn for several widths, with a legend and its numbers as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mezzotint.report.draw.svg import Drawing, n
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.table import Table, fold

#: Widths at which a chart is drawn; the style sheet shows the one that fits. Text keeps its size on every screen.
_WIDE = (("wide-l", 1000.0), ("wide-m", 640.0), ("wide-s", 350.0))
_HALF = (("half-l", 500.0), ("half-s", 350.0))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart before it is laid out.

    Attributes:
        key: unique in the page; also the anchor.
        title: heading.
        says: one sentence with the chart's message in numbers; readers who cannot see the drawing get it too.
        draw: width in CSS pixels -> drawing.
        means: a sentence that tells a newcomer how to read it.
        table: the same numbers; row ``i`` belongs to place ``i`` of the drawing.
        legend: (colour class, name) pairs, or ready markup.
        wide: takes the page's whole width.
    """

    key: str
    title: str
    says: str
    draw: Callable[[float], Drawing]
    table: Table
    legend: tuple[tuple[str, str], ...] | Markup = ()
    wide: bool = False
    means: str = ""


def figure(chart: Chart) -> Markup:
    """The chart as a ``<figure>``."""
    sizes = _WIDE if chart.wide else _HALF
    drawings = (_svg(chart, chart.draw(width), style) for style, width in sizes)
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), tag("p", f"{chart.says} {chart.means}".strip())),
        chart.legend if isinstance(chart.legend, Markup) else legend(chart.legend),
        tag("div", *drawings, class_="chart"),
        fold("Numbers", chart.table.html(chart.title)),
        id=chart.key,
        class_="wide" if chart.wide else None,
    )


def figures(*items: Chart | Markup | None) -> Markup:
    """Charts and cards in the page's grid; None (nothing to draw) takes no room."""
    shown = (figure(item) if isinstance(item, Chart) else item for item in items if item)
    return tag("div", *shown, class_="figures")


def card(*children: object) -> Markup:
    """A box of the grid that holds something else than a chart."""
    return tag("div", join(*children), class_="card")


def legend(keys: tuple[tuple[str, str], ...]) -> Markup:
    """Swatches with names."""
    if not keys:
        return Markup()
    return tag("ul", *(tag("li", _swatch(style), name) for style, name in keys), class_="legend")


def ramp(style: str, low: str, high: str, note: str = "") -> Markup:
    """The legend of a heat map: a strip of rising tint between two values."""
    cells = (
        tag(
            "rect", x=8 * index, y=0, width=8, height=10, class_=f"cell {style}", fill_opacity=f"{(index + 1) / 16:.3g}"
        )
        for index in range(16)
    )
    strip = tag("svg", *cells, viewBox="0 0 128 10", width=128, height=10, aria_hidden="true", class_="ramp")
    low, high = (text.replace(" ", "\N{NO-BREAK SPACE}") for text in (low, high))
    return join(low, strip, high, tag("span", note) if note else "")


def ramps(*strips: Markup) -> Markup:
    """Several ramps as one legend."""
    return tag("ul", *(tag("li", strip) for strip in strips), class_="legend")


def missing(text: str) -> Markup:
    """The sentence that stands where there is nothing to show."""
    return tag("p", text, class_="missing")


def _svg(chart: Chart, drawing: Drawing, style: str) -> Markup:
    data = {f"data_{key}": value for key, value in drawing.hit.items()}
    return tag(
        "svg",
        drawing.body,
        class_=style,
        viewBox=f"0 0 {n(drawing.width)} {n(drawing.height)}",
        width=n(drawing.width),
        height=n(drawing.height),
        role="img",
        aria_label=f"{chart.title}. {chart.says}",
        tabindex="0" if data else None,
        **data,
    )


def _swatch(style: str) -> Markup:
    shape = {
        "line": tag("path", d="M1 6H21", class_=style),
        "flag": tag("path", d="M7 11h8l-4 -8z", class_="flag"),
        "gap": tag("rect", x=10, y=5, width=2, height=2, class_="gap"),
    }.get(style.split()[0], tag("rect", x=5, y=0, width=12, height=12, rx=1.5, class_=style))
    return tag("svg", shape, viewBox="0 0 22 12", width=22, height=12, aria_hidden="true")
