"""What does the network mix up? The confusion matrix of the test set and the most frequent mistakes."""

from __future__ import annotations

from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.figure import Chart, card, figures, missing, ramp, ramps
from mezzotint.report.markup import Markup
from mezzotint.report.numbers import count, percent
from mezzotint.report.record import Mistakes, Run
from mezzotint.report.section import Section
from mezzotint.report.table import Column, Heads, Table, table

#: A matrix of more classes is a blur; then only the frequent mistakes and the weakest classes are listed.
_MOST_CLASSES = 60
_LISTED = 10


def section(run: Run) -> Section:
    """Mistakes on the test set."""
    return Section(
        key="mistakes",
        title="What it mixes up",
        short="Mistakes",
        lead="Test images by true class (rows) and by the class that the network chose (columns).",
        body=_body(run.mistakes),
    )


def _body(mistakes: Mistakes | None) -> Markup:
    if mistakes is None:
        return missing("The confusion matrix is not recorded; it is made after the last epoch.")
    if len(mistakes.classes) <= _MOST_CLASSES:
        return figures(_matrix(mistakes), card(_frequent(mistakes)))
    return figures(card(_weakest(mistakes)), card(_frequent(mistakes)))


def _matrix(mistakes: Mistakes) -> Chart:
    sums = [sum(row) or 1 for row in mistakes.confusion]
    worst = max((mistakes.confusion[i][j] / sums[i] for _, i, j in frequent(mistakes)), default=1.0)
    heat = Heat(
        rows=mistakes.classes,
        columns=mistakes.classes,
        cells=tuple(
            tuple(_cell(i == j, value / total, worst, value) for j, value in enumerate(row))
            for i, (row, total) in enumerate(zip(mistakes.confusion, sums, strict=True))
        ),
        x_label="chosen class",
        each="taken for",
        y_label="true class",
        square=True,
    )
    right = sum(row[index] for index, row in enumerate(mistakes.confusion))
    whole = sum(map(sum, mistakes.confusion))
    return Chart(
        key="confusion",
        title="Confusion matrix",
        says=f"{count(whole - right)} of {count(whole)} test images are classified wrongly.",
        draw=lambda width: heat_map(heat, width=width),
        table=_counts(mistakes),
        legend=ramps(ramp("t1", "right: 0 %", "100 %"), ramp("t2", "wrong: 0 %", percent(worst, 2))),
    )


def _cell(right: bool, share: float, worst: float, value: int) -> Cell:
    if right:
        return Cell(style="t1", tint=share, text=count(value))
    return Cell(style="t2", tint=share / worst, text=count(value) if value else "")


def _counts(mistakes: Mistakes) -> Table:
    columns: Heads = (Column(name="True class", text=True), *mistakes.classes)
    rows = ((name, *map(count, row)) for name, row in zip(mistakes.classes, mistakes.confusion, strict=True))
    return table(columns, rows)


def frequent(mistakes: Mistakes) -> list[tuple[int, int, int]]:
    """(count, true class, chosen class) of the most frequent confusions, the most frequent first."""
    wrong = (
        (value, i, j) for i, row in enumerate(mistakes.confusion) for j, value in enumerate(row) if i != j and value > 0
    )
    return sorted(wrong, key=lambda item: (-item[0], item[1], item[2]))[:_LISTED]


def _frequent(mistakes: Mistakes) -> Markup:
    found = frequent(mistakes)
    if not found:
        return missing("No test image is classified wrongly.")
    columns: Heads = (
        Column(name="True class", text=True),
        Column(name="taken for", text=True),
        "images",
        "of its class",
    )
    rows = (
        (mistakes.classes[i], mistakes.classes[j], count(value), percent(value / (sum(mistakes.confusion[i]) or 1)))
        for value, i, j in found
    )
    return table(columns, rows).html("The most frequent mistakes")


def _weakest(mistakes: Mistakes) -> Markup:
    """The classes with the lowest share of right answers, where there are too many for a matrix."""
    shares = sorted((row[index] / sum(row), index) for index, row in enumerate(mistakes.confusion) if sum(row) > 0)
    rows = (
        (mistakes.classes[index], percent(share), count(sum(mistakes.confusion[index])))
        for share, index in shares[:_LISTED]
    )
    return table((Column(name="Class", text=True), "right", "images"), rows).html("The weakest classes")
