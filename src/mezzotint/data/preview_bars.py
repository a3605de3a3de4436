"""How does a prediction look? Each image beside the classes that were seen in it, with a bar for each probability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mezzotint.data.decode import read_image
from mezzotint.data.preview_file import write_sheet

_PAPER, _INK, _GREY, _RULE, _BAR = (252, 252, 250), (28, 31, 36), (90, 97, 107), (232, 234, 230), (0, 114, 178)
_MARGIN: Final = 36
_SIDE: Final = 224
"""Pixels of the longer side of an image on the sheet."""
_WIDTH: Final = 420
"""Pixels of a bar of probability 1."""

Row = tuple[Path, Sequence[tuple[str, float]]]
"""An image, and its classes with probabilities in [0, 1], best first."""


def draw_bars(rows: Sequence[Row], target: Path) -> None:
    """Write a PNG with one row an image.

    Raises:
        ImageError: an image cannot be read.
        InputError: the file cannot be written.
    """
    step = 38
    heights = [max(_SIDE, len(guesses) * step) + 30 for _, guesses in rows]
    left = _MARGIN + _SIDE + 32
    sheet = Image.new("RGB", (left + _WIDTH + 90 + _MARGIN, sum(heights) + 2 * _MARGIN), _PAPER)
    draw, top = ImageDraw.Draw(sheet), _MARGIN
    for (path, guesses), height in zip(rows, heights, strict=True):
        picture = _thumbnail(path)
        sheet.paste(picture, (_MARGIN + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
        _write(draw, (_MARGIN, top + _SIDE + 4), path.name, 13, _GREY, _SIDE)
        for place, (name, probability) in enumerate(guesses):
            y = top + place * step
            _write(draw, (left, y), name, 15, _INK, _WIDTH)
            draw.rectangle((left, y + 20, left + _WIDTH, y + 29), fill=_RULE)
            if probability * _WIDTH >= 1:
                draw.rectangle((left, y + 20, left + round(probability * _WIDTH), y + 29), fill=_BAR)
            draw.text((left + _WIDTH + 12, y + 16), f"{100 * probability:.1f} %", _INK, ImageFont.load_default(15))
        top += height
    write_sheet(sheet, target)


def _thumbnail(path: Path) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(read_image(path).numpy()))
    factor = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.NEAREST if factor > 2 else Image.Resampling.LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], room: int
) -> None:
    """One line, its end left out where it is too long for the room."""
    font = ImageFont.load_default(size)
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    while draw.textlength(shown, font) > room and len(shown) > 4:
        shown = f"{shown[:-2]}\u2026" if not shown.endswith("\u2026") else f"{shown[:-3]}\u2026"
    draw.text(at, shown, fill=colour, font=font)
