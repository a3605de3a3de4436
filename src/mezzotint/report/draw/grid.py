"""Where in a table of numbers are the large ones? A heat map whose cells are tinted by share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.report.draw.svg import FONT, Drawing, Frame, group, n, shorten, width_of, words
from mezzotint.report.markup import Markup, join, tag

#: Tints are rounded to this many steps: cells of one tint become one path, which keeps the page small.
_TINTS = 40
#: From these tints on the text of a cell changes its colour: first in the dark theme, then in both.
_MIDDLE, _FULL = 0.58, 0.85
_TOP = 20.0
#: Longest slanted column name, in drawing units.
_SLANTED = 90.0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: colour class, tint 0..1 (0 draws nothing but the ground), text or empty."""

    style: str
    tint: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A heat map.

    Attributes:
        rows, columns: their names; long row names are shortened in the middle.
        cells: ``cells[row][column]``; None leaves the place empty ("not recorded").
        ends: texts on the right of the rows, or empty.
        each: what stands before a column's name in its tooltip: ``"step"``.
        x_label, y_label: what columns and rows are.
        square: cells are as high as wide (for a matrix), otherwise rows have a fixed height.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    ends: tuple[str, ...] = ()
    each: str = ""
    x_label: str = ""
    y_label: str = ""
    square: bool = False


def heat_map(heat: Heat, *, width: float) -> Drawing:
    """Draw the map; every column is one cell wide, whatever its distance in steps."""
    left = min(max((width_of(name) for name in heat.rows), default=0.0) + 12, 0.34 * width)
    right = width - (max((width_of(text) for text in heat.ends), default=0.0) + 10 if heat.ends else 2)
    cell_width = (right - left) / max(len(heat.columns), 1)
    cell_height = _row_height(heat, cell_width)
    frame = Frame(left=left, top=_TOP, right=right, bottom=_TOP + cell_height * len(heat.rows))
    slanted = _slants(heat, cell_width)
    foot = _foot(heat, slanted=slanted)
    xs = [left + (index + 0.5) * cell_width for index in range(len(heat.columns))]
    ys = [frame.top + (index + 0.5) * cell_height for index in range(len(heat.rows))]
    body = join(
        tag(
            "rect",
            x=n(left),
            y=n(frame.top),
            width=n(right - left),
            height=n(frame.bottom - frame.top),
            class_="ground",
        ),
        _tinted(heat, frame, cell_width, cell_height),
        _texts(heat, xs, ys, cell_width),
        _row_names(heat, frame, ys, cell_height),
        _column_names(heat, frame, xs, slanted=slanted),
        words(0, 11, heat.y_label, style="label"),
        words(right, frame.bottom + foot - 5, heat.x_label, anchor="end", style="label"),
    )
    hit = frame.hit("grid", xs=xs, ys=ys) | {"each": heat.each}
    return Drawing(width=width, height=frame.bottom + foot, body=body, hit=hit)


def _slants(heat: Heat, cell_width: float) -> bool:
    """Whether the columns of a square map are too narrow for their names."""
    return heat.square and max((width_of(name) for name in heat.columns), default=0.0) > cell_width - 4


def _foot(heat: Heat, *, slanted: bool) -> float:
    """Room below the cells: slanted names need more of it."""
    if not slanted:
        return 40.0
    return 34.0 + 0.7 * min(max((width_of(name) for name in heat.columns), default=0.0), _SLANTED)


def _row_height(heat: Heat, cell_width: float) -> float:
    if heat.square:
        return min(cell_width, 46.0)
    return 26.0 if len(heat.rows) <= 12 else 19.0 if len(heat.rows) <= 30 else 14.0


def _tinted(heat: Heat, frame: Frame, width: float, height: float) -> Markup:
    # Wide cells stand apart like tiles; narrow ones join to a band, or the gaps would outweigh the tints.
    across, down = float(width > 16), float(height > 10)
    paths: dict[tuple[str, int], list[str]] = {}
    for index, row in enumerate(heat.cells):
        top, bottom = n(frame.top + index * height), n(frame.top + (index + 1) * height - down)
        for key, first, last in _runs(row, joined=not across):
            # Neighbours write their common edge alike, so that no seam can open between them.
            left, right = n(frame.left + first * width), n(frame.left + last * width - across)
            paths.setdefault(key, []).append(f"M{left} {top}H{right}V{bottom}H{left}z")
    drawn = (
        tag("path", d="".join(parts), class_=f"cell {style}", fill_opacity=f"{tint / _TINTS:g}")
        for (style, tint), parts in sorted(paths.items())
        if tint
    )
    return join(*drawn)


def _runs(row: Sequence[Cell | None], *, joined: bool) -> list[tuple[tuple[str, int], int, int]]:
    """(tint, first column, column after the last) of the row's cells; equal neighbours as one where ``joined``."""
    made: list[tuple[tuple[str, int], int, int]] = []
    for index, cell in enumerate(row):
        if cell is None:
            continue
        key = (cell.style, round(min(max(cell.tint, 0.0), 1.0) * _TINTS))
        if joined and made and made[-1][0] == key and made[-1][2] == index:
            made[-1] = (key, made[-1][1], index + 1)
        else:
            made.append((key, index, index + 1))
    return made


def _texts(heat: Heat, xs: Sequence[float], ys: Sequence[float], width: float) -> Markup:
    """The cells' own texts, where all of them fit."""
    longest = max((width_of(cell.text, 11) for row in heat.cells for cell in row if cell), default=0.0)
    if not longest or longest > width - 2:
        return Markup()
    drawn = (
        words(x - 0.5, y + 4, cell.text, anchor="middle", style=_contrast(cell.tint))
        for y, row in zip(ys, heat.cells, strict=True)
        for x, cell in zip(xs, row, strict=True)
        if cell and cell.text
    )
    return group("inside", *drawn)


def _contrast(tint: float) -> str:
    return "on" if tint > _FULL else "mid" if tint > _MIDDLE else ""


def _row_names(heat: Heat, frame: Frame, ys: Sequence[float], height: float) -> Markup:
    style = "name" if height >= 16 else "name small"
    names = (
        words(frame.left - 8, y + 4, shorten(name, frame.left - 8, FONT), anchor="end", style=style, full=name)
        for name, y in zip(heat.rows, ys, strict=True)
    )
    ends = (words(frame.right + 8, y + 4, text, style="value") for text, y in zip(heat.ends, ys, strict=False))
    return join(*names, *ends)


def _column_names(heat: Heat, frame: Frame, xs: Sequence[float], *, slanted: bool) -> Markup:
    """The names of the columns; of many columns as many evenly spaced ones as there is room for."""
    widest = (
        15.0 if slanted else max((width_of(name) for name in heat.columns), default=0.0) + (4 if heat.square else 14)
    )
    room = max(int((frame.right - frame.left) / widest), 1)
    every = max(1, -(-len(xs) // room))
    write = _slanted if slanted else _upright
    return group("ticks", *(write(xs[index], frame, heat.columns[index]) for index in range(0, len(xs), every)))


def _upright(x: float, frame: Frame, name: str) -> Markup:
    return words(x, frame.bottom + 17, shorten(name, (frame.right - frame.left) / 2), anchor="middle", full=name)


def _slanted(x: float, frame: Frame, name: str) -> Markup:
    text = words(0, 0, shorten(name, _SLANTED), anchor="end", full=name)
    return tag("g", text, transform=f"translate({n(x + 4)} {n(frame.bottom + 13)}) rotate(-45)")
