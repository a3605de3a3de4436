"""How does a preview look? The original and what each protocol makes of it, side by side, on one light sheet.

Top: the file's name and size. Below it, columns of one height: the original, with the area that each protocol keeps
outlined in the protocol's colour and the rest veiled, then each protocol's result, every pixel drawn as a square of
``SCALE`` pixels. Under each column: its name and what was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mezzotint.data.protocols import Protocol
from mezzotint.data.protocols.steps import Window

SCALE = 2

_Colour: TypeAlias = tuple[int, int, int]
_PAPER, _INK, _GREY, _RULE = (252, 252, 250), (28, 31, 36), (90, 97, 107), (222, 224, 220)
_COLOURS: tuple[_Colour, ...] = (  # Okabe and Ito
    *((213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167)),
    *((230, 159, 0), (86, 180, 233), (240, 228, 66), (0, 0, 0)),
)
_MARGIN, _GAP = 48, 40
_TITLE, _HEADING, _TEXT, _SMALL = 30, 23, 17, 15
_SWATCH, _OUTLINE = 14, 3
_LEAST_WIDTH, _MOST_WIDTH = 360, 960  # of the original's column: room for its legend, and an end to panoramas


@dataclass(frozen=True, kw_only=True)
class View:
    """What one protocol makes of the image: float32 [S, S, 3] in [0, 1]."""

    protocol: Protocol
    values: Tensor


@dataclass(frozen=True, kw_only=True)
class _Column:
    picture: Image.Image
    heading: str
    swatch: _Colour | None
    lines: tuple[tuple[str, _Colour | None], ...]
    width: int


def compose(image: Tensor, views: Sequence[View], *, title: str, subtitle: str) -> Image.Image:
    """Draw the sheet for an original, uint8 [H, W, 3], and its views; an RGB image of Pillow."""
    size = (image.shape[0], image.shape[1])
    columns = [_original(image, views)]
    columns += [_view(view, size, _COLOURS[i % len(_COLOURS)]) for i, view in enumerate(views)]
    notes = _notes(views)
    top = _MARGIN + _row(_TITLE) + _row(_TEXT) + 26
    tall = max(column.picture.height for column in columns)
    foot = top + tall + 16 + _row(_HEADING) + max(len(column.lines) for column in columns) * _row(_TEXT) + 32
    width = 2 * _MARGIN + sum(column.width for column in columns) + _GAP * (len(columns) - 1)
    sheet = Image.new("RGB", (width, foot + len(notes) * _row(_SMALL) + _MARGIN - 12), _PAPER)
    draw = ImageDraw.Draw(sheet)
    room = width - 2 * _MARGIN
    _write(draw, _MARGIN, _MARGIN - 8, title, _TITLE, _INK, room)
    _write(draw, _MARGIN, _MARGIN - 8 + _row(_TITLE), subtitle, _TEXT, _GREY, room)
    left = _MARGIN
    for column in columns:
        _place(sheet, draw, column, left, top, tall)
        left += column.width + _GAP
    draw.line((_MARGIN, foot - 14, width - _MARGIN - 1, foot - 14), fill=_RULE)
    for i, note in enumerate(notes):
        _write(draw, _MARGIN, foot + i * _row(_SMALL), note, _SMALL, _GREY, room)
    return sheet


def _original(image: Tensor, views: Sequence[View]) -> _Column:
    height, width = image.shape[0], image.shape[1]
    tall = max(view.values.shape[0] for view in views) * SCALE
    factor = min(tall / height, _MOST_WIDTH / width)
    shown = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(image.numpy()).resize(shown, Image.Resampling.LANCZOS)
    kept = [view.protocol.kept(height, width) for view in views]
    _outline(picture, [_scaled(window, shown[0] / width, shown[1] / height) for window in kept])
    lines = []
    for i, (view, window) in enumerate(zip(views, kept, strict=True)):
        part = f"{_number(window.right - window.left)} x {_number(window.bottom - window.top)} pixels"
        lines.append((f"kept by {view.protocol.name}: {part}", _COLOURS[i % len(_COLOURS)]))
    return _Column(
        picture=picture,
        heading="original",
        swatch=None,
        lines=tuple(lines),
        width=max(_LEAST_WIDTH, shown[0]),
    )


def _view(view: View, size: tuple[int, int], colour: _Colour) -> _Column:
    levels = _levels(view)
    lines = []
    for number, step in enumerate(view.protocol.steps, 1):
        size = step.size(*size)
        lines.append((f"{number}. {step.verb} {size[1]} x {size[0]}", None))
    picture = Image.fromarray(levels.repeat(SCALE, axis=0).repeat(SCALE, axis=1))
    heading = view.protocol.name
    return _Column(picture=picture, heading=heading, swatch=colour, lines=tuple(lines), width=picture.width)


def _notes(views: Sequence[View]) -> list[str]:
    """How far the others lie from the first view, and what identifies the protocols."""
    notes = []
    for other in views[1:]:
        one = views[0]
        if one.values.shape == other.values.shape:
            apart = (one.values - other.values).abs() * 255
            names = f"{one.protocol.name} and {other.protocol.name}"
            notes.append(f"{names} differ by {apart.max():.0f} of 255 levels at most, {apart.mean():.2f} on average.")
    prints = ", ".join(f"{view.protocol.name} {view.protocol.fingerprint()}" for view in views)
    return [*notes, f"Each pixel of the results is drawn {SCALE} x {SCALE}. Fingerprints: {prints}."]


def _levels(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (view.values * 255).round().clamp(0, 255).numpy().astype(np.uint8)


def _outline(picture: Image.Image, windows: Sequence[Window]) -> None:
    """Veil what no protocol keeps and outline what each keeps, the first outermost, so that equal ones stay visible."""
    veil = Image.new("L", picture.size, 150)
    for window in windows:
        veil.paste(0, _box(window, picture.size, 0))
    picture.paste(Image.new("RGB", picture.size, _PAPER), mask=veil)
    draw = ImageDraw.Draw(picture)
    for i, window in enumerate(windows):
        outward = _OUTLINE * (1 - i)
        draw.rectangle(_edges(window, picture.size, outward), outline=_COLOURS[i % len(_COLOURS)], width=_OUTLINE)


def _box(window: Window, size: tuple[int, int], outward: int) -> tuple[int, int, int, int]:
    """The window in whole pixels, grown outward by some, and cut at the picture's edges; never empty."""
    left, top = max(0, round(window.left) - outward), max(0, round(window.top) - outward)
    right, bottom = min(size[0], round(window.right) + outward), min(size[1], round(window.bottom) + outward)
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _edges(window: Window, size: tuple[int, int], outward: int) -> tuple[int, int, int, int]:
    """The window as a rectangle to draw, whose right and lower edge are inclusive."""
    left, top, right, bottom = _box(window, size, outward)
    return left, top, right - 1, bottom - 1


