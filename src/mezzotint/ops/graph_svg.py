"""How is a graph painted? As a self-contained SVG for light and dark pages; hovering over a card tells the rest.

Weights are left out; a card tells their density instead. Norms and activations are joined to the card of what they
follow. Edges that skip something have a colour of their own, modules of one structure share a letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from mezzotint.ops.graph import Graph
from mezzotint.ops.graph_card import HEAD_SIZE, KINDS, SUB_SIZE, Card, text_width
from mezzotint.ops.graph_drawing import CHIP, LABEL_SIZE, Drawing, Frame, Text, drawing
from mezzotint.ops.graph_profile import Profile
from mezzotint.ops.graph_route import Route
from mezzotint.ops.graph_table import size_text, time_text

_MARGIN: Final = 26.0
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_RADIUS: Final = 6.0
#: The legend is broken into rows of the drawing's width, but not of less than this.
_LEGEND_WIDTH: Final = 400.0
#: Kind -> fill and line on light pages, fill and line on dark ones.
_KIND_COLOURS: Final[dict[str, tuple[str, str, str, str]]] = {
    "sparse": ("#fde6d3", "#d9722b", "#4a2c17", "#e08a4a"),
    "convolution, product": ("#fbf1c9", "#bf9a1f", "#40370f", "#d1b24a"),
    "normalisation": ("#e1ecfa", "#5b8fd0", "#1c2e46", "#6d9fdd"),
    "activation": ("#e2f3e2", "#55a055", "#1c3a20", "#6bb56b"),
    "pooling": ("#ede3f6", "#8d6cbf", "#34264a", "#a98ad8"),
    "elementwise": ("#fae1e8", "#c95f7b", "#47202d", "#dc7f98"),
    "input, output": ("#e7e8ec", "#62626b", "#2f3238", "#9a9ca6"),
    "module": ("#e9eef2", "#6f8596", "#27323b", "#8ba2b4"),
    "other": ("#f4f4f6", "#a0a0aa", "#26282d", "#7d7f89"),
}
#: From little to much: fill on light and on dark pages.
_RAMP: Final = (
    ("#fbf6ef", "#26221e"),
    ("#fbe9d3", "#3a2c1f"),
    ("#fad8b2", "#4f3620"),
    ("#f8c48e", "#66401f"),
    ("#f5ad69", "#7d4a1e"),
    ("#f0954a", "#96551b"),
    ("#ea7d31", "#b06017"),
)
_MARK_COLOURS: Final = ("#2f6fb0", "#8a5a9e", "#2f8f7a", "#b0742f", "#a34a62", "#5f6f3a", "#4a5fae", "#7a6a5a")
_SKIP: Final = ("#2878c8", "#6db3f5")
_LIGHT: Final = {
    "paper": "#ffffff", "ink": "#1d2027", "soft": "#5a606c", "line": "#737a87", "hair": "#d3d7de",
    "even": "#f7f8fa", "odd": "#eef0f4", "skip": _SKIP[0],
}  # fmt: skip
_DARK: Final = {
    "paper": "#121417", "ink": "#eceae4", "soft": "#a6adb8", "line": "#8a919d", "hair": "#363c46",
    "even": "#191c21", "odd": "#20242a", "skip": _SKIP[1],
}  # fmt: skip


def to_svg(graph: Graph, *, depth: int | None = None, colour: str = "kind", profile: Profile | None = None) -> str:
    """See :meth:`mezzotint.ops.graph.Graph.to_svg`."""
    return painted(drawing(graph, depth=depth, colour=colour, profile=profile), graph.name, colour, profile)


def painted(plan: Drawing, name: str, colour: str, profile: Profile | None) -> str:
    """The SVG of a drawing."""
    top = _Heading(plan, name, colour, profile)
    width = max(plan.width, top.width) + 2 * _MARGIN
    height = plan.height + top.height + 2 * _MARGIN
    lines = sorted(plan.lines, key=lambda line: not line[1])  # where they share a trunk, plain edges are on top
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" class="mz-graph">',
        f"<title>{_told(name)}</title><style>{_style(colour)}</style>",
        "<defs>" + _tip("tip") + _tip("tipskip") + "</defs>",
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        *top.parts,
        f'</g><g transform="translate({_MARGIN:.0f} {_MARGIN + top.height:.0f})">',
        *(_frame(frame) for frame in plan.frames),
        *(_line(route, skips) for route, skips in lines),
        *(_label(text) for text in plan.labels),
        *(_card(card, x, y, card_width, top.scale) for card, x, y, card_width in plan.cards),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _style(colour: str) -> str:
    dark = _theme(_DARK, colour, 1)
    return (
        ".mz-graph text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif}"
        f".mz-graph .op{{font-size:{HEAD_SIZE}px;font-weight:600}}"
        f".mz-graph .sub,.mz-graph .note{{font-size:{SUB_SIZE}px}}"
        f".mz-graph .strip{{font-size:{SUB_SIZE}px;font-weight:600}}"
        f".mz-graph .shape{{font-size:{LABEL_SIZE}px}}.mz-graph .title{{font-size:17px;font-weight:700}}"
        ".mz-graph .module{font-size:11px;font-weight:600}.mz-graph .mark{font-size:9.5px;font-weight:700;fill:#fff}"
        ".mz-graph .edge{fill:none;stroke-width:1.3}.mz-graph .skip{fill:none;stroke-width:1.7}"
        f"{_theme(_LIGHT, colour, 0)}@media (prefers-color-scheme:dark){{{dark}}}"
    )


def _theme(tone: dict[str, str], colour: str, dark: int) -> str:
    rules = [
        f".paper{{fill:{tone['paper']}}}",
        f"text{{fill:{tone['ink']}}}",
        f".sub,.shape,.module{{fill:{tone['soft']}}}",
        f".note{{fill:{tone['soft' if colour == 'kind' else 'ink']}}}",
        f".edge{{stroke:{tone['line']}}}",
        f".skip{{stroke:{tone['skip']}}}",
        f".tip{{fill:{tone['line']}}}",
        f".tipskip{{fill:{tone['skip']}}}",
        f".even{{fill:{tone['even']};stroke:{tone['hair']}}}",
        f".odd{{fill:{tone['odd']};stroke:{tone['hair']}}}",
    ]
    for number, (light_fill, light_line, dark_fill, dark_line) in enumerate(_KIND_COLOURS.values()):
        fill, line = (dark_fill, dark_line) if dark else (light_fill, light_line)
        rules.append(f".k{number}{{fill:{fill};stroke:{line}}}")
    if colour != "kind":
        rules += [f".r{number}{{fill:{fills[dark]};stroke:{tone['line']}}}" for number, fills in enumerate(_RAMP)]
        rules.append(f".none{{fill:{tone['paper']};stroke:{tone['hair']}}}")
    return "".join(f".mz-graph {rule.replace(',.', ',.mz-graph .')}" for rule in rules)


def _tip(name: str) -> str:
    return (
        f'<marker id="mz-{name}" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0.8 L7.5 4 L0 7.2 z"/></marker>'
    )


class _Scale:
    """Values -> one of the colours of the ramp. Times and bytes by their root: small ones can be told apart."""

    def __init__(self, cards: Iterable[Card], colour: str) -> None:
        self.colour = colour
        values = [card.value for card in cards if card.value is not None]
        self.largest = 1.0 if colour == "density" else max(values, default=0.0)

    def class_of(self, card: Card) -> str:
        """The class of a card's rectangle."""
        if self.colour == "kind":
            return f"k{list(KINDS).index(card.kind)}"
        if card.value is None:
            return "none"
        share = card.value / self.largest if self.largest else 0.0
        share = share if self.colour == "density" else share**0.5
        return f"r{min(len(_RAMP) - 1, int(share * len(_RAMP)))}"

    def bounds(self) -> list[str]:
        """The values between the ramp's colours, in words, from the least to the greatest."""
        shares = [number / len(_RAMP) for number in range(len(_RAMP) + 1)]
        if self.colour == "density":
            return [f"{100 * share:.0f} %" for share in shares]
        told = time_text if self.colour == "time" else lambda value: size_text(round(value))
        return ["0" if not share else told(share**2 * self.largest) for share in shares]


