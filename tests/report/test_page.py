"""Is the page whole, closed to the outside, and honest about what is not recorded?"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mezzotint.report import read_run, write_report
from mezzotint.report.page import run_page
from mezzotint.report.sections import SECTIONS


@pytest.fixture(scope="module")
def text(page_file: Path) -> str:
    return page_file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tree(text: str, parse: Any) -> Any:
    return parse(text)


def test_every_section_is_there_in_order_and_linked(tree: Any) -> None:
    keys = [node.attributes["id"] for node in tree.all("section")]
    assert keys == list(SECTIONS)
    links = [node.attributes["href"] for node in tree.all("a")]
    assert links == ["#top", *(f"#{key}" for key in keys)]


def test_ids_are_unique(tree: Any) -> None:
    ids = [node.attributes["id"] for node in tree.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))


def test_the_headline_tells_the_result(tree: Any, finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    tiles = {
        node.children[0].text: node.text
        for node in tree.all("div")
        if [c.name for c in node.children[:2]] == ["dt", "dd"]
    }
    accuracy = f"{100 * summary['test_accuracy']:.2f}\N{NO-BREAK SPACE}%"
    assert accuracy in tiles["Test accuracy"]
    assert accuracy in next(node for node in tree.all("p") if node.attributes.get("class") == "result").text
    assert f"{summary['nnz']:,}" in tiles["Nonzero weights"]
    assert "10.3\N{NO-BREAK SPACE}%" in tiles["Density"]
    assert "sparse momentum" in tiles["Method"]
    assert "4 steps skipped" in tiles["Precision"]
    assert "Training report of lenet5" in tree.one("top").text
    assert "0.202×" in tiles["Memory"]


def test_nothing_in_the_page_points_outside(tree: Any, text: str) -> None:
    for node in tree.all():
        for key in ("src", "href", "action", "data", "srcset", "xlink:href", "poster"):
            value = node.attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (node.name, value)
        assert "style" not in node.attributes, "the policy forbids style attributes"
        assert not any(key.startswith("on") for key in node.attributes)
    styles = "".join(node.own_text for node in tree.all("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "http-equiv" in text


def test_the_policy_lets_in_exactly_the_pages_own_code(tree: Any) -> None:
    policy = next(n.attributes["content"] for n in tree.all("meta") if "http-equiv" in n.attributes)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name, directive in (("style", "style-src"), ("script", "script-src")):
        (node,) = tree.all(name)
        digest = base64.b64encode(hashlib.sha256(node.own_text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_every_chart_is_labelled_and_has_a_table_with_a_row_for_each_place(tree: Any) -> None:
    charts = list(tree.all("figure"))
    assert len(charts) >= 14
    for chart in charts:
        (table,) = chart.all("table")
        rows = list(next(table.all("tbody")).all("tr"))
        columns = len(list(next(table.all("thead")).all("th")))
        assert all(len(row.children) == columns for row in rows)
        drawings = [node for node in chart.all("svg") if node.attributes.get("role") == "img"]
        assert len(drawings) in (1, 2, 3)
        for drawing in drawings:
            label = drawing.attributes["aria-label"]
            assert label.startswith(next(chart.all("h3")).text)
            kind = drawing.attributes["data-hit"]
            xs = (drawing.attributes.get("data-xs") or "").split()
            ys = (drawing.attributes.get("data-ys") or "").split()
            if kind == "items":
                marks = [n for n in drawing.all() if "item" in (n.attributes.get("class") or "").split()]
                assert len(marks) == len(rows), chart.attributes["id"]
                continue
            assert len(rows) == len(xs if kind == "x" else ys), chart.attributes["id"]
            if kind == "grid":
                assert len(xs) == columns - 1


def test_no_drawing_holds_a_number_that_is_none(text: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
    assert not re.search(r'[" ](nan|-?inf|None)[" ]', drawings)


def test_every_mark_lies_inside_its_drawing(tree: Any) -> None:
    for chart in tree.all("figure"):
        for drawing in (node for node in chart.all("svg") if node.attributes.get("role") == "img"):
            width, height = map(float, drawing.attributes["viewbox"].split()[2:])
            for text in drawing.all("text"):
                assert -1 <= float(text.attributes["x"]) <= width + 1
                assert -1 <= float(text.attributes["y"]) <= height + 1


def test_names_are_escaped_everywhere(text: str) -> None:
    assert "<b>seven" not in text
    assert "&lt;b&gt;seven&lt;/b&gt; &amp; &quot;co&quot;" in text


def test_pictures_are_embedded_as_they_are(tree: Any, finished: Path) -> None:
    images = [node.attributes for node in tree.one("samples").all("img")]
    assert len(images) == 24
    data = base64.b64decode(images[5]["src"].removeprefix("data:image/png;base64,"))
    assert data == (finished / "samples" / "005.png").read_bytes()
    assert all(image["alt"] for image in images)


def test_the_same_record_gives_the_same_page(finished: Path) -> None:
    assert run_page(read_run(finished)) == run_page(read_run(finished))


def test_the_config_and_the_environment_are_shown_in_full(tree: Any, finished: Path) -> None:
    setting = tree.one("setting")
    assert tree.one("config").own_text == (finished / "config.toml").read_text(encoding="utf-8")
    environment = json.loads((finished / "environment.json").read_text(encoding="utf-8"))
    assert [node.text for node in setting.all("dt")] == list(environment)
    assert "step 6101, threads 1" in setting.text


def test_decisions_tell_kernel_reason_rivals_and_refusals(tree: Any) -> None:
    kernels = tree.one("kernels").text
    for word in ("native_avx2", "dense_onednn", "median of 5 interleaved runs", "needs a CUDA device", " ms"):
        assert word in kernels


def test_an_almost_empty_run_says_what_is_not_recorded(tmp_path: Path, parse: Any) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind":"st', encoding="utf-8")
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    for section in page.all("section"):
        if section.attributes["id"] == "next":  # there is always something to do
            continue
        assert any("missing" in (node.attributes.get("class") or "") for node in section.all()), section.attributes[
            "id"
        ]
    assert "in progress" in page.text
    assert "last line is incomplete" in page.one("setting").text


def test_a_dense_run_does_not_pretend_to_be_sparse(dense: Path, parse: Any) -> None:
    page = parse(run_page(read_run(dense)))
    assert "A dense network, trained in fp16, classifies" in page.text.replace("  ", " ")
    assert "No topology update is recorded: the pattern is fixed." in page.one("movement").text
    assert "The pattern did not change" in page.one("density").text


def test_a_run_into_which_no_update_fitted_says_so(own_run: Path, parse: Any) -> None:
    rows = (own_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if json.loads(row)["kind"] != "topology"]
    assert len(kept) < len(rows)
    (own_run / "metrics.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert "0 updates fitted into it" in parse(run_page(read_run(own_run))).one("movement").text
    (own_run / "summary.json").unlink()
    assert "still to come" in parse(run_page(read_run(own_run))).one("movement").text


def test_a_run_without_loss_scaling_says_so(own_run: Path, parse: Any) -> None:
    lines = (own_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["kind"] == "step":
            row.update(loss_scale=1.0, skipped=False)
    (own_run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    learning = parse(run_page(read_run(own_run))).one("learning")
    assert "The loss was not scaled" in learning.text
    assert not any(node.attributes.get("id") == "loss-scale" for node in learning.all())


def test_many_classes_get_a_picture_instead_of_numbers(own_run: Path, parse: Any) -> None:
    side = 100
    confusion = [[90 if i == j else int((i, j) == (3, 7)) * 9 for j in range(side)] for i in range(side)]
    (own_run / "mistakes.json").write_text(json.dumps({"confusion": confusion, "classes": ["a"]}), encoding="utf-8")
    mistakes = parse(run_page(read_run(own_run))).one("mistakes")
    captions = [node.text for node in mistakes.all("caption")]
    assert captions == ["Confusion matrix, mistakes only", "The most frequent mistakes", "Accuracy of every class"]
    weakest = next(next(mistakes.one("by-class").all("tbody")).all("tr"))
    assert [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in weakest.children] == ["3", "90.9 %", "90", "99"]


def test_deep_networks_keep_one_row_a_layer(own_run: Path, parse: Any) -> None:
    names = [f"layer{index // 10}.{index % 10}.a_rather_long_module_name.conv" for index in range(80)]
    layers = {name: {"nnz": 10, "numel": 100, "density": 0.1} for name in names}
    rows = [{"kind": "epoch", "epoch": 0, "step": 1, "layers": layers}]
    moved = {
        n: {"before": 10, "pruned": 3, "grown": i % 7, "after": 7 + i % 7, "density": 0.1} for i, n in enumerate(names)
    }
    rows += [{"kind": "topology", "step": 10 * index, "layers": moved} for index in range(300)]
    (own_run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    page = parse(run_page(read_run(own_run)))
    for key in ("net-movement", "turnover"):
        chart = page.one(key)
        assert [node.text for node in next(chart.all("tbody")).all("th")] == names
    assert len(list(next(page.one("net-movement").all("thead")).all("th"))) <= 121
