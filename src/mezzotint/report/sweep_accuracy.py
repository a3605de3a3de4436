"""How accurate is each combination, and how sure is that? By density, by every other axis, and seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mezzotint.report.draw.lines import Line
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
    points,
    sweep_rows,
    with_error,
)
from mezzotint.report.sweep_chart import DENSE_LOOKS, Cells, chart_over, line, series_styles
from mezzotint.report.sweep_over import against
from mezzotint.report.table import Column, Heads, Keyed, table


def accuracy_section(sweep: Sweep) -> Section:
    """Accuracy by density, by every other axis, paired differences, and all combinations."""
    others = [chart for key in sweep.axes if (chart := against(sweep, key)) is not None]
    # A chart of one density says nothing that others do not say.
    wanted = len(_densities(sweep)) > 1 or (len(_densities(sweep)) == 1 and not others)
    charts = [_against_density(sweep), *others, _paired(sweep)] if wanted else others
    body = join(figures(*charts), _combinations(sweep))
    lead = (
        "Lines are means over the seeds, bands one standard error to each side; the dense network's band runs along the"
        " whole axis. Differences to dense are in percentage points."
    )
    return Section(key="results", title="Accuracy", short="Accuracy", lead=lead, body=body)


def sentence(sweep: Sweep) -> str:
    """The sweep's result in words."""
    known = [group for group in sweep.groups if group.method != DENSE and group.accuracy is not None]
    dense = _best(group for group in sweep.dense if group.accuracy is not None)
    told = "" if dense is None or dense.accuracy is None else hundredths(dense.accuracy.mean)
    if told and dense is not None:
        told = f"{_spoken(sweep, dense).capitalize()}: {told}{'' if len(sweep.dense) == 1 else ' at best'}."
    if not known:
        return told or "No run is finished yet."
    sparsest = min(group.density for group in known)
    best = _best(group for group in known if group.density == sparsest)
    if best is None or best.accuracy is None:
        return told
    reached = hundredths(best.accuracy.mean)
    return f"{told} With {percent(sparsest)} of the weights, {_spoken(sweep, best)} reaches {reached}.".strip()


def _spoken(sweep: Sweep, group: Group) -> str:
    method, *settings = sweep.label(group).split(" · ")
    return f"{method} ({', '.join(settings)})" if settings else method


def _best(groups: Iterable[Group]) -> Group | None:
    return max(groups, key=lambda group: group.accuracy.mean if group.accuracy else 0.0, default=None)


def _combinations(sweep: Sweep) -> Markup:
    heads, rows = sweep_rows(sweep)
    columns: Heads = (
        Column(name=heads[0], text=True),
        heads[1],
        *(Column(name=name, text=True) for name in heads[2:-4]),
        *(heads[-4], "to dense, points", "seed by seed", *heads[-2:]),
    )
    cells = (
        (
            row[0],
            Keyed.of(row[1], group.density),
            *row[2:-4],
            Keyed.of(row[-4], group.accuracy.mean if group.accuracy else None),
            Keyed.of(*_difference(sweep, group)),
            _seeds(sweep, group),
            Keyed.of(row[-2], len(group.finished)),
            Keyed.of(row[-1], seconds.mean if (seconds := group.estimate("seconds")) else None),
        )
        for group, row in zip(sweep.groups, rows, strict=True)
    )
    return table(columns, cells).html(
        "All combinations: means over the seeds ± one standard error", kind="data sortable"
    )


def _difference(sweep: Sweep, group: Group) -> tuple[str, float | None]:
    found = _to_dense(sweep, group) if group.method != DENSE else None
    if found is None:
        return ABSENT, None
    error = "" if found.error is None else f" ± {100 * found.error:.2f}"
    return f"{points(found.mean)}{error}", found.mean


def _seeds(sweep: Sweep, group: Group) -> str:
    dense = sweep.base(group)
    if dense is None or group.method == DENSE:
        return ABSENT
    return ", ".join(points(value) for _, value in sorted(group.differences(dense).items())) or ABSENT


def _to_dense(sweep: Sweep, group: Group) -> Estimate | None:
    dense = sweep.base(group)
    return group.against(dense) if dense else None


def _densities(sweep: Sweep) -> list[float]:
    return sorted({group.density for group in sweep.groups if group.method != DENSE and group.finished})


def _written_densities(sweep: Sweep) -> list[str]:
    return [f"{density:g}" for density in _densities(sweep)]


def _against_density(sweep: Sweep) -> Chart:
    dense = {sweep.label(group): group.accuracy for group in sweep.dense}
    lines, cells = _lines(sweep, lambda group: group.accuracy, dense)
    return chart_over(
        "density",
        _written_densities(sweep),
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
    seeds = max((group.accuracy.n for group in sweep.dense if group.accuracy), default=0)
    if not seeds:
        return None
    zero: dict[str, Estimate | None] = {DENSE: Estimate(mean=0.0, error=None, n=seeds)}
    lines, cells = _lines(sweep, lambda group: _to_dense(sweep, group), zero)
    written = [[ABSENT if one is None else f"{points(one.mean)}{_error(one)}" for one in row] for row in cells]
    last = [row[0] for row in cells[1:] if row and row[0] is not None]
    best = max(last, key=lambda one: one.mean) if last else None
    at = percent(_densities(sweep)[0]) if last else ""
    said = (
        ""
        if best is None
        else f"At {at} of the weights the best method is {points(best.mean)}{_error(best)} points from dense."
    )
    return chart_over(
        "density",
        _written_densities(sweep),
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


def _lines(
    sweep: Sweep, pick: Callable[[Group], Estimate | None], dense: Mapping[str, Estimate | None]
) -> tuple[list[Line], Cells]:
    """A line over the densities for each of ``dense``, the same at all of them, and one for each series."""
    densities, looks = _densities(sweep), series_styles(sweep)
    lines: list[Line] = []
    cells: Cells = []
    for label, base in dense.items():
        if base is not None:
            cells.append([base] * len(densities))
            lines.append(line(label, looks.get(label, DENSE_LOOKS[0]), cells[-1]))
    for label in sweep.series:
        by_density = {group.density: pick(group) for group in sweep.groups if sweep.label(group) == label}
        cells.append([by_density.get(density) for density in densities])
        lines.append(line(label, looks[label], cells[-1]))
    return lines, cells
