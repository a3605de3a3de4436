"""How does a page hold together? One HTML text with its style and script inside and everything else forbidden."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from mezzotint.report.headline import headline
from mezzotint.report.hero import hero, titled
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.record import Run
from mezzotint.report.section import Section
from mezzotint.report.sections import SECTIONS


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a document consists of.

    Attributes:
        title: of the browser's tab.
        top: what stands above the sections.
        sections: in order; their keys are the anchors of the navigation.
    """

    title: str
    top: Markup
    sections: Sequence[Section]


def run_page(run: Run) -> str:
    """The page of one run. The same record gives the same text, byte for byte."""
    return page(run_parts(run))


def run_parts(run: Run) -> Page:
    """What the page of a run consists of."""
    sections = [make(run) for make in SECTIONS.values()]
    return Page(title=f"{titled(headline(run))} · mezzotint report", top=hero(run), sections=sections)


def page(parts: Page, *, live: str | None = None) -> str:
    """A whole document.

    Args:
        parts: what it shows.
        live: the version of the record, for a page that is served and renews itself.
    """
    style, script = _asset("page.css"), _asset("page.js")
    if live is not None:
        script = Markup(script + _asset("live.js"))
    sections = parts.sections
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script, live=live is not None)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", parts.title),
        # An empty icon: otherwise a browser asks the server for one.
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
        tag("script", script),
    )
    shown = tag("main", parts.top, *(section.html() for section in sections), id="top")
    body = tag("body", _bar(sections), shown, _foot(live=live is not None), data_live=live)
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


def _foot(*, live: bool) -> Markup:
    note = (
        "Served by mezzotint on this machine alone. The page renews itself while the record grows."
        if live
        else "Written by mezzotint. The page is complete in itself: it asks no server for anything."
    )
    tip = tag("div", id="tip", role="status", aria_live="polite", hidden=True)
    return join(
        tag("footer", tag("p", note), tag("p", "Focus a chart and use the arrow keys to read its values.")), tip
    )


def _policy(style: str, script: str, *, live: bool) -> str:
    """A content security policy that lets in the page's own style, script and embedded pictures, nothing else.

    A page that is served may also ask its own server.
    """
    own = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        f"{own}base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> Markup:
    return Markup(files("mezzotint.report").joinpath("assets", name).read_text(encoding="utf-8"))
