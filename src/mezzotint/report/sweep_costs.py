"""What does each combination of a sweep cost? Memory and time, against dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mezzotint.report.draw.bars import Bar, bar_chart
from mezzotint.report.draw.bars import Group as Bars
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import join
from mezzotint.report.numbers import count, duration, ratio, size
from mezzotint.report.section import Section
from mezzotint.report.sweep import DENSE, Group, Sweep, named
from mezzotint.report.sweep_accuracy import method_styles
from mezzotint.report.table import Column, Heads, Keyed, table


def costs_section(sweep: Sweep) -> Section:
    """Bars of memory and time, and a table."""
    lead = "Times are of whole runs, evaluation included; they compare only where all ran on the same quiet machine."
    known = [group for group in sweep.groups if group.finished]
    if not known:
        body = missing("No run is finished yet.")
    else:
        memory = _bars(sweep, known, _held, size, key="memory", title="Memory between steps")
        time = _bars(sweep, known, lambda group: _mean(group, "seconds"), duration, key="time", title="Time of a run")
        body = join(figures(memory, time), _table(sweep))
    return Section(key="costs", title="What it costs", short="Costs", lead=lead, body=body)


def _table(sweep: Sweep) -> str:
    base = _held(sweep.dense) if sweep.dense else None
    slow = _mean(sweep.dense, "seconds") if sweep.dense else None
    rows = (
        (
            named(group.method),
            Keyed.of(f"{group.density:g}", group.density),
            Keyed.of(count(_mean(group, "nnz")), _mean(group, "nnz")),
            Keyed.of(size(_held(group)), _held(group)),
            ratio(_held(group), base),
            Keyed.of(duration(_mean(group, "seconds")), _mean(group, "seconds")),
            ratio(_mean(group, "seconds"), slow),
        )
        for group in sweep.groups
    )
    columns: Heads = (
        Column(name="method", text=True),
        *("density", "nnz", "weights + optimiser + index", "to dense", "time of a run", "to dense"),
    )
    return table(columns, rows).html("Costs", kind="data sortable")


def _bars(
    sweep: Sweep,
    groups: Sequence[Group],
    pick: Callable[[Group], float | None],
    write: Callable[[float | None], str],
    *,
    key: str,
    title: str,
) -> Chart | None:
    known = [(group, value) for group in groups if (value := pick(group)) is not None]
    if not known:
        return None
    base = pick(sweep.dense) if sweep.dense else None
    styles = method_styles(sweep)

    def note(value: float) -> str:
        return f"{write(value)} · {ratio(value, base)}" if base else write(value)

    bars = [
        Bars(name=_name(group), bars=(Bar(value=value, style=styles[group.method].split()[0], text=note(value)),))
        for group, value in known
    ]
    least, value = min(known, key=lambda pair: pair[1])
    rows = ((_name(group), write(value), ratio(value, base)) for group, value in known)
    return Chart(
        key=f"{key}-bars",
        title=title,
        says=f"Least: {_name(least)}, {write(value)}{f', {ratio(value, base)} of dense' if base else ''}.",
        means="Weights, optimiser state and index; activations are the same for all."
        if key == "memory"
        else "Small networks spend much of their time outside of the layers, where sparsity saves nothing.",
        draw=lambda width: bar_chart(bars, width=width),
        table=table((Column(name="Combination", text=True), title.lower(), "to dense"), rows),
    )


def _name(group: Group) -> str:
    return DENSE if group.method == DENSE else f"{named(group.method)} {group.density:g}"


def _mean(group: Group, key: str) -> float | None:
    found = group.estimate(key)
    return None if found is None else found.mean


def _held(group: Group) -> float | None:
    parts = [_mean(group, key) for key in ("weight_bytes", "optimizer_bytes", "index_bytes")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
