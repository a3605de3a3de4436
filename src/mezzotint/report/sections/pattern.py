"""What does the pattern look like? The first filters with their gaps, all layers as pictures, the ages of weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.draw.png import Colour, faded, png
from mezzotint.report.figure import Chart, figures, missing, ramp, ramps
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import count, percent
from mezzotint.report.record import Inside, Picture, Run
from mezzotint.report.section import Section
from mezzotint.report.sections.filters import filter_chart
from mezzotint.report.table import Column, Heads, fold, table

_STEPS = 15
_INK = faded((0, 0, 0), _STEPS, 0.22)
#: From young (orange) to old (blue), both readable on light and on dark paper.
_YOUNG, _OLD = (222, 120, 30), (28, 108, 190)


def _between(step: int) -> Colour:
    share = step / (_STEPS - 1)
    red, green, blue = (round(young + (old - young) * share) for young, old in zip(_YOUNG, _OLD, strict=True))
    return red, green, blue, 255


_AGES: list[Colour] = [(0, 0, 0, 0), *map(_between, range(_STEPS))]
_PIXEL = "Each pixel is the kernel between an input channel (left to right) and an output channel (top to bottom)."


def section(run: Run) -> Section:
    """Filters, patterns and ages."""
    return Section(
        key="pattern",
        title="What the pattern looks like",
        short="Pattern",
        lead="Which weights exist, seen from close by. Nothing else of the layers is stored or computed.",
        body=_body(run),
    )


def _body(run: Run) -> Markup:
    inside = run.inside
    if inside is None or not (inside.layers or inside.filters):
        return missing("Patterns are not recorded: no epoch has ended yet, or an older version wrote this run.")
    return join(
        figures(
            filter_chart(inside.filters) if inside.filters else None,
            _ages(run, inside),
        ),
        _gallery(inside) if inside.layers else "",
    )


def _gallery(inside: Inside) -> Markup:
    """The layers' pictures under two tabs: what exists, and how old it is."""
    aged = inside.updates > 0
    exist = ramp("ink", "no weight", "all weights")
    old = join(
        tag("span", class_="swatch young"), "grown lately", tag("span", class_="swatch old"), "there from the start"
    )
    masks = _panel("masks", inside, exist, [_picture(item, item.share, _INK, "ink") for item in inside.layers.values()])
    panels = [masks]
    if aged:
        ages = [_picture(item, _tinted(item), _AGES, "age") for item in inside.layers.values()]
        panels.append(_panel("ages", inside, old, ages))
    tabs = (("masks", "Weights that exist"), ("ages", "How long they have lived"))
    return tag(
        "div",
        tag("h3", "Every layer's pattern"),
        tag("p", f"{_PIXEL} Large layers are shown in blocks. {_empties(inside)}"),
        tag("div", *(_tab(key, name) for key, name in tabs), role="tablist", aria_label="Patterns", hidden=True)
        if aged
        else "",
        *panels,
        fold("Numbers", _numbers(inside)),
        class_="card patterns-card",
        id="patterns",
    )


def _tab(key: str, name: str) -> Markup:
    first = key == "masks"
    return tag(
        "button",
        name,
        type="button",
        role="tab",
        id=f"tab-{key}",
        aria_controls=f"panel-{key}",
        aria_selected="true" if first else "false",
        tabindex=None if first else "-1",
    )


def _panel(key: str, inside: Inside, legend: Markup, pictures: Sequence[Markup]) -> Markup:
    tiles = (
        tag("li", tag("div", picture, class_="picture"), _name(name), tag("span", _size(item)))
        for (name, item), picture in zip(inside.layers.items(), pictures, strict=True)
    )
    return tag(
        "div",
        tag("ul", tag("li", legend), class_="legend"),
        tag("ul", *tiles, class_="patterns"),
        id=f"panel-{key}",
        role="tabpanel",
        aria_labelledby=f"tab-{key}",
    )


