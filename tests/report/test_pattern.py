"""Are patterns, filters and ages drawn as they are recorded, weight by weight?"""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mezzotint.report import read_run, write_report
from mezzotint.report.draw.png import faded, png
from mezzotint.report.page import run_page
from mezzotint.report.record import Filters, Inside
from mezzotint.report.sections.filters import filter_chart
from mezzotint.report.sections.layer_kernels import native_steps


def opened(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.removeprefix("data:image/png;base64,")))).convert("RGBA")


def packed(values: list[int]) -> str:
    return base64.b64encode(zlib.compress(bytes(values))).decode("ascii")


@given(st.data())
def test_a_png_holds_its_pixels(data: st.DataObject) -> None:
    channel = st.integers(0, 255)
    palette = data.draw(st.lists(st.tuples(channel, channel, channel, channel), min_size=1, max_size=40))
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    places = st.integers(0, len(palette) - 1)
    pixels = data.draw(st.lists(places, min_size=width * height, max_size=width * height))
    image = opened(png(width, bytes(pixels), palette))
    assert image.size == (width, height)
    assert list(image.get_flattened_data()) == [palette[place] for place in pixels]


def test_opacities_rise_from_nothing_to_all() -> None:
    made = faded((1, 2, 3), 5, 0.2)
    assert [colour[3] for colour in made] == [0, 51, 102, 153, 204, 255]


def test_a_filter_shows_its_weights_and_a_dot_where_there_is_none(parse: Any) -> None:
    weights = bytes([255, 1, 0, 128])  # +largest, -largest, none, 0
    filters = Filters(layer="conv", shape=(1, 1, 2, 2), of=1, largest=0.5, weights=weights)
    chart = filter_chart(filters)
    drawing = parse(f"<svg>{chart.draw(350.0).body}</svg>")
    picture = opened(next(drawing.all("image")).attributes["href"] or "")
    side = picture.height // 2
    middle = side // 2
    shown = {(x, y): picture.getpixel((x * side + middle, y * side + middle)) for x in (0, 1) for y in (0, 1)}
    assert shown[0, 0] == (24, 112, 200, 255)
    assert shown[1, 0] == (214, 96, 12, 255)
    assert shown[1, 1][:3] == (24, 112, 200)  # 0, and it exists
    assert 0 < shown[1, 1][3] < 128
    gap = picture.crop((0, side, side, 2 * side))
    drawn = [pixel for pixel in gap.get_flattened_data() if pixel[3]]
    assert 0 < len(drawn) <= (side // 4) ** 2
    assert chart.table.rows == (("filter 1", "3", "4", "0.5", "0"),)
    assert "1 of their 4 weights do not exist" in chart.says


@pytest.mark.parametrize("width", [350.0, 1000.0])
@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (20, 1, 28, 28), (3, 8, 1, 1), (2, 3, 300, 300), (200, 1, 3, 3)])
def test_every_filter_has_its_place_in_the_drawing(shape: tuple[int, int, int, int], width: float, parse: Any) -> None:
    size = shape[0] * shape[1] * shape[2] * shape[3]
    chart = filter_chart(Filters(layer="x", shape=shape, of=shape[0], largest=1.0, weights=bytes([200]) * size))
    drawing = chart.draw(width)
    boxes = [node.attributes for node in parse(f"<svg>{drawing.body}</svg>").all("rect")]
    assert len(boxes) == shape[0] == len(chart.table.rows)
    corners = {(box["x"], box["y"]) for box in boxes}
    assert len(corners) == shape[0]
    for box in boxes:
        assert float(box["x"]) + float(box["width"]) <= drawing.width + 0.1
        assert float(box["y"]) + float(box["height"]) <= drawing.height + 0.1