def _scaled(window: Window, across: float, down: float) -> Window:
    return Window(window.top * down, window.left * across, window.bottom * down, window.right * across)


def _place(sheet: Image.Image, draw: ImageDraw.ImageDraw, column: _Column, left: int, top: int, tall: int) -> None:
    """Put a column on the sheet: the picture at half height in its field, the words below."""
    spare = tall - column.picture.height
    sheet.paste(column.picture, (left, top + spare // 2))
    y = top + tall + 16
    indent = _swatch(draw, left, y, _HEADING, column.swatch)
    _write(draw, left + indent, y, column.heading, _HEADING, _INK, column.width - indent)
    y += _row(_HEADING)
    for text, colour in column.lines:
        indent = _swatch(draw, left, y, _TEXT, colour)
        _write(draw, left + indent, y, text, _TEXT, _GREY, column.width - indent)
        y += _row(_TEXT)


def _swatch(draw: ImageDraw.ImageDraw, left: int, top: int, size: int, colour: _Colour | None) -> int:
    """Draw a coloured square before a line of text; returns the room that it takes."""
    if colour is None:
        return 0
    y = top + (_row(size) - _SWATCH) // 2
    draw.rectangle((left, y, left + _SWATCH - 1, y + _SWATCH - 1), fill=colour)
    return _SWATCH + 10


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, text: str, size: int, colour: _Colour, room: int) -> None:
    """Write one line, its middle left out where it is too long for the room."""
    font = ImageFont.load_default(size)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    shown, keep = text, len(text)
    while (length := draw.textlength(shown, font)) > room and keep > 8:
        keep = min(keep - 1, int(keep * room / length))
        shown = f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
    draw.text((left, top + _row(size) / 2), shown, font=font, fill=colour, anchor="lm")


def _row(size: int) -> int:
    return round(size * 1.45)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