def _name(name: str) -> Markup:
    """A dotted name in two parts, of which the first gives way where there is no room."""
    first, dot, last = name.rpartition(".")
    parts = (tag("span", first + dot, class_="first"), tag("span", last, class_="last")) if dot else (last,)
    return tag("strong", *parts, title=name, class_="dotted" if dot else None)


def _picture(item: Picture, pixels: bytes, palette: Sequence[Colour], style: str) -> Markup:
    inked = bytes(min(value, len(palette) - 1) for value in pixels)
    what = "Pattern" if style == "ink" else "Ages of the weights"
    return tag(
        "img",
        src=f"data:image/png;base64,{png(item.columns, inked, palette)}",
        width=item.columns,
        height=item.rows,
        alt=f"{what}, density {percent(_density(item))}",
        class_=f"sharp {style}",
    )


def _tinted(item: Picture) -> bytes:
    """Ages as places of the palette: blocks without a weight stay empty, however old they say to be."""
    return bytes(max(age, 1) if share else 0 for share, age in zip(item.share, item.age, strict=True))


def _size(item: Picture) -> str:
    kernel = "×".join(str(side) for side in item.shape[2:])
    sides = f"{item.shape[0]} × {item.shape[1]}{f', {kernel}' if kernel else ''}"
    return f"{percent(_density(item))} of {sides}"


def _density(item: Picture) -> float:
    return min(item.nnz / prod(item.shape), 1.0)


def _empties(inside: Inside) -> str:
    outputs = sum(item.empty_outputs for item in inside.layers.values())
    inputs = sum(item.empty_inputs for item in inside.layers.values())
    counted = [f"{count(n)} {name}" for n, name in ((outputs, "output"), (inputs, "input")) if n]
    if not counted:
        return "Every channel has weights."
    return f"{' and '.join(counted)} channels have no weight left: they cost nothing at all."


def _numbers(inside: Inside) -> Markup:
    columns: Heads = (Column(name="Layer", text=True), "nnz", "density", "empty outputs", "empty inputs")
    rows = (
        (name, count(item.nnz), percent(_density(item)), count(item.empty_outputs), count(item.empty_inputs))
        for name, item in inside.layers.items()
    )
    return table(columns, rows).html("Patterns by layer")


def _ages(run: Run, inside: Inside) -> Chart | None:
    """When the weights that exist today were grown, layer by layer."""
    kept = {name: item.born for name, item in inside.layers.items() if sum(item.born)}
    bins = max(map(len, kept.values()), default=0)
    kept = {name: born for name, born in kept.items() if len(born) == bins}
    if bins < 2:
        return None
    shares = {name: [value / sum(born) for value in born] for name, born in kept.items()}
    heat = Heat(
        rows=tuple(shares),
        columns=_bins(inside.updates, bins),
        cells=tuple(tuple(Cell(style="t3", tint=share**0.5) for share in row) for row in shares.values()),
        ends=tuple(percent(row[0], 2) for row in shares.values()),
        x_label="topology update (0: the start)",
        each="update",
        y_label="layer",
    )
    first = sum(born[0] for born in kept.values()) / sum(map(sum, kept.values()))
    since = "the very start" if bins == inside.updates + 1 else f"updates {heat.columns[0]}"
    return Chart(
        key="ages",
        title="When today's weights were grown",
        says=f"{percent(first, 2)} of the weights have lived since {since}.",
        means="A weight has to keep its size to survive each update: old weights are those that training found useful.",
        draw=lambda width: heat_map(heat, width=width),
        table=table(
            (Column(name="Layer", text=True), *heat.columns),
            ((name, *(percent(share, 2) for share in row)) for name, row in shares.items()),
        ),
        legend=ramps(ramp("t3", "0 %", "100 %", "of a layer's weights; right: since 0")),
        wide=True,
    )


def _bins(updates: int, bins: int) -> tuple[str, ...]:
    """The updates of each part: ``"3"``, or ``"4-7"``."""
    edges = [-(-index * (updates + 1) // bins) for index in range(bins + 1)]
    pairs = pairwise(edges)
    return tuple(str(low) if high - low <= 1 else f"{low}–{high - 1}" for low, high in pairs)
