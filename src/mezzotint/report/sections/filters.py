"""What do the first filters look for? Each as a picture, weights that do not exist as dots."""

from __future__ import annotations

from mezzotint.report.draw.png import Colour, faded, png
from mezzotint.report.draw.svg import Drawing, box, n
from mezzotint.report.figure import Chart
from mezzotint.report.markup import join, tag
from mezzotint.report.numbers import count, plain
from mezzotint.report.record import Filters
from mezzotint.report.table import Column, table

#: Pixels between filters, at least and at most.
_GAP, _WIDEST_GAP = 7, 14
#: Colours with seven strengths each, and the dot of a gap: sixteen in all, which is four bits a pixel.
_SHADES = 7
_PLUS, _MINUS, _DOT = (24, 112, 200), (214, 96, 12), (128, 136, 148)
_SHADED: list[Colour] = [*faded(_PLUS, _SHADES, 0.2), *faded(_MINUS, _SHADES, 0.2)[1:]]
_GAP_COLOUR = len(_SHADED)
#: Opacities of the dots: where there are many small ones, they must not outshine the weights.
_CLEAR, _FAINT = 190, 90
#: Channels shown of a filter at most.
_CHANNELS = 4


def filter_chart(filters: Filters) -> Chart:
    """The first layer's filters side by side."""
    shown, channels, height, width = filters.shape
    absent = filters.weights.count(0)
    total = len(filters.weights)
    some = f"The first {shown} of {count(filters.of)} filters" if shown < filters.of else f"All {shown} filters"
    gaps = f"{count(absent)} of their {count(total)} weights do not exist" if absent else "all of their weights exist"
    colours = " A filter's input channels stand side by side." if channels > 1 else ""
    return Chart(
        key="filters",
        title=f"What the first layer looks for ({filters.layer})"
        if filters.layer
        else "What the first layer looks for",
        says=f"{some}, {height} × {width} pixels: {gaps}.{colours}",
        means="Where a filter is blue it answers to bright pixels, where it is orange to dark ones.",
        draw=lambda width: _draw(filters, width),
        table=table(
            (Column(name="Filter", text=True), "weights that exist", "of", "largest weight", "sum"), _rows(filters)
        ),
        legend=(("bar s1", "above 0"), ("bar s2", "below 0"), *((("gap", "no weight"),) if absent else ())),
        wide=True,
    )


def _rows(filters: Filters) -> list[tuple[str, ...]]:
    size = len(filters.weights) // filters.shape[0]
    made: list[tuple[str, ...]] = []
    for index in range(filters.shape[0]):
        steps = [value - 128 for value in filters.weights[index * size : (index + 1) * size] if value]
        largest = max(map(abs, steps), default=0) / 127 * filters.largest
        total = sum(steps) / 127 * filters.largest
        made.append((f"filter {index + 1}", count(len(steps)), count(size), plain(largest, 3), plain(total, 3)))
    return made


def _draw(filters: Filters, full: float) -> Drawing:
    """One picture of all filters, and upon it a clear box for each, which the pointer finds."""
    shown, channels, height, width = filters.shape
    across = min(channels, _CHANNELS)
    room = int(full) - 4
    inner = _inner(across)
    scale = _scale(across, width, room, shown)
    tile, tall = _tile(across, width, scale), height * scale
    columns = _across(tile, room, shown)
    gap = _gap(tile, columns, room)
    rows = -(-shown // columns)
    wide = columns * (tile + gap) - gap
    lines = [bytearray(wide) for _ in range(rows * (tall + gap) - gap)]
    boxes = []
    for index in range(shown):
        x, y = index % columns * (tile + gap), index // columns * (tall + gap)
        boxes.append(box(x, y, tile + 4, tall + 4, "item tile", round_=2))
        for channel in range(across):
            start = (index * channels + channel) * height * width
            weights = filters.weights[start : start + height * width]
            _paint(lines, weights, x + channel * (width * scale + inner), y, width, scale)
    dot: Colour = (*_DOT, _CLEAR if scale > 7 else _FAINT)
    picture = f"data:image/png;base64,{png(wide, b''.join(lines), [*_SHADED, dot])}"
    image = tag("image", href=picture, x=2, y=2, width=wide, height=len(lines), class_="sharp signed")
    # Filters larger than the drawing shrink with it.
    width_used, height_used = max(full, wide + 4.0), len(lines) + 4.0
    hit = {"hit": "items", "frame": f"0 0 {n(width_used)} {n(height_used)}"}
    return Drawing(width=width_used, height=height_used, body=join(image, *boxes), hit=hit)


def _inner(across: int) -> int:
    """Pixels between the channels of a filter."""
    return 2 if across > 1 else 0


def _tile(across: int, width: int, scale: int) -> int:
    return across * width * scale + (across - 1) * _inner(across)


def _across(tile: int, room: int, shown: int) -> int:
    """Filters in a row."""
    return min(max((room + _GAP) // (tile + _GAP), 1), shown)


def _gap(tile: int, columns: int, room: int) -> int:
    """What the filters of a row leave, spread between them."""
    left = (room - columns * tile) // (columns - 1) if columns > 1 else _GAP
    return min(max(left, _GAP), _WIDEST_GAP)


def _scale(across: int, width: int, room: int, shown: int) -> int:
    """Pixels of a weight: about as many as make a filter a good size, and of these what leaves the least room empty."""
    usual = min(max(min(110, room) // (across * width), 2), 18)
    if _across(_tile(across, width, usual), room, shown) == shown:
        return usual

    def filled(scale: int) -> tuple[int, int]:
        tile = _tile(across, width, scale)
        columns = _across(tile, room, shown)
        used = columns * tile + (columns - 1) * _gap(tile, columns, room)
        return (used if used <= room else 0, scale)

    return max(range(max(usual * 3 // 4, 2), max(usual * 5 // 4, 2) + 1), key=filled)


def _paint(lines: list[bytearray], weights: bytes, left: int, top: int, width: int, scale: int) -> None:
    middle = (scale - 1) // 2
    dot = max(scale // 5, 1)
    for place, value in enumerate(weights):
        x, y = left + place % width * scale, top + place // width * scale
        if value:
            colour = bytes([_shade(value - 128)])
            for row in range(y, y + scale):
                lines[row][x : x + scale] = colour * scale
            continue
        for row in range(y + middle, y + middle + dot):
            lines[row][x + middle : x + middle + dot] = bytes([_GAP_COLOUR]) * dot


def _shade(step: int) -> int:
    """Place in the palette of -127..127; what exists is never blank."""
    strength = min(max(round(abs(step) / 127 * _SHADES), 1), _SHADES)
    return strength if step >= 0 else _SHADES + strength
