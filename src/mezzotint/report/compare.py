"""How do several runs differ? Their curves laid over each other, and one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.headline import Headline, headline
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
    sections = (_overview(named, link), _curves(named), _costs(named))
    return Page(title="Comparison · mezzotint report", top=top, sections=sections)


def _named(runs: Sequence[Run]) -> list[Named]:
    """Names that differ (by the folder where the run's own name is not enough) and a style for each run."""
    own = [headline(run).name for run in runs]
    again = {name for name, times in Counter(own).items() if times > 1}
    styles = [_COLOURS[i % len(_COLOURS)] + _DASHES[i // len(_COLOURS) % len(_DASHES)] for i in range(len(runs))]
    names = [f"{name} ({run.folder.name})" if name in again else name for name, run in zip(own, runs, strict=True)]
    return list(zip(names, styles, runs, strict=True))


def _overview(named: Sequence[Named], link: Link) -> Section:
    words = ("Run", "method", "precision")
    numbers = ("test accuracy", "density", "nnz", "memory", "time")
    columns: Heads = (*(Column(name=name, text=True) for name in words), *numbers)
    first = headline(named[0][2])
    rows = (_row(name, headline(run), first, link(run.folder)) for name, _, run in named)
    body = table(columns, rows).html("All runs", kind="data sortable")
    lead = "Memory counts weights, optimiser state and index; ratios in brackets are taken to the first run."
    return Section(key="overview", title="At a glance", short="Overview", lead=lead, body=body)


def _row(name: str, head: Headline, first: Headline, address: str | None) -> tuple[str, ...]:
    held, took = ratio(head.sparse_bytes, first.sparse_bytes), ratio(head.seconds, first.seconds)
    shown = name if head.state == "finished" else f"{name} ({head.state})"
    return (
        shown if address is None else tag("a", shown, href=address),
        head.method.replace("_", " ") or ABSENT,
        head.precision or ABSENT,
        Keyed.of(percent(head.accuracy, 4), head.accuracy),
        Keyed.of(percent(head.density), head.density),
        Keyed.of(count(head.nnz), head.nnz),
        Keyed.of(_against(size(head.sparse_bytes), held), head.sparse_bytes),
        Keyed.of(_against(duration(head.seconds), took), head.seconds),
    )


def _against(value: str, share: str) -> str:
    return value if share == ABSENT else f"{value} ({share})"


def _curves(named: Sequence[Named]) -> Section:
    percents = Axis(label="wrongly classified", write=share)
    losses = Axis(label="cross-entropy loss", write=plain)
    charts = (
        _overlay(named, "test-error", "Test error", lambda epoch: _wrong(epoch.test_accuracy), percents, percent),
        _overlay(named, "test-loss", "Test loss", lambda epoch: epoch.test_loss, losses, loss_text),
        _overlay(named, "train-error", "Training error", lambda epoch: _wrong(epoch.train_accuracy), percents, percent),
        _overlay(named, "train-loss", "Training loss", lambda epoch: epoch.train_loss, losses, loss_text),
    )
    lead = "By epoch, each run in its own colour."
    return Section(key="curves", title="How they learned", short="Curves", lead=lead, body=figures(*charts))


def _overlay(
    named: Sequence[Named],
    key: str,
    title: str,
    pick: Callable[[Epoch], float | None],
    y: Axis,
    write: Callable[[float | None], str],
) -> Chart | None:
    values = {name: {epoch.epoch + 1: pick(epoch) for epoch in run.epochs} for name, _, run in named}
    xs = sorted({x for row in values.values() for x in row})
    if not xs:
        return None
    lines = [Line(name=name, style=style, values=[values[name].get(x) for x in xs]) for name, style, _ in named]
    columns: Heads = ("Epoch", *(Column(name=name, style=style) for name, style, _ in named))
    rows = ((count(x), *(write(values[name].get(x)) for name, _, _ in named)) for x in xs)
    ends = (f"{name} {write(_end(run.epochs, pick))}" for name, _, run in named)
    return Chart(
        key=key,
        title=title,
        says=f"At the end: {', '.join(ends)}.",
        draw=lambda width: line_chart([float(x) for x in xs], lines, x=EPOCHS, y=y, width=width),
        table=table(columns, rows),
        legend=tuple((f"line {style}", name) for name, style, _ in named),
    )


def _end(epochs: Sequence[Epoch], pick: Callable[[Epoch], float | None]) -> float | None:
    return next((value for epoch in reversed(epochs) if (value := pick(epoch)) is not None), None)


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
        draw=lambda width: bar_chart(groups, width=width),
        table=table((Column(name="Run", text=True), title.lower(), "ratio"), rows),
    )


def _wrong(accuracy: float | None) -> float | None:
    return None if accuracy is None else 1.0 - accuracy
