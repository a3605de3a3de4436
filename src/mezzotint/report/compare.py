"""How do several runs differ? Their curves laid over each other, and one table."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from mezzotint.report.differences import differences_section
from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.headline import Headline, guessed, headline
from mezzotint.report.links import Link, nowhere
from mezzotint.report.markup import tag
from mezzotint.report.numbers import ABSENT, count, duration, percent, plain, ratio, share, size
from mezzotint.report.page import Page, page
from mezzotint.report.record import Epoch, Run
from mezzotint.report.section import Section
from mezzotint.report.sections.curves import EPOCHS, loss_text
from mezzotint.report.table import Column, Heads, Keyed, table

_COLOURS = ("s1", "s2", "s3", "s4", "s5", "s6")
_DASHES = ("", " dashed", " dotted")

#: What each chart of curves tells a newcomer.
_MEANS = {
    "test-error": "Lower is better: the share of images, never trained on, that get the wrong class.",
    "test-loss": "Lower is better: how surprised the network is by the right answers.",
    "train-error": "Far below the test error, a network has learned its training images by heart.",
    "train-loss": "What training lowers, step by step; regularised networks stay higher on purpose.",
}
#: A run under the name that the page gives it.
Named = tuple[str, str, Run]


def comparison_page(runs: Sequence[Run], link: Link = nowhere) -> str:
    """The page that compares ``runs``; the first is the yardstick."""
    return page(comparison_parts(runs, link))


def comparison_parts(runs: Sequence[Run], link: Link = nowhere) -> Page:
    """What the page of a comparison consists of; ``link`` gives the addresses of the runs' pages."""
    named = _named(runs)
    names = ", ".join(name for name, _, _ in named)
    top = tag(
        "div",
        tag("p", "Comparison of runs", class_="kicker"),
        tag("h1", f"{len(runs)} runs, side by side"),
        tag("p", names, class_="result"),
        class_="hero",
        id="hero",
    )
    differences = differences_section([(name, run) for name, _, run in named])
    sections = (_overview(named, link), _curves(named), _costs(named), differences)
    return Page(title="Comparison · mezzotint report", top=top, sections=sections)


def _named(runs: Sequence[Run]) -> list[Named]:
    """Names that differ (by the folder where the run's own name is not enough) and a style for each run."""
    own = [headline(run).name for run in runs]
    again = {name for name, times in Counter(own).items() if times > 1}
    styles = map(_style, range(len(runs)))
    names = [f"{name} ({run.folder.name})" if name in again else name for name, run in zip(own, runs, strict=True)]
    return list(zip(names, styles, runs, strict=True))


