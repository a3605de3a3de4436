"""How does a table of text become HTML? The same table stands behind every chart and feeds its tooltips."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mezzotint.report.markup import Markup, join, tag


class Keyed(str):
    """A cell's text with the number by which a reader's click sorts it."""

    __slots__ = ("key",)

    key: float | None

    @classmethod
    def of(cls, text: str, key: float | None) -> Keyed:
        """``text``, sorted by ``key``; None and NaN come last whatever the direction."""
        made = cls(text)
        made.key = key if key is not None and math.isfinite(key) else None
        return made


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's heading.

    Attributes:
        name: heading.
        style: colour class of the series that the column holds (``"s1"`` ...), or empty.
        text: True for words (left-aligned), False for numbers.
    """

    name: str
    style: str = ""
    text: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows; the first cell of a row is its heading. Cells are text, :class:`Keyed` or :class:`Markup`."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def html(self, caption: str, *, kind: str = "data") -> Markup:
        """The ``<table>`` inside a box that scrolls sideways by itself, so that the page never does.

        Args:
            caption: above it.
            kind: classes; ``"sortable"`` among them gives its headings buttons. A chart's table keeps its order.
        """
        head = tag("tr", *(_heading(column) for column in self.columns))
        body = (tag("tr", *_cells(self.columns, row)) for row in self.rows)
        table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_=kind)
        return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


#: Headings as :func:`table` takes them: a plain string is a column of numbers.
Heads = tuple[Column | str, ...]


def table(columns: Heads, rows: Iterable[Iterable[str]]) -> Table:
    """A table from headings (plain strings are number columns) and rows."""
    made = tuple(column if isinstance(column, Column) else Column(name=column) for column in columns)
    return Table(columns=made, rows=tuple(tuple(row) for row in rows))


def fold(summary: str, *children: object) -> Markup:
    """A ``<details>`` element, closed."""
    return tag("details", tag("summary", summary), join(*children))


def _heading(column: Column) -> Markup:
    return tag("th", column.name, scope="col", data_style=column.style or None, class_="words" if column.text else None)


def _cells(columns: tuple[Column, ...], row: tuple[str, ...]) -> Iterable[Markup]:
    for index, cell in enumerate(row):
        words = "words" if index < len(columns) and columns[index].text else None
        key = repr(cell.key) if isinstance(cell, Keyed) and cell.key is not None else None
        name, scope = ("th", "row") if index == 0 else ("td", None)
        yield tag(name, cell, scope=scope, class_=words, data_key=key)