class _Heading:
    """Title and legend above the drawing."""

    def __init__(self, plan: Drawing, name: str, colour: str, profile: Profile | None) -> None:
        cards = [card for card, *_ in plan.cards]
        self.scale = _Scale(cards, colour)
        self.parts = [f'<text class="title" x="0" y="6">{_told(name)}</text>']
        self.width = text_width(name, 17, bold=True)
        if profile is not None:
            told = f"{time_text(profile.seconds)}, {profile.threads} thread{'s' * (profile.threads != 1)}"
            self.parts.append(f'<text class="sub" x="{self.width + 14:.0f}" y="6">{told}</text>')
        self._x, self._y, self._limit = 0.0, 20.0, max(plan.width, _LEGEND_WIDTH)
        if colour == "kind":
            present = {card.kind for card in cards}
            for number, kind in enumerate(KINDS):
                if kind in present:
                    self._entry(f'<rect class="k{number}" width="13" height="13" rx="3"/>', 13, kind)
        else:
            self._ramp(colour)
        if any(skips for _, skips in plan.lines):
            self._entry('<path class="skip" d="M0 6.5 H20"/>', 20, "skip connection")
        self._y += 0.0 if colour == "kind" else 12.0  # the numbers below the ramp
        self._x, self._y = (0.0, self._y + 22) if plan.marks else (self._x, self._y)
        for letter, told in plan.marks.items():
            self._entry(_chip(letter, 0, -0.5), 14, told)
        self.height = self._y + 46

    def _entry(self, sample: str, size: float, text: str) -> None:
        if self._x and self._x + size + 6 + text_width(text, SUB_SIZE) > self._limit:
            self._x, self._y = 0.0, self._y + 20
        self.parts.append(
            f'<g transform="translate({self._x:.1f} {self._y:.1f})">{sample}'
            f'<text class="sub" x="{size + 6}" y="10.5">{_told(text)}</text></g>'
        )
        self._x += size + 6 + text_width(text, SUB_SIZE) + 16
        self.width = max(self.width, self._x - 16)

    def _ramp(self, colour: str) -> None:
        title = {"time": "time", "density": "density", "bytes": "bytes written"}[colour]
        self.parts.append(f'<text class="sub" x="0" y="{self._y + 10.5:.1f}">{title}</text>')
        left, step = text_width(title, SUB_SIZE) + 22, 52.0
        for number, bound in enumerate(self.scale.bounds()):
            x = left + step * number
            if number < len(_RAMP):
                self.parts.append(f'<rect class="r{number}" x="{x:.1f}" y="{self._y:.1f}" width="{step}" height="13"/>')
            self.parts.append(
                f'<text class="shape" text-anchor="middle" x="{x:.1f}" y="{self._y + 26:.1f}">{bound}</text>'
            )
        self._x = left + step * len(_RAMP) + 40
        self.width = max(self.width, self._x)
        if colour == "density":
            self._entry('<rect class="none" width="13" height="13" rx="3"/>', 13, "no sparse weight")


