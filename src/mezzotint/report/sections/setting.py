"""Under what conditions did it run? The environment, the whole configuration and notes about the record."""

from __future__ import annotations

from mezzotint.report.figure import missing
from mezzotint.report.files import words
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT
from mezzotint.report.record import Run
from mezzotint.report.section import Section


def section(run: Run) -> Section:
    """Environment, configuration, notes."""
    return Section(
        key="setting",
        title="How it was run",
        short="Setting",
        lead="Everything that is needed to run it again.",
        body=join(_environment(run), _config(run), _notes(run)),
    )


def _environment(run: Run) -> Markup:
    heading = _heading("Environment", "environment")
    if not run.environment:
        return join(heading, missing("The environment is not recorded."))
    pairs = (tag("div", tag("dt", key), tag("dd", _shown(value))) for key, value in run.environment.items())
    return join(heading, tag("dl", *pairs, class_="pairs", id="environment"))


def _heading(name: str, key: str) -> Markup:
    """A heading with a button that copies what stands below it."""
    label = f"Copy the {name.lower()}"
    button = tag("button", "Copy", type="button", class_="copy", data_copy=key, aria_label=label, hidden=True)
    return tag("div", tag("h3", name), button, class_="with-button")


def _shown(value: object) -> Markup:
    """A value as text; a list (the resumptions of a run) line by line, an object as its names and values."""
    if isinstance(value, list):
        items = [tag("li", _shown(item)) for item in value]
        return tag("ul", *items, class_="lines") if items else join("none")
    if isinstance(value, dict):
        return join(", ".join(f"{key} {words(item)}" for key, item in value.items()))
    return join(words(value) or ABSENT)


def _config(run: Run) -> Markup:
    heading = _heading("Configuration", "config")
    if not run.config_text:
        return join(heading, missing("The configuration is not recorded."))
    text = tag(
        "pre", tag("code", run.config_text, id="config"), tabindex="0", role="region", aria_label="Configuration"
    )
    return join(heading, text)


def _notes(run: Run) -> Markup:
    if not run.notes:
        return Markup()
    return join(
        tag("h3", "Notes about the record"), tag("ul", *(tag("li", note) for note in run.notes), class_="notes")
    )
