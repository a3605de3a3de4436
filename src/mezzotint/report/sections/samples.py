"""What did the network see? Some training images after augmentation, as they entered the batch."""

from __future__ import annotations

from mezzotint.report.draw.svg import shorten
from mezzotint.report.figure import missing
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.record import Run, Sample
from mezzotint.report.section import Section

#: Pictures embedded at most, so that the page stays light.
_MOST = 64
#: Smaller pictures are enlarged with sharp pixels.
_SHARP = 96
#: Room for a picture's name; both of its ends are shown.
_NAME = 105.0


def section(run: Run) -> Section:
    """The sample images."""
    return Section(
        key="samples",
        title="What it saw",
        short="Samples",
        lead="Training images after augmentation, as they entered a batch, with their labels.",
        body=_body(run),
    )


def _body(run: Run) -> Markup:
    if run.samples is None:
        return missing("Sample images are not recorded.")
    if not run.samples:
        return missing("No sample image could be shown; the notes at the end say why.")
    shown = tag("ul", *map(_tile, run.samples[:_MOST]), class_="samples")
    left = len(run.samples) - _MOST
    return join(shown, tag("p", f"{left} more are in the run folder.", class_="missing") if left > 0 else "")


def _tile(sample: Sample) -> Markup:
    image = tag(
        "img",
        src=f"data:image/png;base64,{sample.picture}",
        width=sample.width,
        height=sample.height,
        alt=f"Training image labelled {sample.label or 'unknown'}",
        class_="sharp" if max(sample.width, sample.height) < _SHARP else None,
    )
    caption = join(
        tag("strong", sample.label or "no label"), tag("span", shorten(sample.name, _NAME)) if sample.name else ""
    )
    return tag("li", tag("div", image, class_="picture"), caption, title=sample.name or None)
