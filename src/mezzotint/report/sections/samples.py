"""What did the network see? Some training images after augmentation, and the files that it could not read."""

from __future__ import annotations

from mezzotint.report.draw.svg import shorten
from mezzotint.report.figure import missing
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.record import Run, Sample
from mezzotint.report.section import Section
from mezzotint.report.table import Column, Heads, table

#: Pictures embedded at most, so that the page stays light.
_MOST = 64
_MOST_BAD = 200
_PARTS = {"train": "training images", "test": "test images"}
#: Smaller pictures are enlarged with sharp pixels.
_SHARP = 96
#: Room for a picture's name; both of its ends are shown.
_NAME = 105.0


def section(run: Run) -> Section:
    """The sample images and the images set aside."""
    return Section(
        key="samples",
        title="What it saw",
        short="Samples",
        lead="Training images after augmentation, as they entered a batch, with their labels.",
        body=join(_body(run), _set_aside(run)),
    )


def _set_aside(run: Run) -> Markup:
    """The quarantine: what could not be read, and why."""
    if run.bad is None:
        return Markup()
    heading = tag("h3", "Images that could not be read")
    if not run.bad:
        return join(heading, missing("Every image could be read."))
    columns: Heads = (Column(name="Image", text=True), Column(name="of", text=True), Column(name="why", text=True))
    shown = ((bad.name, _PARTS.get(bad.part, bad.part), bad.reason) for bad in run.bad[:_MOST_BAD])
    lead = (
        f"{len(run.bad)} of them, left out: in training batches another image, the same in every run with this seed,"
        " fills the place of each; in tests nothing does. Mend or remove the files before the next run."
    )
    more = len(run.bad) - _MOST_BAD
    return join(
        heading,
        tag("p", lead, class_="lead"),
        table(columns, shown).html("Images set aside", kind="data sortable"),
        tag("p", f"{more} more are listed in quarantine.json.", class_="missing") if more > 0 else "",
    )


def _body(run: Run) -> Markup:
    if run.samples is None:
        return missing("Sample images are not recorded.")
    if not run.samples:
        return missing("No sample image could be shown; the notes at the end say why.")
    shown = tag("ul", *map(_tile, run.samples[:_MOST]), class_="samples")
    left = len(run.samples) - _MOST
    return join(shown, tag("p", f"{left} more are in the run folder.", class_="missing") if left > 0 else "")


def picture(sample: Sample, alt: str) -> Markup:
    """An embedded picture; a small one keeps its pixels apart."""
    return tag(
        "img",
        src=f"data:image/png;base64,{sample.picture}",
        width=sample.width,
        height=sample.height,
        alt=alt,
        class_="sharp" if max(sample.width, sample.height) < _SHARP else None,
    )


def _tile(sample: Sample) -> Markup:
    image = picture(sample, f"Training image labelled {sample.label or 'unknown'}")
    caption = join(
        tag("strong", sample.label or "no label"), tag("span", shorten(sample.name, _NAME)) if sample.name else ""
    )
    return tag("li", tag("div", image, class_="picture"), caption, title=sample.name or None)
