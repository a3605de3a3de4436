"""What does each combination of a sweep cost? Memory and time, against dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mezzotint.report.draw.bars import Bar, bar_chart
from mezzotint.report.draw.bars import Group as Bars
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import join
from mezzotint.report.numbers import count, duration, ratio, size
from mezzotint.report.section import Section
from mezzotint.report.sweep import DENSE, Group, Sweep, named, settings_of
from mezzotint.report.sweep_chart import series_styles
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
    def seconds(group: Group) -> float | None:
        return _mean(group, "seconds")

    rows = (
        (
            named(group.method),
            Keyed.of(f"{group.density:g}", group.density),
            *settings_of(sweep, group.over),
            Keyed.of(count(_mean(group, "nnz")), _mean(group, "nnz")),
            Keyed.of(size(_held(group)), _held(group)),
            _to_dense(sweep, group, _held),
            Keyed.of(duration(seconds(group)), seconds(group)),
            _to_dense(sweep, group, seconds),
        )
        for group in sweep.groups
    )
    columns: Heads = (
        Column(name="method", text=True),
        "density",
        *(Column(name=name, text=True) for name in sweep.axes.values()),
        *("nnz", "weights + optimiser + index", "to dense", "time of a run", "to dense"),
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
    styles = series_styles(sweep)

    def note(group: Group, value: float) -> str:
        return f"{write(value)} · {_to_dense(sweep, group, pick)}" if sweep.base(group) else write(value)

    bars = [
        Bars(
            name=_name(sweep, group),
            bars=(Bar(value=value, style=styles[sweep.label(group)].split()[0], text=note(group, value)),),
        )
        for group, value in known
    ]
    least, value = min(known, key=lambda pair: pair[1])
    to_dense = f", {_to_dense(sweep, least, pick)} of dense" if sweep.base(least) else ""
    rows = ((_name(sweep, group), write(value), _to_dense(sweep, group, pick)) for group, value in known)
    return Chart(
        key=f"{key}-bars",
        title=title,
        says=f"Least: {_name(sweep, least)}, {write(value)}{to_dense}.",
        means="Weights, optimiser state and index; activations are the same for all."
        if key == "memory"
        else "Small networks spend much of their time outside of the layers, where sparsity saves nothing.",
        draw=lambda width: bar_chart(bars, width=width),
        table=table((Column(name="Combination", text=True), title.lower(), "to dense"), rows),
    )


def _to_dense(sweep: Sweep, group: Group, pick: Callable[[Group], float | None]) -> str:
    dense = sweep.base(group)
    return ratio(pick(group), pick(dense) if dense else None)


def _name(sweep: Sweep, group: Group) -> str:
    """The combination in words: ``rigl 0.05 · lr 0.1``."""
    method, *settings = sweep.label(group).split(" · ")
    return " · ".join([method if group.method == DENSE else f"{method} {group.density:g}", *settings])


def _mean(group: Group, key: str) -> float | None:
    found = group.estimate(key)
    return None if found is None else found.mean


def _held(group: Group) -> float | None:
    parts = [_mean(group, key) for key in ("weight_bytes", "optimizer_bytes", "index_bytes")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
