"""Which classes are taken for which? A matrix with numbers for few classes, a picture for many."""

from __future__ import annotations

from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.draw.png import faded, png
from mezzotint.report.draw.svg import Drawing, words
from mezzotint.report.figure import Chart, ramp, ramps
from mezzotint.report.markup import join, tag
from mezzotint.report.numbers import count, percent
from mezzotint.report.record import Mistakes
from mezzotint.report.table import Column, Heads, Table, table

_LISTED = 10
#: Blocks of the picture along each side, at most.
_BLOCKS = 250
_STEPS = 15
_ORANGE = (214, 96, 12)
_MEANS = "Rows are true classes, columns what the network said: a perfect network has everything on the diagonal."


def frequent(mistakes: Mistakes) -> list[tuple[int, int, int]]:
    """(true class, chosen class, count) of the most frequent confusions, the most frequent first."""
    return list(mistakes.pairs[:_LISTED])


def matrix(mistakes: Mistakes) -> Chart:
    """The counts as a heat map."""
    side = len(mistakes.classes)
    counts = [[0] * side for _ in range(side)]
    for i, j, value in mistakes.pairs:
        counts[i][j] = value
    sums = [images or 1 for images in mistakes.images]
    worst = max((value / sums[i] for i, _, value in mistakes.pairs), default=1.0) or 1.0
    rows = []
    for i, row in enumerate(counts):
        right = Cell(style="t1", tint=mistakes.right[i] / sums[i], text=count(mistakes.right[i]))
        wrong = [Cell(style="t2", tint=v / sums[i] / worst, text=count(v) if v else "") for v in row]
        rows.append((*wrong[:i], right, *wrong[i + 1 :]))
    heat = Heat(
        rows=mistakes.classes,
        columns=mistakes.classes,
        cells=tuple(rows),
        x_label="chosen class",
        each="taken for",
        y_label="true class",
        square=True,
    )
    return Chart(
        key="confusion",
        title="Confusion matrix",
        says=_says(mistakes),
        means=_MEANS,
        draw=lambda width: heat_map(heat, width=width),
        table=_counts(mistakes, counts),
        legend=ramps(ramp("t1", "right: 0 %", "100 %"), ramp("t2", "wrong: 0 %", percent(worst, 2))),
    )


def _says(mistakes: Mistakes) -> str:
    whole, right = sum(mistakes.images), sum(mistakes.right)
    return f"{count(whole - right)} of {count(whole)} test images are classified wrongly."


def _counts(mistakes: Mistakes, counts: list[list[int]]) -> Table:
    columns: Heads = (Column(name="True class", text=True), *mistakes.classes)
    rows = []
    for i, row in enumerate(counts):
        told = [*row]
        told[i] = mistakes.right[i]
        rows.append((mistakes.classes[i], *map(count, told)))
    return table(columns, rows)


def raster(mistakes: Mistakes) -> Chart:
    """The mistakes of many classes as a picture, a pixel for a class or a block of them."""
    classes = len(mistakes.classes)
    side = min(classes, _BLOCKS)
    blocks = [0] * (side * side)
    for i, j, value in mistakes.pairs:
        blocks[i * side // classes * side + j * side // classes] += value
    largest = max(blocks, default=0) or 1
    pixels = bytes(_step(value / largest) for value in blocks)
    picture = png(side, pixels, faded(_ORANGE, _STEPS, 0.25))
    each = (
        "A pixel is a pair of classes"
        if side == classes
        else f"A pixel is a block of about {classes / side:.1f} classes"
    )
    rows = [(mistakes.classes[i], mistakes.classes[j], count(value)) for i, j, value in mistakes.pairs[: 5 * _LISTED]]
    return Chart(
        key="confusion",
        title="Confusion matrix, mistakes only",
        says=f"{_says(mistakes)}{_left_out(mistakes)} {each}.",
        means="Classes that stand together and are mixed up show as squares along the diagonal.",
        draw=lambda width: _drawn(picture, classes, width),
        table=table((Column(name="True class", text=True), Column(name="taken for", text=True), "images"), rows),
        legend=ramps(ramp("t2", "0", f"{count(largest)} images")),
    )


def _left_out(mistakes: Mistakes) -> str:
    """Tells where rare mistakes were not recorded pair by pair."""
    left = sum(mistakes.images) - sum(mistakes.right) - sum(value for _, _, value in mistakes.pairs)
    return f" {count(left)} of these are too rare to be drawn." if left > 0 else ""


def _step(share: float) -> int:
    # The square root keeps rare confusions visible beside the frequent ones.
    return max(round(share**0.5 * _STEPS), 1) if share > 0 else 0


def _drawn(picture: str, classes: int, width: float) -> Drawing:
    side = width - 22
    image = tag("image", href=f"data:image/png;base64,{picture}", x=20, y=2, width=side, height=side, class_="sharp")
    frame = tag("rect", x=20, y=2, width=side, height=side, class_="frame")
    across = words(20, side + 18, f"chosen class, 1 to {count(classes)}", style="label")
    down = tag("g", words(0, 0, "true class", style="label"), transform="translate(12 70) rotate(-90)")
    return Drawing(width=width, height=side + 24, body=join(image, frame, across, down))