def test_every_layer_has_a_picture_and_its_ages(finished: Path, fake: Any, parse: Any) -> None:
    card = parse(run_page(read_run(finished))).one("patterns")
    panels = [node for node in card.all("div") if node.attributes.get("role") == "tabpanel"]
    assert [node.attributes["id"] for node in panels] == ["panel-masks", "panel-ages"]
    recorded = json.loads((finished / "patterns.json").read_text(encoding="utf-8"))["layers"]
    for panel in panels:
        names = [node.attributes["title"] for node in panel.all("strong")]
        assert [node.text.replace(" ", "") for node in panel.all("strong")] == names
        assert names == list(fake.LAYERS)
        for name, image in zip(names, panel.all("img"), strict=True):
            picture = opened(image.attributes["src"])
            cells = zlib.decompress(base64.b64decode(recorded[name]["share"]))
            assert picture.size == (recorded[name]["columns"], recorded[name]["rows"])
            assert [bool(pixel[3]) for pixel in picture.get_flattened_data()] == [bool(cell) for cell in cells]
    assert "6 output channels have no weight left" in card.text


def test_ages_tell_what_has_lived_since_the_start(finished: Path, parse: Any) -> None:
    ages = parse(run_page(read_run(finished))).one("ages")
    # 61 moments in 32 parts: the first holds the start and one update
    assert "have lived since updates 0–1." in ages.text
    heads = [node.text for node in next(ages.all("thead")).all("th")]
    assert (heads[1], heads[-1]) == ("0–1", "60")
    assert len(heads) == 33


def test_a_run_of_an_older_version_says_what_is_not_recorded(own_run: Path, parse: Any) -> None:
    for name in ("patterns.json", "quarantine.json"):
        (own_run / name).unlink()
    page = parse(write_report(own_run).read_text(encoding="utf-8"))
    assert "Patterns are not recorded" in page.one("pattern").text
    assert "Images that could not be read" not in page.one("samples").text


@pytest.mark.parametrize(
    "change",
    [
        {"share": packed([1] * 5)},  # too few
        {"share": packed([1] * 5000)},  # too many
        {"share": "no base64!"},
        {"share": base64.b64encode(b"not deflated").decode()},
        {"rows": 10**9},
        {"rows": -1},
        {"shape": [0, 3]},
        {"shape": 7},
        {"columns": None},
    ],
)
def test_a_damaged_picture_is_left_out(own_run: Path, change: dict[str, Any]) -> None:
    file = own_run / "patterns.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["layers"]["features.0.conv"].update(change)
    file.write_text(json.dumps(content), encoding="utf-8")
    inside = read_run(own_run).inside
    assert inside is not None
    assert list(inside.layers) == list(content["layers"])[1:]
    run_page(read_run(own_run))


def test_layers_are_told_what_native_step_computes_them(fake: Any) -> None:
    inside = Inside(step=1, updates=0, layers={}, filters=None, layout=tuple(fake.LAYOUT))
    steps = native_steps(inside)
    assert steps["features.0.conv"] == "sparse convolution + ReLU"
    assert steps["features.1.conv"] == "sparse convolution"
    assert "classifier.hidden" not in steps


def test_layers_that_run_one_by_one_show_the_launchers_kernels(own_run: Path, fake: Any, parse: Any) -> None:
    decisions = [
        {"op": f"sparse_linear{end}", "problem": f"x[{batch}, 8] weight_shape=[32, 8192]", "kernel": k, "reason": "r"}
        for end, batch, k in (("", 128, "one"), ("", 500, "two"), ("_input_grad", 128, "three"))
    ]
    (own_run / "decisions.json").write_text(json.dumps(decisions), encoding="utf-8")
    kernels = parse(run_page(read_run(own_run))).one("kernels")
    rows = {
        row.children[0].text: [cell.text for cell in row.children[1:]] for row in next(kernels.all("tbody")).all("tr")
    }
    assert rows["classifier.hidden"] == ["one by one", "one", "three", "–", "r"]
    assert rows["features.0.conv"] == ["native layout", "native", "native", "native", "sparse convolution + ReLU"]
