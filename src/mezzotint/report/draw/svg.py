"""What is every drawing made of? Lines, words and the places that the pointer can meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mezzotint.report.markup import Markup, join, tag

#: Mean width of a character of the page's sans-serif face, as a share of the font size.
_ADVANCE = 0.56
FONT = 12.0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The inside of an ``<svg>``.

    Attributes:
        width, height: of the view box, in units that are CSS pixels at natural size.
        body: SVG elements.
        hit: ``data-`` attributes that tell the page's script which place belongs to which cell of the table.
    """

    width: float
    height: float
    body: Markup
    hit: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The rectangle of a plot inside a drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def hit(self, kind: str, **places: Sequence[float]) -> dict[str, str]:
        """The attributes for :attr:`Drawing.hit`: ``kind`` is ``"x"``, ``"y"`` or ``"grid"``."""
        box = f"{n(self.left)} {n(self.top)} {n(self.right)} {n(self.bottom)}"
        return {"hit": kind, "frame": box} | {key: " ".join(map(n, values)) for key, values in places.items()}


def n(value: float) -> str:
    """A coordinate with one decimal at most."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def words(x: float, y: float, text: str, *, anchor: str = "start", style: str = "", full: str = "") -> Markup:
    """A text; ``full`` is its unabridged form, told by the browser on hovering."""
    hint = tag("title", full) if full and full != text else ""
    return tag(
        "text", text, hint, x=n(x), y=n(y), text_anchor=anchor if anchor != "start" else None, class_=style or None
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """A straight line."""
    return tag("path", d=f"M{n(x1)} {n(y1)}L{n(x2)} {n(y2)}", class_=style)


def box(x: float, y: float, width: float, height: float, style: str, *, round_: float = 0) -> Markup:
    """A filled rectangle; a negative width or height draws nothing."""
    if width <= 0 or height <= 0:
        return Markup()
    return tag("rect", x=n(x), y=n(y), width=n(width), height=n(height), rx=n(round_) if round_ else None, class_=style)


def polyline(points: Iterable[tuple[float, float] | None], style: str) -> Markup:
    """A line through the points; None interrupts it. A point between two gaps is drawn as a dot."""
    runs: list[list[str]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(f"{n(point[0])} {n(point[1])}")
    # A line of no length becomes a dot by its round caps.
    data = "".join("M" + (f"{run[0]}h0" if len(run) == 1 else "L".join(run)) for run in runs if run)
    return tag("path", d=data, class_=style) if data else Markup()


def width_of(text: str, font: float = FONT) -> float:
    """Estimated width of a text in drawing units; East Asian characters count double."""
    return font * sum(2 * _ADVANCE if ord(character) > 0x2E7F else _ADVANCE for character in text)


def shorten(text: str, room: float, font: float = FONT) -> str:
    """``text`` with its middle left out, so that it fits ``room``; both ends of a dotted name tell something."""
    keep = max(int(room / (font * _ADVANCE)) - 1, 2)
    if width_of(text, font) <= room + 0.1 or (keep + 1 >= len(text) and text.isascii()):
        return text
    head = keep // 2
    return f"{text[:head]}…{text[-(keep - head) :]}"


def group(style: str, *children: object) -> Markup:
    """A ``<g>`` with a class."""
    return tag("g", join(*children), class_=style)
