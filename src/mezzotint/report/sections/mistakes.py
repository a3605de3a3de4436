"""What does the network mix up? The worst mistakes as pictures, the confusion matrix, and how well each class does."""

from __future__ import annotations

from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, card, figures, missing
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT, count, percent, share
from mezzotint.report.record import Mistakes, Run, Wrong
from mezzotint.report.section import Section
from mezzotint.report.sections.confusion import frequent, matrix, raster
from mezzotint.report.sections.samples import picture
from mezzotint.report.table import Column, Heads, table

#: A matrix of more classes is drawn as a picture, without numbers.
_MOST_CELLS = 40
#: Of more classes the accuracies are a curve instead of bars.
_MOST_BARS = 24


def section(run: Run) -> Section:
    """Mistakes on the test set."""
    return Section(
        key="mistakes",
        title="What it mixes up",
        short="Mistakes",
        lead=f"How the {'finished network' if run.summary else 'network, as it stands,'} classified the test images,"
        " none of which it has learned from.",
        body=_body(run.mistakes),
    )


def _body(mistakes: Mistakes | None) -> Markup:
    if mistakes is None:
        return missing("Mistakes are not recorded yet: they are counted after every epoch.")
    drawn = matrix(mistakes) if len(mistakes.classes) <= _MOST_CELLS else raster(mistakes)
    return join(figures(drawn, card(_frequent(mistakes)), _by_class(mistakes)), _worst(mistakes))


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
        (mistakes.classes[i], mistakes.classes[j], count(value), percent(value / (mistakes.images[i] or 1)))
        for i, j, value in found
    )
    return table(columns, rows).html("The most frequent mistakes")


def _accuracies(mistakes: Mistakes) -> list[tuple[float, int]]:
    """(share of right answers, class), the weakest first."""
    known = zip(mistakes.right, mistakes.images, strict=True)
    return sorted((min(right / images, 1.0), index) for index, (right, images) in enumerate(known) if images > 0)


def _by_class(mistakes: Mistakes) -> Chart | None:
    ranked = _accuracies(mistakes)
    if not ranked:
        return None
    (low, weakest), (high, strongest) = ranked[0], ranked[-1]
    says = f"From {percent(low)} ({mistakes.classes[weakest]}) to {percent(high)} ({mistakes.classes[strongest]})."
    rows = (
        (mistakes.classes[index], percent(accuracy), count(mistakes.right[index]), count(mistakes.images[index]))
        for accuracy, index in ranked
    )
    few = len(ranked) <= _MOST_BARS
    groups = [
        Group(name=mistakes.classes[index], bars=(Bar(value=accuracy, style="s1", text=percent(accuracy)),))
        for accuracy, index in ranked
    ]
    xs = [float(place + 1) for place in range(len(ranked))]
    line = Line(name="accuracy", style="s1", values=[accuracy for accuracy, _ in ranked])
    rank = Axis(label="classes, the weakest first", write=count, kind="linear")
    accuracy_axis = Axis(label="of its images classified rightly", write=share, kind="linear", zero=True)
    return Chart(
        key="by-class",
        title="Accuracy of every class",
        says=says,
        means="Where one class stays far behind, look at its images: they may be few, alike, or labelled wrongly.",
        draw=lambda width: (
            bar_chart(groups, width=width) if few else line_chart(xs, (line,), x=rank, y=accuracy_axis, width=width)
        ),
        table=table((Column(name="Class", text=True), Column(name="right", style="s1"), "images right", "of"), rows),
        wide=True,
    )


def _worst(mistakes: Mistakes) -> Markup:
    if not mistakes.worst:
        return Markup()
    lead = (
        "Wrongly classified images whose true class was given the least probability. Where you would err, too, the"
        " label may be wrong; where you would not, the network lacks examples."
    )
    tiles = (_tile(one, mistakes) for one in mistakes.worst)
    return join(
        tag("h3", "The worst mistakes"), tag("p", lead, class_="lead"), tag("ul", *tiles, class_="samples worst")
    )


def _tile(one: Wrong, mistakes: Mistakes) -> Markup:
    true, chosen = mistakes.classes[one.true], mistakes.classes[one.chosen]
    text = f"{true}, taken for {chosen}"
    sure = ABSENT if one.chosen_probability is None else percent(one.chosen_probability, 2)
    return tag(
        "li",
        tag("div", picture(one.sample, f"Test image: {text}"), class_="picture"),
        tag("strong", f"not {true}" if true == chosen else true),
        tag("span", f"taken for {chosen}, {sure}"),
        tag("span", one.sample.name.rpartition("/")[2], class_="file") if one.sample.name else "",
        title=f"{one.sample.name}: {text}" if one.sample.name else text,
    )