def _style(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)] + _DASHES[place // len(_COLOURS) % len(_DASHES)]


def _overview(named: Sequence[Named], link: Link) -> Section:
    words = ("Run", "method", "precision")
    numbers = ("test accuracy", "density", "multiply-adds", "nnz", "memory", "time")
    columns: Heads = (*(Column(name=name, text=True) for name in words), *numbers)
    first = headline(named[0][2])
    rows = (_row(name, headline(run), first, link(run.folder)) for name, _, run in named)
    body = table(columns, rows).html("All runs", kind="data sortable")
    lead = (
        "Multiply-adds are a share of the dense network's. Memory counts weights, optimiser state and index; ratios in"
        " brackets are taken to the first run."
    )
    return Section(key="overview", title="At a glance", short="Overview", lead=lead, body=body)


def _row(name: str, head: Headline, first: Headline, address: str | None) -> tuple[str, ...]:
    held, took = ratio(head.sparse_bytes, first.sparse_bytes), ratio(head.seconds, first.seconds)
    doubtful = guessed(head.accuracy, head.chance) if head.as_a_guess else ""
    state = "diverged" if head.diverged else doubtful or head.state
    shown = name if state == "finished" else f"{name} ({state})"
    return (
        shown if address is None else tag("a", shown, href=address),
        head.method.replace("_", " ") or ABSENT,
        head.precision or ABSENT,
        Keyed.of(percent(head.accuracy, 4), head.accuracy),
        Keyed.of(percent(head.density), head.density),
        Keyed.of(percent(head.multiply_adds), head.multiply_adds),
        Keyed.of(count(head.nnz), head.nnz),
        Keyed.of(_against(size(head.sparse_bytes), held), head.sparse_bytes),
        Keyed.of(_against(duration(head.seconds), took), head.seconds),
    )


def _against(value: str, share: str) -> str:
    return value if share == ABSENT else f"{value} ({share})"


def _curves(named: Sequence[Named]) -> Section:
    lines = families(named)
    percents = Axis(label="wrongly classified", write=share)
    losses = Axis(label="cross-entropy loss", write=plain)
    charts = (
        _overlay(lines, "test-error", "Test error", lambda epoch: _wrong(epoch.test_accuracy), percents, percent),
        _overlay(lines, "test-loss", "Test loss", lambda epoch: epoch.test_loss, losses, loss_text),
        _overlay(lines, "train-error", "Training error", lambda epoch: _wrong(epoch.train_accuracy), percents, percent),
        _overlay(lines, "train-loss", "Training loss", lambda epoch: epoch.train_loss, losses, loss_text),
    )
    lead = "By epoch, each run in its own colour."
    if len(lines) < len(named):
        lead = (
            "By epoch. Runs that differ by the seed alone are one line, their mean, in a band from lowest to highest."
        )
    return Section(key="curves", title="How they learned", short="Curves", lead=lead, body=figures(*charts))


#: Name, style, and the runs that are drawn as one line.
Family = tuple[str, str, list[Run]]


def families(named: Sequence[Named]) -> list[Family]:
    """The lines of the curves, with runs whose configurations differ by the seed alone as one."""
    groups: dict[str, list[Named]] = {}
    for place, item in enumerate(named):
        settings = {key: value for key, value in item[2].config.items() if key not in ("name", "seed")}
        key = json.dumps(settings, sort_keys=True, default=str) if settings else str(place)
        seeds = [run.config.get("seed") for _, _, run in groups.get(key, [])]
        # The same seed twice is no sample of seeds: perhaps one run on two machines.
        own = key if item[2].config.get("seed") not in seeds else str(place)
        groups.setdefault(own, []).append(item)
    if len(groups) == len(named):
        return [(name, style, [run]) for name, style, run in named]
    made = []
    for place, group in enumerate(groups.values()):
        head = headline(group[0][2])
        words = f"{head.method.replace('_', ' ')} {head.density:.3g}" if head.density is not None else group[0][0]
        name = f"{words}, {len(group)} seeds" if len(group) > 1 else group[0][0]
        made.append((name, _style(place), [run for _, _, run in group]))
    return made


def _overlay(
    families: Sequence[Family],
    key: str,
    title: str,
    pick: Callable[[Epoch], float | None],
    y: Axis,
    write: Callable[[float | None], str],
) -> Chart | None:
    xs = sorted({epoch.epoch + 1 for _, _, runs in families for run in runs for epoch in run.epochs})
    if not xs:
        return None
    lines = [_line(name, style, runs, xs, pick) for name, style, runs in families]
    columns: Heads = ("Epoch", *(Column(name=line.name, style=line.style) for line in lines))
    rows = ((count(x), *(write(line.values[place]) for line in lines)) for place, x in enumerate(xs))
    ends = (f"{line.name} {write(_end(line.values))}" for line in lines)
    return Chart(
        key=key,
        title=title,
        says=f"At the end: {', '.join(ends)}.",
        means=_MEANS[key],
        draw=lambda width: line_chart([float(x) for x in xs], lines, x=EPOCHS, y=y, width=width),
        table=table(columns, rows),
        legend=tuple((f"line {line.style}", line.name) for line in lines),
    )


def _line(name: str, style: str, runs: Sequence[Run], xs: Sequence[int], pick: Callable[[Epoch], float | None]) -> Line:
    """The mean of the runs, and from the lowest to the highest where there are several."""
    tables = [{epoch.epoch + 1: pick(epoch) for epoch in run.epochs} for run in runs]
    found = [[value for row in tables if (value := row.get(x)) is not None and math.isfinite(value)] for x in xs]
    several = len(runs) > 1
    return Line(
        name=name,
        style=style,
        values=[fmean(values) if values else None for values in found],
        low=[min(values, default=None) for values in found] if several else (),
        high=[max(values, default=None) for values in found] if several else (),
    )


def _end(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _costs(named: Sequence[Named]) -> Section:
    heads = [(name, style, headline(run)) for name, style, run in named]
    memory = _bars("memory", "Memory", [(name, style, head.sparse_bytes) for name, style, head in heads], size)
    time = _bars("time", "Training time", [(name, style, head.seconds) for name, style, head in heads], duration)
    body = figures(memory, time) if memory or time else missing("Neither memory nor time is recorded.")
    return Section(key="costs", title="What they cost", short="Costs", lead="", body=body)


def _bars(
    key: str, title: str, values: Sequence[tuple[str, str, float | None]], write: Callable[[float | None], str]
) -> Chart | None:
    known = [(name, style.split()[0], value) for name, style, value in values if value is not None]
    if not known:
        return None
    groups = [
        Group(name=name, bars=(Bar(value=value, style=style, text=f"{write(value)} · {ratio(value, known[0][2])}"),))
        for name, style, value in known
    ]
    rows = ((name, write(value), ratio(value, known[0][2])) for name, _, value in known)
    return Chart(
        key=f"{key}-bars",
        title=title,
        says=f"Ratios are taken to {known[0][0]}.",
        means="Weights, optimiser state and index, as they live from step to step."
        if key == "memory"
        else "Times compare only where all runs had the same quiet machine.",
        draw=lambda width: bar_chart(groups, width=width),
        table=table((Column(name="Run", text=True), title.lower(), "ratio"), rows),
    )


def _wrong(accuracy: float | None) -> float | None:
    return None if accuracy is None else 1.0 - accuracy
