"""How does a density look? A field of dots of which just that share is inked, like a half-tone."""

from __future__ import annotations

from collections.abc import Iterable

from mezzotint.report.markup import Markup, tag

_DOTS = 800
_PITCH = 10
#: Columns of the field on wide and on narrow screens.
_WIDE, _NARROW = 100, 40


def dots(density: float | None) -> Markup:
    """The field with its caption; nothing where the density is not known."""
    if density is None:
        return Markup()
    inked = inked_dots(density)
    caption = f"Each dot stands for 1/{_DOTS} of the weights; the inked ones exist."
    return tag("div", _field(inked, _WIDE, "wide"), _field(inked, _NARROW, "narrow"), tag("p", caption), class_="dots")


def inked_dots(density: float) -> int:
    """How many of the dots are inked: the rounded share, but one at least where any weight exists."""
    return min(max(round(density * _DOTS), 1 if density > 0 else 0), _DOTS)


def scattered(wanted: int, columns: int) -> set[int]:
    """``wanted`` places of the field, each as far as possible from those before it (ties: pseudo-random)."""
    rows = _DOTS // columns
    across, down = _around(columns), _around(rows)
    # The fraction breaks ties, in an order without a visible pattern.
    distance = [1e9 + place * 2654435761 % 2**32 / 2**33 for place in range(_DOTS)]
    chosen: set[int] = set()
    for _ in range(wanted):
        best = distance.index(max(distance))
        chosen.add(best)
        x, y = best % columns, best // columns
        away = [down[row - y] + across[column - x] for row in range(rows) for column in range(columns)]
        distance = [min(old, new + old % 1) for old, new in zip(distance, away, strict=True)]
        distance[best] = -1.0
    return chosen


def _around(length: int) -> list[int]:
    """Squared distances on a ring, by the difference of two places (negative ones count from the end)."""
    # Round the edges, because they would gather more than their part otherwise.
    return [min(step, length - step) ** 2 for step in range(length)]


def _field(inked: int, columns: int, style: str) -> Markup:
    everything = set(range(_DOTS))
    # The rarer kind is spread evenly; the other one fills what is left.
    few = scattered(min(inked, _DOTS - inked), columns)
    chosen = few if inked * 2 <= _DOTS else everything - few
    return tag(
        "svg",
        _path(everything - chosen, columns, "blank"),
        _path(chosen, columns, "ink"),
        viewBox=f"0 0 {columns * _PITCH} {_DOTS // columns * _PITCH}",
        role="img",
        aria_label=f"{inked} of {_DOTS} dots are inked.",
        class_=style,
    )


def _path(places: Iterable[int], columns: int, style: str) -> Markup:
    half = _PITCH // 2
    corners = (f"M{place % columns * _PITCH + half} {place // columns * _PITCH + half}h0" for place in sorted(places))
    return tag("path", d="".join(corners), class_=style)
