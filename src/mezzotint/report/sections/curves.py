"""How did the network learn? Loss and error by epoch, loss by step, learning rate, loss scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import Markup, join
from mezzotint.report.numbers import count, percent, plain, power_of_two, share
from mezzotint.report.record import Epoch, Run, Step
from mezzotint.report.section import Section, bins
from mezzotint.report.table import Column, table

#: Points drawn along a step axis at most; more would fall on the same pixels.
_POINTS = 180
#: Points of a curve that changes in steps (learning rate, loss scale).
_LEVELS = 120

EPOCHS = Axis(label="epochs", write=count, kind="linear")
STEPS = Axis(label="steps", write=count, kind="linear")
_TEST, _TRAIN = "s1", "s2 dashed"


def section(run: Run) -> Section:
    """The learning curves of a run."""
    return Section(
        key="learning",
        title="How it learned",
        short="Learning",
        lead="Test values are measured on images that the training never sees, once after every epoch.",
        body=join(_by_epoch(run.epochs), _by_step(run.steps)),
    )


def _by_epoch(epochs: Sequence[Epoch]) -> Markup:
    if not epochs:
        return missing("No epoch has ended yet: loss and error by epoch are not recorded.")
    return figures(_loss(epochs), _error(epochs))


def _by_step(steps: Sequence[Step]) -> Markup:
    if not steps:
        return missing("Single steps are not recorded.")
    scale = _loss_scale(steps)
    return figures(_step_loss(steps), _learning_rate(steps, wide=scale is None), scale)


def _loss(epochs: Sequence[Epoch]) -> Chart:
    return two_lines(
        epochs,
        key="loss",
        title="Loss",
        train=[epoch.train_loss for epoch in epochs],
        test=[epoch.test_loss for epoch in epochs],
        y=Axis(label="cross-entropy loss", write=plain),
        write=loss_text,
        means="Loss tells how surprised the network is by the right answers; where only the training loss falls, it"
        " learns by heart.",
    )


def loss_text(value: float | None) -> str:
    """A loss with three significant digits."""
    return plain(value, 3)


def _error(epochs: Sequence[Epoch]) -> Chart:
    return two_lines(
        epochs,
        key="error",
        title="Error",
        train=[_wrong(epoch.train_accuracy) for epoch in epochs],
        test=[_wrong(epoch.test_accuracy) for epoch in epochs],
        y=Axis(label="wrongly classified", write=share),
        write=percent,
        means="Error is the share of images that get the wrong class.",
    )


def two_lines(
    epochs: Sequence[Epoch],
    *,
    key: str,
    title: str,
    train: Sequence[float | None],
    test: Sequence[float | None],
    y: Axis,
    write: Callable[[float | None], str],
    means: str,
) -> Chart:
    """A chart of a training and a test series by epoch."""
    xs = [epoch.epoch + 1.0 for epoch in epochs]
    lines = (Line(name="test", style=_TEST, values=test), Line(name="train", style=_TRAIN, values=train))
    columns = ("Epoch", Column(name="test", style=_TEST), Column(name="train", style=_TRAIN))
    rows = ((count(x), write(a), write(b)) for x, a, b in zip(xs, test, train, strict=True))
    return Chart(
        key=key,
        title=title,
        says=_best(xs, test, write),
        means=means,
        draw=lambda width: line_chart(xs, lines, x=EPOCHS, y=y, width=width),
        table=table(columns, rows),
        legend=((f"line {_TEST}", "test"), (f"line {_TRAIN}", "train")),
    )


def _best(xs: Sequence[float], test: Sequence[float | None], spell: Callable[[float | None], str]) -> str:
    known = [(value, x) for x, value in zip(xs, test, strict=True) if value is not None and math.isfinite(value)]
    if not known:
        return "No test value is recorded."
    (best, where), (last, end) = min(known), known[-1]
    lowest = "the lowest so far" if end == where else f"the lowest was {spell(best)}, after epoch {count(where)}"
    return f"On the test set {spell(last)} after epoch {count(end)}; {lowest}."


def _step_loss(steps: Sequence[Step]) -> Chart:
    parts = bins(steps, _POINTS)
    xs = [float(part[-1].step) for part in parts]
    losses = [finite(step.loss for step in part) for part in parts]
    means = [fmean(part) if part else None for part in losses]
    low, high = ([min(part) if part else None for part in losses], [max(part) if part else None for part in losses])
    skipped = [step.step for step in steps if step.skipped]
    grouped = len(parts) < len(steps)
    kept = Line(name="mean", style="s2", values=means, low=low if grouped else (), high=high if grouped else ())
    keys = (("line s2", "mean"), ("band s2", "lowest to highest")) if grouped else (("line s2", "loss"),)
    rows = (
        (count(x), plain(mean), plain(least), plain(most), count(sum(step.skipped for step in part)))
        for x, mean, least, most, part in zip(xs, means, low, high, parts, strict=True)
    )
    flags = (("flag", "skipped step"),) if skipped else ()
    return Chart(
        key="step-loss",
        title="Training loss, step by step",
        says=_step_words(len(steps), len(parts), len(skipped)),
        means="Each batch holds other images, so the line trembles; its trend counts.",
        draw=lambda width: line_chart(
            xs, (kept,), x=STEPS, y=Axis(label="loss of a batch", write=plain), width=width, marks=skipped
        ),
        table=table(("Step", Column(name="mean", style="s2"), "lowest", "highest", "skipped"), rows),
        legend=(*keys, *flags),
        wide=True,
    )


def _step_words(logged: int, points: int, skipped: int) -> str:
    joined = f"{count(logged)} logged steps"
    if points < logged:
        joined += f", drawn as {points} groups"
    return f"{joined}; {_skips(skipped)}"


def _skips(skipped: int) -> str:
    if not skipped:
        return "no logged step was skipped for an overflow."
    return f"{skipped} logged step{' was' if skipped == 1 else 's were'} skipped for an overflow."


def _learning_rate(steps: Sequence[Step], *, wide: bool) -> Chart | None:
    rates = finite(step.lr for step in steps)
    if not rates:
        return None
    note = " The loss was not scaled: this precision does not need it." if wide else ""
    return _levels(
        steps,
        key="learning-rate",
        title="Learning rate",
        says=f"From {plain(rates[0], 3)} to {plain(rates[-1], 3)}, {plain(max(rates), 3)} at most.{note}",
        means="How far each step moves the weights: boldly first, in small steps at the end.",
        values=[step.lr for step in steps],
        style="s3",
        y=Axis(label="learning rate", write=plain, kind="linear", zero=True),
        wide=wide,
    )


def _loss_scale(steps: Sequence[Step]) -> Chart | None:
    scales = finite(step.loss_scale for step in steps)
    skipped = [step.step for step in steps if step.skipped]
    if not scales or (set(scales) == {1.0} and not skipped):
        return None
    return _levels(
        steps,
        key="loss-scale",
        title="Loss scale",
        says=f"From {power_of_two(scales[0])} to {power_of_two(scales[-1])}; {_skips(len(skipped))}",
        means="The loss is multiplied by it, so that small gradients do not vanish in 16 bits.",
        values=[step.loss_scale for step in steps],
        style="s4",
        y=Axis(label="factor on the loss", write=power_of_two, kind="log2"),
        marks=skipped,
        stepped=True,
    )


def _levels(
    steps: Sequence[Step],
    *,
    key: str,
    title: str,
    says: str,
    means: str,
    values: Sequence[float | None],
    style: str,
    y: Axis,
    marks: Sequence[int] = (),
    stepped: bool = False,
    wide: bool = False,
) -> Chart:
    """A chart of a value that is set, not measured: a group of steps is shown by its last value."""
    parts = bins(list(zip(steps, values, strict=True)), _LEVELS)
    xs = [float(part[-1][0].step) for part in parts]
    last = [part[-1][1] for part in parts]
    flags = (("flag", "skipped step"),) if marks else ()
    return Chart(
        key=key,
        title=title,
        says=says,
        means=means,
        draw=lambda width: line_chart(
            xs, (Line(name=title, style=style, values=last, stepped=stepped),), x=STEPS, y=y, width=width, marks=marks
        ),
        table=table(
            ("Step", Column(name=title, style=style)),
            ((count(x), y.write(v) if v is not None else plain(v)) for x, v in zip(xs, last, strict=True)),
        ),
        legend=((f"line {style}", title.lower()), *flags),
        wide=wide,
    )


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are there and finite."""
    return [value for value in values if value is not None and math.isfinite(value)]


def _wrong(accuracy: float | None) -> float | None:
    return None if accuracy is None else 1.0 - accuracy
