"""Where does the time go? Milliseconds of a step by phase, and images a second."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.draw.lines import Line, area_chart, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import Markup
from mezzotint.report.numbers import count, duration, milliseconds, percent, plain
from mezzotint.report.record import EpochTime, Run, Timing
from mezzotint.report.section import Section, bins
from mezzotint.report.sections.curves import EPOCHS, STEPS, finite
from mezzotint.report.table import Column, Heads, table

#: The order in which a step runs; phases that are not listed follow by name.
_ORDER = ("data", "forward", "backward", "optimizer", "topology")
_NAMES = {"data": "waiting for data", "optimizer": "optimiser", "topology": "topology update"}
_STYLES = ("s6", "s1", "s2", "s3", "s4", "s5")
_REST = "other"
_EPOCH_PARTS = {"waiting for data": "s6", "training": "s1", "testing": "s5"}
_POINTS = 160
#: Fewer points for the phases: each is a mean over steps with and without a topology update.
_GROUPS = 60


def section(run: Run) -> Section:
    """The time of steps."""
    return Section(
        key="time",
        title="Where the time goes",
        short="Time",
        lead="Wall-clock time of logged steps. Times differ from machine to machine and from run to run; the other "
        "numbers of a run with the same seed and the same kernels do not.",
        body=_body([item for item in run.timing if item.phases or item.seconds is not None], run.epoch_times),
    )


def _body(timing: Sequence[Timing], epochs: Sequence[EpochTime]) -> Markup:
    if not timing:
        return missing("Times are not recorded.")
    names = phase_names(timing)
    return figures(_area(timing, names), _shares(timing, names), _throughput(timing), _by_epoch(epochs))


def _by_epoch(epochs: Sequence[EpochTime]) -> Chart | None:
    """Whole epochs, every step counted: waiting, the rest of training, testing."""
    known = [item for item in epochs if item.seconds is not None and item.seconds > 0]
    if not known:
        return None
    parts = bins(known, _GROUPS)
    xs = [part[-1].epoch + 1.0 for part in parts]
    series: dict[str, list[float]] = {name: [] for name in _EPOCH_PARTS}
    for part in parts:
        whole, waited, tested = (fmean(values) for values in zip(*map(_epoch_parts, part), strict=True))
        for name, value in zip(series, (waited, whole - waited - tested, tested), strict=True):
            series[name].append(value)
    whole = sum(_epoch_parts(item)[0] for item in known)
    waiting = sum(_epoch_parts(item)[1] for item in known) / whole
    layers = [(style, series[name]) for name, style in _EPOCH_PARTS.items()]
    rows = (
        (
            count(x),
            *(duration(series[name][place]) for name in series),
            duration(sum(row[place] for row in series.values())),
        )
        for place, x in enumerate(xs)
    )
    columns = (Column(name=name, style=style) for name, style in _EPOCH_PARTS.items())
    return Chart(
        key="epoch-time",
        title="Time of an epoch",
        says=f"The loader made the training wait for {percent(waiting, 2)} of all time.",
        means="Much waiting asks for loader threads, a cache or packed data; with little, arithmetic is the limit.",
        draw=lambda width: area_chart(
            xs, layers, x=EPOCHS, y=Axis(label="seconds", write=plain, kind="linear", zero=True), width=width
        ),
        table=table(("Epoch", *columns, "together"), rows),
        legend=tuple((f"area {style}", name) for name, style in _EPOCH_PARTS.items()),
        wide=True,
    )


def _epoch_parts(item: EpochTime) -> tuple[float, float, float]:
    """(whole, waited, tested) in seconds; the parts never exceed the whole."""
    whole = max(item.seconds or 0.0, 0.0)
    tested = min(max(item.tested or 0.0, 0.0), whole)
    return whole, min(max(item.waited or 0.0, 0.0), whole - tested), tested


def phase_names(timing: Sequence[Timing]) -> list[str]:
    """The phases in the order of a step; ``"other"`` last where phases do not fill the whole step."""
    seen = {name for item in timing for name in item.phases}
    known = [name for name in _ORDER if name in seen]
    extra = sorted(seen.difference(_ORDER, {_REST}))
    whole, rest = sum(item.seconds or 0.0 for item in timing), sum(_phase(item, _REST) for item in timing)
    named = [*known, *extra]
    return [*named, _REST] if rest > 0.005 * whole or not named else named


def _phase(item: Timing, name: str) -> float:
    """Seconds of a phase; ``"other"`` is what the named phases leave of the step."""
    if name != _REST or _REST in item.phases:
        return max(item.phases.get(name, 0.0), 0.0)
    return max((item.seconds or 0.0) - sum(item.phases.values()), 0.0)


def _style(index: int) -> str:
    return _STYLES[index % len(_STYLES)]


def _shown(name: str) -> str:
    return _NAMES.get(name, name)


def _area(timing: Sequence[Timing], names: Sequence[str]) -> Chart:
    parts = bins(timing, _GROUPS)
    xs = [float(part[-1].step) for part in parts]
    # Means, not medians: a topology update is rare and would vanish in a median.
    series = {name: [1e3 * fmean(_phase(item, name) for item in part) for part in parts] for name in names}
    layers = [(_style(index), series[name]) for index, name in enumerate(names)]
    columns: Heads = (
        "Step",
        *(Column(name=_shown(name), style=_style(index)) for index, name in enumerate(names)),
        "whole step",
    )
    typical = 1e3 * median(_whole(item) for item in timing)
    sums = [sum(values) for values in zip(*series.values(), strict=True)]
    rows = (
        (count(x), *(milliseconds(series[name][index]) for name in names), milliseconds(sums[index]))
        for index, x in enumerate(xs)
    )
    return Chart(
        key="step-time",
        title="Time of a step by phase",
        says=f"{milliseconds(typical)} is the median of {count(len(timing))} logged steps.",
        means="A thick band is where faster code, or a smaller network, would save most.",
        draw=lambda width: area_chart(
            xs, layers, x=STEPS, y=Axis(label="ms a step", write=plain, kind="linear", zero=True), width=width
        ),
        table=table(columns, rows),
        legend=tuple((f"area {_style(index)}", _shown(name)) for index, name in enumerate(names)),
        wide=True,
    )


def _whole(item: Timing) -> float:
    return item.seconds if item.seconds is not None else sum(item.phases.values())


def _shares(timing: Sequence[Timing], names: Sequence[str]) -> Chart:
    sums = {name: sum(_phase(item, name) for item in timing) for name in names}
    medians = {name: 1e3 * median(_phase(item, name) for item in timing) for name in names}
    whole = sum(sums.values()) or 1.0
    groups = [
        Group(
            name=_shown(name),
            bars=(
                Bar(
                    value=sums[name],
                    style=_style(index),
                    text=f"{percent(sums[name] / whole, 2)} · {milliseconds(medians[name])}",
                ),
            ),
        )
        for index, name in enumerate(names)
    ]
    rows = (
        (
            _shown(name),
            percent(sums[name] / whole),
            milliseconds(medians[name]),
            milliseconds(1e3 * sums[name] / len(timing)),
        )
        for name in names
    )
    first = max(sums, key=sums.__getitem__)
    return Chart(
        key="time-shares",
        title="Share of every phase",
        says=f"{_shown(first).capitalize()} takes most. Beside the share of all time: the median of a step.",
        draw=lambda width: bar_chart(groups, width=width),
        table=table((Column(name="Phase", text=True), "share", "median", "mean"), rows),
        wide=True,
    )


def _throughput(timing: Sequence[Timing]) -> Chart | None:
    known = [(item.step, item.images_per_second) for item in timing if item.images_per_second is not None]
    parts = bins(known, _POINTS)
    xs = [float(part[-1][0]) for part in parts]
    speeds = [median(finite(speed for _, speed in part) or [0.0]) for part in parts]
    if not speeds:
        return None
    return Chart(
        key="throughput",
        title="Images a second",
        says=f"{plain(median(speeds), 3)} images a second in the median.",
        means="Dips are topology updates, or another program that wanted the processor.",
        draw=lambda width: line_chart(
            xs,
            (Line(name="images a second", style="s3", values=speeds),),
            x=STEPS,
            y=Axis(label="images a second", write=plain, kind="linear", zero=True),
            width=width,
        ),
        table=table(
            ("Step", Column(name="images a second", style="s3")),
            ((count(x), plain(speed, 3)) for x, speed in zip(xs, speeds, strict=True)),
        ),
        wide=True,
    )
