"""How did the runs of a sweep learn? At every density, each combination's mean curve with the band of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.numbers import count, percent, share
from mezzotint.report.section import Section, thinned
from mezzotint.report.sections.curves import EPOCHS
from mezzotint.report.sweep import DENSE, Group, Sweep
from mezzotint.report.sweep_chart import series_styles
from mezzotint.report.table import Column, table

#: Points of a curve, and densities with a chart, at most.
_POINTS, _CHARTS = 160, 8


def curves_section(sweep: Sweep) -> Section:
    """A chart for every density, the dense network in each."""
    densities = sorted({group.density for group in sweep.groups if group.method != DENSE}, reverse=True)
    charts = [chart for density in densities[-_CHARTS:] if (chart := _chart(sweep, density)) is not None]
    if len(charts) % 2:
        charts[-1] = replace(charts[-1], wide=True)  # a half alone would leave a hole beside it
    only_dense = _chart(sweep, 1.0) if not densities else None
    body = figures(*charts, only_dense) if charts or only_dense else missing("No epoch of any run has ended yet.")
    lead = "Test error after every epoch: lines are means over the seeds, bands reach from the best seed to the worst."
    return Section(key="curves", title="How they learned", short="Curves", lead=lead, body=body)


def _chart(sweep: Sweep, density: float) -> Chart | None:
    styles = series_styles(sweep)
    groups = [group for group in sweep.groups if group.method == DENSE or group.density == density]
    bands = {sweep.label(group): band for group in groups if (band := _band(group))}
    if not any(_band(group) for group in groups if group.method != DENSE) and density < 1:
        return None
    epochs = max((len(band) for band in bands.values()), default=0)
    if not epochs:
        return None
    xs = thinned(range(epochs), _POINTS)
    lines = [_line(name, styles[name], band, xs) for name, band in bands.items()]
    columns = [Column(name=line.name, style=line.style) for line in lines]
    rows = ((count(x + 1), *(_told(band, x) for band in bands.values())) for x in xs)
    ends = ", ".join(f"{name} {percent(_last(band))}" for name, band in bands.items())
    return Chart(
        key=f"curves-{density:g}".replace(".", "-"),
        title=f"Density {density:g}",
        says=f"At the end: {ends}.",
        means="A wide band says that the seed matters more than the method.",
        draw=lambda width: line_chart(
            [x + 1.0 for x in xs], lines, x=EPOCHS, y=Axis(label="wrongly classified", write=share), width=width
        ),
        table=table(("Epoch", *columns), rows),
        legend=tuple((f"line {line.style}", line.name) for line in lines),
    )


#: (lowest, mean, highest) error of the seeds after each epoch; None where no seed has one.
_Band = list[tuple[float, float, float] | None]


def _band(group: Group) -> _Band:
    epochs = max((len(trial.errors) for trial in group.trials), default=0)
    made: _Band = []
    for epoch in range(epochs):
        values = [v for trial in group.trials if epoch < len(trial.errors) and (v := trial.errors[epoch]) is not None]
        made.append((min(values), fmean(values), max(values)) if values else None)
    return made


def _line(name: str, style: str, band: _Band, xs: Sequence[int]) -> Line:
    shown = [band[x] if x < len(band) else None for x in xs]
    low, mean, high = ([None if one is None else one[part] for one in shown] for part in range(3))
    return Line(name=name, style=style, values=mean, low=low, high=high)


def _told(band: _Band, x: int) -> str:
    one = band[x] if x < len(band) else None
    if one is None:
        return percent(None)
    return percent(one[1]) if one[0] == one[2] else f"{percent(one[1])} ({percent(one[0])} to {percent(one[2])})"


def _last(band: _Band) -> float | None:
    return next((one[1] for one in reversed(band) if one is not None), None)