def _told(text: str) -> str:
    """Any text as XML can hold it: a node may be called anything."""
    return escape(_NOT_XML.sub("\ufffd", text))


def _chip(letter: str, x: float, y: float) -> str:
    fill = _MARK_COLOURS[(ord(letter) - ord("A")) % len(_MARK_COLOURS)]
    return (
        f'<g transform="translate({x:.1f} {y:.1f})"><rect width="14" height="14" rx="4" fill="{fill}"/>'
        f'<text class="mark" text-anchor="middle" x="7" y="10.5">{letter}</text></g>'
    )


def _frame(frame: Frame) -> str:
    """A box around a module, its name at the left of the spine, its class at the right."""
    chip = _chip(frame.mark, frame.x + 10, frame.y + 7) if frame.mark else ""
    x = frame.x + 11 + (CHIP if frame.mark else 0.0)
    kind = (
        f'<text class="sub" text-anchor="end" x="{frame.x + frame.width - 11:.1f}" y="{frame.y + 18:.1f}">'
        f"{_told(frame.kind)}</text>"
    )
    return (
        f'<rect class="{"even" if frame.depth % 2 else "odd"}" x="{frame.x:.1f}" y="{frame.y:.1f}" '
        f'width="{frame.width:.1f}" height="{frame.height:.1f}" rx="9"/>{chip}'
        f'<text class="module" x="{x:.1f}" y="{frame.y + 18:.1f}">{_told(frame.title)}</text>'
        f"{kind if frame.kind else ''}"
    )


def _card(card: Card, x: float, y: float, width: float, scale: _Scale) -> str:
    middle = x + width / 2
    chosen = scale.class_of(card)
    head = f'<g text-anchor="middle"><title>{_told(card.hint)}</title>'
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{card.height:.0f}"'
    if card.strip:
        sub = f'<tspan class="note" font-weight="400" dx="6">{_told(card.subline)}</tspan>' if card.subline else ""
        text = f'<text class="strip" x="{middle:.1f}" y="{y + 14:.1f}">{_told(card.headline)}{sub}</text>'
        return f'{head}<rect class="card {chosen}" {shape} rx="3"/>{text}</g>'
    high = y + (17 if card.subline else 24.5)
    text = f'<text class="op" x="{middle:.1f}" y="{high:.1f}">{_told(card.headline)}</text>'
    sub = f'<text class="note" x="{middle:.1f}" y="{y + 31.5:.1f}">{_told(card.subline)}</text>' if card.subline else ""
    chip = _chip(card.mark, x + 8, y + 8) if card.mark else ""
    return f'{head}<rect class="card {chosen}" {shape} rx="6"/>{chip}{text}{sub}</g>'


def _label(text: Text) -> str:
    return f'<text class="shape" x="{text.x:.1f}" y="{text.y:.1f}">{_told(text.text)}</text>'


def _line(route: Route, skips: bool) -> str:
    name = "skip" if skips else "edge"
    return f'<path class="{name}" marker-end="url(#mz-tip{"skip" if skips else ""})" d="{_rounded(route.points)}"/>'


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A path through the corners, which are rounded."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(_RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        x1, y1 = _toward(corner, before, radius)
        x2, y2 = _toward(corner, after, radius)
        parts.append(f"L{x1:.1f} {y1:.1f} Q{corner[0]:.1f} {corner[1]:.1f} {x2:.1f} {y2:.1f}")
    parts.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return " ".join(parts)


def _distance(one: tuple[float, float], two: tuple[float, float]) -> float:
    return abs(one[0] - two[0]) + abs(one[1] - two[1])  # every line runs along an axis


def _toward(start: tuple[float, float], goal: tuple[float, float], length: float) -> tuple[float, float]:
    distance = _distance(start, goal) or 1.0
    return start[0] + (goal[0] - start[0]) * length / distance, start[1] + (goal[1] - start[1]) * length / distance
