"""How accurate is each method at each density, and how sure is that? Means, errors, and differences seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures
from mezzotint.report.markup import Markup, join
from mezzotint.report.numbers import ABSENT, percent, plain, share
from mezzotint.report.section import Section
from mezzotint.report.sweep import (
    DENSE,
    Estimate,
    Group,
    Sweep,
    hundredths,
    named,
    points,
    sweep_rows,
    with_error,
)
from mezzotint.report.table import Column, Heads, Keyed, table

_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5")
_DASHES: Final = ("", " dashed", " dotted")
DENSE_STYLE: Final = "s6 dashed"


def accuracy_section(sweep: Sweep) -> Section:
    """Accuracy by density, paired differences, and all combinations."""
    body = join(figures(_against_density(sweep), _paired(sweep)), _combinations(sweep))
    lead = (
        "Lines are means over the seeds, bands one standard error to each side; the dense network's band runs along the"
        " whole axis. Differences to dense are in percentage points."
    )
    return Section(key="results", title="Accuracy", short="Accuracy", lead=lead, body=body)


def sentence(sweep: Sweep) -> str:
    """The sweep's result in words."""
    base = sweep.dense.accuracy if sweep.dense else None
    known = [group for group in sweep.groups if group.method != DENSE and group.accuracy is not None]
    dense = "" if base is None else f"Dense: {hundredths(base.mean)}."
    if not known:
        return dense or "No run is finished yet."
    sparsest = min(group.density for group in known)
    best = max((g for g in known if g.density == sparsest), key=lambda g: g.accuracy.mean if g.accuracy else 0.0)
    reached = "" if best.accuracy is None else hundredths(best.accuracy.mean)
    return f"{dense} With {percent(sparsest)} of the weights, {named(best.method)} reaches {reached}.".strip()


def method_styles(sweep: Sweep) -> dict[str, str]:
    """Method -> colour and dash, the same in every chart of the page."""
    made = {
        method: _COLOURS[place % len(_COLOURS)] + _DASHES[place // len(_COLOURS) % len(_DASHES)]
        for place, method in enumerate(sweep.methods)
    }
    return {DENSE: DENSE_STYLE, **made}


def _combinations(sweep: Sweep) -> Markup:
    heads, rows = sweep_rows(sweep)
    columns: Heads = (Column(name=heads[0], text=True), *heads[1:3], "to dense, points", "seed by seed", *heads[4:])
    cells = (
        (
            row[0],
            Keyed.of(row[1], group.density),
            Keyed.of(row[2], group.accuracy.mean if group.accuracy else None),
            Keyed.of(*_difference(sweep, group)),
            _seeds(sweep, group),
            Keyed.of(row[4], len(group.finished)),
            Keyed.of(row[5], seconds.mean if (seconds := group.estimate("seconds")) else None),
        )
        for group, row in zip(sweep.groups, rows, strict=True)
    )
    return table(columns, cells).html(
        "All combinations: means over the seeds ± one standard error", kind="data sortable"
    )


def _difference(sweep: Sweep, group: Group) -> tuple[str, float | None]:
    found = group.against(sweep.dense) if sweep.dense and group.method != DENSE else None
    if found is None:
        return ABSENT, None
    error = "" if found.error is None else f" ± {100 * found.error:.2f}"
    return f"{points(found.mean)}{error}", found.mean


def _seeds(sweep: Sweep, group: Group) -> str:
    if sweep.dense is None or group.method == DENSE:
        return ABSENT
    return ", ".join(points(value) for _, value in sorted(group.differences(sweep.dense).items())) or ABSENT


def _densities(sweep: Sweep) -> list[float]:
    return sorted({group.density for group in sweep.groups if group.method != DENSE and group.finished})


def _against_density(sweep: Sweep) -> Chart | None:
    """A chart over the densities at even distances: they are chosen, not measured."""
    base = sweep.dense.accuracy if sweep.dense else None
    lines, cells = _lines(sweep, lambda group: group.accuracy, base)
    return _chart(
        sweep,
        lines,
        [[ABSENT if one is None else with_error(one) for one in row] for row in cells],
        Axis(label="test accuracy", write=share),
        key="accuracy",
        title="Test accuracy against density",
        says=sentence(sweep),
        means="Where its band meets the dense one, these seeds cannot tell the sparse network from the dense one.",
    )


def _paired(sweep: Sweep) -> Chart | None:
    """The difference to the dense run of the same seed, which shares the order of the images."""
    dense = sweep.dense
    if dense is None or dense.accuracy is None:
        return None
    lines, cells = _lines(sweep, lambda group: group.against(dense), Estimate(mean=0.0, error=None, n=dense.accuracy.n))
    written = [[ABSENT if one is None else f"{points(one.mean)}{_error(one)}" for one in row] for row in cells]
    last = [row[0] for row in cells[1:] if row and row[0] is not None]
    best = max(last, key=lambda one: one.mean) if last else None
    at = percent(_densities(sweep)[0]) if last else ""
    said = (
        ""
        if best is None
        else f"At {at} of the weights the best method is {points(best.mean)}{_error(best)} points from dense."
    )
    return _chart(
        sweep,
        lines,
        written,
        Axis(
            label="percentage points to dense",
            write=lambda value: plain(100 * value, 3).replace("-", "−"),
            kind="linear",
        ),
        key="paired",
        title="Difference to dense, seed by seed",
        says=said,
        means="Each run is compared with the dense run of its seed: luck that both share falls out of the difference.",
    )


def _error(one: Estimate) -> str:
    return "" if one.error is None else f" ± {100 * one.error:.2f}"


_Cells = list[list[Estimate | None]]


def _lines(sweep: Sweep, pick: Callable[[Group], Estimate | None], base: Estimate | None) -> tuple[list[Line], _Cells]:
    densities, styles = _densities(sweep), method_styles(sweep)
    lines: list[Line] = []
    cells: _Cells = []
    if base is not None:
        cells.append([base] * len(densities))
        lines.append(_line("dense", DENSE_STYLE, cells[-1]))
    for method in sweep.methods:
        by_density = {group.density: pick(group) for group in sweep.groups if group.method == method}
        cells.append([by_density.get(density) for density in densities])
        lines.append(_line(named(method), styles[method], cells[-1]))
    return lines, cells


def _chart(
    sweep: Sweep,
    lines: Sequence[Line],
    written: Sequence[Sequence[str]],
    y: Axis,
    *,
    key: str,
    title: str,
    says: str,
    means: str,
) -> Chart | None:
    densities = _densities(sweep)
    if not densities:
        return None
    columns = [Column(name=line.name, style=line.style) for line in lines]
    rows = ((f"{density:g}", *(row[place] for row in written)) for place, density in enumerate(densities))
    x = Axis(label="density", write=lambda value: plain(densities[round(value)], 3))
    return Chart(
        key=key,
        title=title,
        says=says,
        means=means,
        draw=lambda width: line_chart([float(i) for i in range(len(densities))], lines, x=x, y=y, width=width),
        table=table(("Density", *columns), rows),
        legend=tuple((f"line {line.style}", line.name) for line in lines),
        wide=True,
    )


def _line(name: str, style: str, estimates: Iterable[Estimate | None]) -> Line:
    known = list(estimates)
    return Line(
        name=name,
        style=style,
        values=[None if one is None else one.mean for one in known],
        low=[None if one is None else one.mean - (one.error or 0.0) for one in known],
        high=[None if one is None else one.mean + (one.error or 0.0) for one in known],
    )
