"""What is a section of the page? A heading, a sentence and whatever it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mezzotint.report.markup import Markup, tag

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section.

    Attributes:
        key: anchor, unique in the page.
        title: heading.
        short: the word in the page's navigation.
        lead: one or two sentences that tell how to read the section.
        body: its charts and tables.
    """

    key: str
    title: str
    short: str
    lead: str
    body: Markup

    def html(self) -> Markup:
        """The ``<section>`` element."""
        heading = tag("h2", self.title, id=f"{self.key}-title")
        lead = tag("p", self.lead, class_="lead") if self.lead else ""
        return tag("section", tag("header", heading, lead), self.body, id=self.key, aria_labelledby=f"{self.key}-title")


def bins(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """``items`` cut into at most ``most`` consecutive parts of nearly equal length, none empty."""
    parts = min(most, len(items))
    return [items[index * len(items) // parts : (index + 1) * len(items) // parts] for index in range(parts)]


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
