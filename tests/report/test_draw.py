"""Do drawings put their marks where the numbers say, and can no text become markup?"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.report.dots import inked_dots, scattered
from mezzotint.report.draw.bars import Bar, Group, bar_chart, two_sided
from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.draw.lines import Line, area_chart, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.draw.svg import n, polyline, shorten, width_of
from mezzotint.report.markup import Markup, escape, join, tag
from mezzotint.report.section import bins, thinned

_AXIS = Axis(label="value", write=str, kind="linear", zero=True)


@given(st.text())
def test_escaped_text_is_neither_markup_nor_broken_utf8(text: str) -> None:
    written = escape(text)
    assert not re.search(r"[<>\"']", written)
    assert "&" not in re.sub(r"&(amp|lt|gt|quot|#x27);", "", written)
    written.encode("utf-8")


@given(st.text(), st.text())
def test_an_element_gives_back_its_text_and_attribute(parse: Any, text: str, value: str) -> None:
    node = next(parse(tag("p", text, data_x=value)).all("p"))
    clean = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
    assert node.attributes["data-x"] == clean.sub("\ufffd", value)
    assert node.own_text.replace("\r", "\n") == clean.sub("\ufffd", text).replace("\r", "\n")


def test_markup_is_kept_and_attributes_are_written_as_asked() -> None:
    inner = tag("b", "<")
    assert join(inner, "<") == "<b>&lt;</b>&lt;"
    assert isinstance(join(inner), Markup)
    assert tag("br", hidden=True, title=None, open=False, class_="a", aria_label='"') == (
        '<br hidden class="a" aria-label="&quot;">'
    )


def test_a_line_passes_through_its_points_and_breaks_at_gaps() -> None:
    path = polyline([(0, 1), (2, 3), None, (4, 5), None], "line s1")
    assert 'd="M0 1L2 3M4 5h0"' in path
    assert polyline([None, None], "line") == ""


def test_a_line_chart_marks_every_row_of_its_table() -> None:
    values = [None, 4.0, float("nan"), 2.0]
    chart = line_chart([1, 2, 3, 5], [Line(name="a", style="s1", values=values)], x=_AXIS, y=_AXIS, width=500)
    places = [float(place) for place in chart.hit["xs"].split()]
    left, top, right, bottom = (float(place) for place in chart.hit["frame"].split())
    assert places == [left, *sorted(places)[1:-1], right]
    assert places[3] - places[2] == pytest.approx(2 * (places[1] - places[0]), abs=0.3)
    drawn = re.search(r'd="(M[^"]*)" class="line s1"', chart.body)
    assert drawn is not None
    assert drawn[1] == f"M{n(places[1])} {n(top)}h0M{n(places[3])} {n((top + bottom) / 2)}h0"


def test_bands_stepped_lines_and_marks_are_drawn() -> None:
    band = Line(name="a", style="s1", values=[1, 2], low=[0, 1], high=[2, 3])
    stepped = Line(name="b", style="s2", values=[1, 2], stepped=True)
    chart = line_chart([0, 1], [band, stepped], x=_AXIS, y=_AXIS, width=350, marks=[1])
    assert 'class="band s1"' in chart.body
    assert chart.body.count('class="flag"') == 2
    path = re.search(r'd="([^"]*)" class="line s2"', chart.body)
    assert path is not None
    assert path[1].count("L") == 2


@pytest.mark.parametrize("xs", [[], [3.0]])
def test_charts_of_nothing_or_one_point_are_drawn(xs: list[float]) -> None:
    values = [1.0] * len(xs)
    line = line_chart(xs, [Line(name="a", style="s1", values=values)], x=_AXIS, y=_AXIS, width=350)
    area = area_chart(xs, [("s1", values)], x=_AXIS, y=_AXIS, width=350)
    assert "nan" not in line.body + area.body


def test_areas_stack_to_the_sum() -> None:
    chart = area_chart([0, 1], [("s1", [1, 1]), ("s2", [2, 3])], x=_AXIS, y=_AXIS, width=500)
    first, second = (
        [tuple(map(float, pair.split())) for pair in path.split("L")]
        for path in re.findall(r'd="M([^"]*)z" class="area', chart.body)
    )
    assert first[:2] == second[:1:-1], "the lower border of the second is the upper border of the first"
    heights = [first[2][1] - first[1][1], second[2][1] - second[1][1]]
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.3)


@pytest.mark.parametrize("width", [350, 1000])
def test_bars_are_as_long_as_their_values(width: float) -> None:
    groups = [
        Group(name=str(v), bars=(Bar(value=v, style="s1", text="t"),)) for v in (10.0, 5.0, 0.0, float("nan"), -1)
    ]
    chart = bar_chart(groups, width=width)
    lengths = [float(text) for text in re.findall(r'width="([\d.]+)"', chart.body)]
    assert len(lengths) == 2
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.2)
    assert len(chart.hit["ys"].split()) == len(groups)


def test_two_sided_bars_meet_in_the_middle() -> None:
    chart = two_sided([("a", Bar(value=4, style="s2", text="4"), Bar(value=2, style="s1", text="2"))], width=500)
    (x1, w1), (x2, w2) = (
        tuple(map(float, pair)) for pair in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', chart.body)
    )
    assert x1 + w1 == pytest.approx(x2, abs=0.2)
    assert w1 == pytest.approx(2 * w2, abs=0.2)


def _heat(rows: list[list[float | None]], *, square: bool = False) -> Heat:
    cells = tuple(tuple(None if v is None else Cell(style="t1", tint=v, text="7") for v in row) for row in rows)
    names = tuple(f"layer.{index}" for index in range(len(rows)))
    columns = tuple(str(index) for index in range(len(rows[0])))
    return Heat(rows=names, columns=columns, cells=cells, square=square)


def test_equal_neighbours_of_a_narrow_heat_map_become_one_path() -> None:
    row = [0.5] * 60 + [None] * 20 + [1.0] * 40
    chart = heat_map(_heat([row, row]), width=640)
    paths = re.findall(r'd="([^"]*)" class="cell t1" fill-opacity="([\d.]+)"', chart.body)
    assert [(path.count("M"), tint) for path, tint in paths] == [(2, "0.5"), (2, "1")]
    assert len(chart.hit["xs"].split()) == 120


def test_a_square_heat_map_has_square_cells_with_their_texts() -> None:
    chart = heat_map(_heat([[0.0, 0.7], [0.9, 0.1]], square=True), width=350)
    left, top, right, bottom = map(float, chart.hit["frame"].split())
    assert bottom - top == pytest.approx(min(right - left, 92), abs=0.2)
    assert chart.body.count(">7<") == 4
    assert 'class="on"' in chart.body
    assert 'class="mid"' in chart.body


@given(st.text(max_size=60), st.floats(20, 200))
def test_shortened_names_fit_and_keep_both_ends(name: str, room: float) -> None:
    short = shorten(name, room)
    if short != name:
        assert "…" in short
        assert short[0] == name[0]
        assert short[-1] == name[-1]
        assert len(short) <= max(room / (12 * 0.56), 3) + 1e-9
    else:
        assert width_of(name) <= room


def test_names_that_are_not_utf8_are_shortened() -> None:
    assert shorten("caf\udce9", 5) == "c…\udce9"


@given(st.integers(0, 500), st.integers(1, 200))
def test_bins_cover_everything_once_and_thinning_keeps_the_ends(length: int, most: int) -> None:
    items = list(range(length))
    parts = bins(items, most)
    assert [item for part in parts for item in part] == items
    assert len(parts) == min(length, most)
    assert all(parts)
    if most > 1:
        kept = thinned(items, most)
        assert len(kept) == min(length, most) == len(set(kept))
        assert not items or (kept[0], kept[-1]) == (items[0], items[-1])


@pytest.mark.parametrize(("density", "inked"), [(0.0, 0), (1e-6, 1), (0.1, 80), (0.5, 400), (1.0, 800), (7.0, 800)])
def test_the_field_inks_the_density(density: float, inked: int) -> None:
    assert inked_dots(density) == inked


def test_scattered_dots_keep_their_distance() -> None:
    places = [(place % 40, place // 40) for place in scattered(50, 40)]
    assert len(set(places)) == 50
    nearest = min(abs(a - c) + abs(b - d) for i, (a, b) in enumerate(places) for c, d in places[:i])
    assert nearest >= 2
