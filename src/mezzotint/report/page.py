"""How does a page hold together? One HTML text with its style and script inside and everything else forbidden."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from mezzotint.report.headline import headline
from mezzotint.report.hero import hero
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.record import Run
from mezzotint.report.section import Section
from mezzotint.report.sections import SECTIONS


def run_page(run: Run) -> str:
    """The page of one run. The same record gives the same text, byte for byte."""
    sections = [make(run) for make in SECTIONS.values()]
    return page(f"{headline(run).name} · mezzotint report", hero(run), sections)


def page(title: str, top: Markup, sections: Sequence[Section]) -> str:
    """A whole document.

    Args:
        title: of the browser's tab.
        top: what stands above the sections.
        sections: in order; their keys are the anchors of the navigation.
    """
    style, script = _asset("page.css"), _asset("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        # An empty icon: otherwise a browser asks the server for one.
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
        tag("script", script),
    )
    body = tag("body", _bar(sections), tag("main", top, *(section.html() for section in sections), id="top"), _foot())
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _bar(sections: Sequence[Section]) -> Markup:
    links = (tag("li", tag("a", section.short, href=f"#{section.key}")) for section in sections)
    toggle = tag("button", "Theme", type="button", id="theme", hidden=True)
    return tag(
        "div",
        tag("a", "mezzotint", href="#top", class_="mark"),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        toggle,
        class_="masthead",
    )


def _foot() -> Markup:
    note = "Written by mezzotint. The page is complete in itself: it asks no server for anything."
    tip = tag("div", id="tip", role="status", aria_live="polite", hidden=True)
    return join(
        tag("footer", tag("p", note), tag("p", "Focus a chart and use the arrow keys to read its values.")), tip
    )


def _policy(style: str, script: str) -> str:
    """A content security policy that lets in the page's own style, script and embedded pictures, nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> Markup:
    return Markup(files("mezzotint.report").joinpath("assets", name).read_text(encoding="utf-8"))
