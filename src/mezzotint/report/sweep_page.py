"""How does a sweep look? One page: accuracy against density with bands, and what each combination costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import join, tag
from mezzotint.report.numbers import ABSENT, count, duration, percent, plain, ratio, share, size
from mezzotint.report.page import page
from mezzotint.report.section import Section
from mezzotint.report.sweep import DENSE, Estimate, Group, Sweep, hundredths, named, sweep_rows, with_error
from mezzotint.report.table import Column, Heads, table

_COLOURS: Final = ("s1", "s2", "s3", "s4", "s5")
_DASHES: Final = ("", " dashed", " dotted")
_DENSE_STYLE: Final = "s6 dashed"


def sweep_page(sweep: Sweep) -> str:
    """The page of a sweep. The same records give the same text, byte for byte."""
    done = sum(len(group.finished) for group in sweep.groups)
    asked = sum(len(group.trials) for group in sweep.groups)
    state = "finished" if done == asked else f"{done} of {asked} runs are finished"
    top = tag(
        "div",
        tag("p", "Sweep", tag("span", state, class_=f"state {'finished' if done == asked else 'in'}"), class_="kicker"),
        tag("h1", sweep.folder.resolve().name),
        tag("p", _sentence(sweep), class_="result"),
        class_="hero",
    )
    return page(f"{sweep.folder.resolve().name} · mezzotint sweep", top, [_results(sweep), _costs(sweep)])


def _sentence(sweep: Sweep) -> str:
    base = sweep.dense.accuracy if sweep.dense else None
    known = [group for group in sweep.groups if group.method != DENSE and group.accuracy is not None]
    dense = "" if base is None else f"Dense: {hundredths(base.mean)}."
    if not known:
        return dense or "No run is finished yet."
    sparsest = min(group.density for group in known)
    best = max((g for g in known if g.density == sparsest), key=lambda g: g.accuracy.mean if g.accuracy else 0.0)
    reached = "" if best.accuracy is None else hundredths(best.accuracy.mean)
    return f"{dense} With {percent(sparsest)} of the weights, {named(best.method)} reaches {reached}.".strip()


def _results(sweep: Sweep) -> Section:
    heads, rows = sweep_rows(sweep)
    columns: Heads = (Column(name=heads[0], text=True), *heads[1:])
    body = join(figures(_against_density(sweep)), table(columns, rows).html("All combinations"))
    lead = (
        "Lines are means over the seeds, bands one standard error to each side; the dense network's band runs along the"
        " whole axis. Differences to dense are in percentage points."
    )
    return Section(key="results", title="Accuracy", short="Accuracy", lead=lead, body=body)


def _costs(sweep: Sweep) -> Section:
    base = _held(sweep.dense) if sweep.dense else None
    rows = (
        (
            named(group.method),
            f"{group.density:g}",
            count(_mean(group, "nnz")),
            size(_held(group)),
            ratio(_held(group), base),
            duration(_mean(group, "seconds")),
            ratio(_mean(group, "seconds"), _mean(sweep.dense, "seconds") if sweep.dense else None),
        )
        for group in sweep.groups
    )
    columns: Heads = (
        Column(name="method", text=True),
        *("density", "nnz", "weights + optimiser + index", "to dense", "time of a run", "to dense"),
    )
    known = any(group.finished for group in sweep.groups)
    body = table(columns, rows).html("Costs") if known else missing("No run is finished yet.")
    lead = "Times are of whole runs, evaluation included; they compare only where all ran on the same quiet machine."
    return Section(key="costs", title="What it costs", short="Costs", lead=lead, body=body)


def _mean(group: Group, key: str) -> float | None:
    found = group.estimate(key)
    return None if found is None else found.mean


def _held(group: Group) -> float | None:
    parts = [_mean(group, key) for key in ("weight_bytes", "optimizer_bytes", "index_bytes")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _against_density(sweep: Sweep) -> Chart | None:
    """A chart over the densities at even distances: they are chosen, not measured."""
    densities = sorted({group.density for group in sweep.groups if group.method != DENSE and group.finished})
    if not densities:
        return None
    lines = []
    cells: list[Sequence[Estimate | None]] = []
    base = sweep.dense.accuracy if sweep.dense else None
    if base is not None:
        cells.append([base] * len(densities))
        lines.append(_line("dense", _DENSE_STYLE, cells[-1]))
    for place, method in enumerate(sweep.methods):
        style = _COLOURS[place % len(_COLOURS)] + _DASHES[place // len(_COLOURS) % len(_DASHES)]
        by_density = {group.density: group.accuracy for group in sweep.groups if group.method == method}
        cells.append([by_density.get(density) for density in densities])
        lines.append(_line(named(method), style, cells[-1]))
    legend = [(f"line {line.style}", line.name) for line in lines]
    columns = [Column(name=line.name, style=line.style) for line in lines]
    rows = (
        (f"{density:g}", *(ABSENT if (one := of_line[place]) is None else with_error(one) for of_line in cells))
        for place, density in enumerate(densities)
    )
    y = Axis(label="test accuracy", write=share)
    x = Axis(label="density", write=lambda value: plain(densities[round(value)], 3))
    return Chart(
        key="accuracy",
        title="Test accuracy against density",
        says=_sentence(sweep),
        draw=lambda width: line_chart([float(i) for i in range(len(densities))], lines, x=x, y=y, width=width),
        table=table(("Density", *columns), rows),
        legend=tuple(legend),
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
