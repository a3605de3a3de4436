"""Does the comparison lay the right runs over each other, by names that can be told apart?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mezzotint.report import write_comparison
from mezzotint.report.differences import differing
from mezzotint.report.headline import final_layers
from mezzotint.report.numbers import percent
from mezzotint.report.read import read_run


def test_runs_stand_in_one_table_with_ratios_to_the_first(
    dense: Path, finished: Path, tmp_path: Path, parse: Any
) -> None:
    page = parse(write_comparison([dense, finished], tmp_path / "c.html").read_text(encoding="utf-8"))
    rows = list(next(page.one("overview").all("tbody")).all("tr"))
    cells = [[cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row.children] for row in rows]
    assert [row[0] for row in cells] == ["lenet-dense", "lenet-fp16"]
    assert cells[0][4] == "100 %"
    assert cells[1][4] == "10.3 %"
    assert cells[1][5].endswith(" %"), "multiply-adds"
    assert cells[1][7].endswith("(0.202×)")
    assert "×)" in cells[1][8]


def test_every_run_has_a_line_and_a_column(dense: Path, finished: Path, tmp_path: Path, parse: Any) -> None:
    page = parse(write_comparison([dense, finished], tmp_path / "c.html").read_text(encoding="utf-8"))
    chart = page.one("test-error")
    assert [node.text for node in next(chart.all("thead")).all("th")] == ["Epoch", "lenet-dense", "lenet-fp16"]
    assert len(list(next(chart.all("tbody")).all("tr"))) == 30
    drawing = next(node for node in chart.all("svg") if node.attributes.get("role") == "img")
    lines = [n for n in drawing.all("path") if (n.attributes.get("class") or "").startswith("line")]
    assert [node.attributes["class"] for node in lines] == ["line s1", "line s2"]


def test_runs_that_differ_by_the_seed_alone_are_one_line_with_a_band(
    dense: Path, finished: Path, tmp_path: Path, parse: Any
) -> None:
    twin = shutil.copytree(finished, tmp_path / "twin")
    for name, old, new in (("config.toml", "seed = 0", "seed = 1"), ("metrics.jsonl", '"test_accuracy": 0.', "")):
        text = (twin / name).read_text(encoding="utf-8")
        if new:
            text = text.replace(old, new)
        else:  # the first epoch a tenth worse
            rows = [json.loads(line) for line in text.splitlines()]
            first = next(row for row in rows if row["kind"] == "epoch")
            first["test_accuracy"] -= 0.1
            text = "".join(json.dumps(row) + "\n" for row in rows)
        (twin / name).write_text(text, encoding="utf-8")
    page = parse(write_comparison([dense, finished, twin], tmp_path / "c.html").read_text(encoding="utf-8"))
    chart = page.one("test-error")
    heads = [node.text for node in next(chart.all("thead")).all("th")]
    assert heads == ["Epoch", "lenet-dense", "sparse momentum 0.103, 2 seeds"]
    drawing = next(node for node in chart.all("svg") if node.attributes.get("role") == "img")
    assert [n.attributes["class"] for n in drawing.all("path") if "band" in (n.attributes.get("class") or "")] == [
        "band s2"
    ]
    assert len(list(next(page.one("overview").all("tbody")).all("tr"))) == 3


def test_equal_names_are_told_apart_by_their_folders(finished: Path, tmp_path: Path, parse: Any) -> None:
    twin = shutil.copytree(finished, tmp_path / "twin")
    page = parse(write_comparison([finished, twin], tmp_path / "c.html").read_text(encoding="utf-8"))
    names = [node.text for node in next(page.one("overview").all("tbody")).all("th")]
    assert names == ["lenet-fp16 (sparse)", "lenet-fp16 (twin)"]


def test_runs_that_hold_nothing_yet_can_be_compared(finished: Path, tmp_path: Path, parse: Any) -> None:
    young = tmp_path / "young"
    young.mkdir()
    (young / "config.toml").write_text('name = "<i>young</i>"\n', encoding="utf-8")
    page = parse(write_comparison([young, young, finished], tmp_path / "c.html").read_text(encoding="utf-8"))
    assert "<i>young</i> (young) (in progress)" in page.one("overview").text
    alone = parse(write_comparison([young], tmp_path / "d.html").read_text(encoding="utf-8"))
    assert "Neither memory nor time is recorded" in alone.text


def test_more_runs_than_colours_get_other_dashes(finished: Path, tmp_path: Path, parse: Any) -> None:
    page = parse(write_comparison([finished] * 8, tmp_path / "c.html").read_text(encoding="utf-8"))
    drawing = next(n for n in page.one("test-loss").all("svg") if n.attributes.get("role") == "img")
    styles = [
        n.attributes["class"] for n in drawing.all("path") if (n.attributes.get("class") or "").startswith("line")
    ]
    assert styles[0] == "line s1"
    assert styles[6] == "line s1 dashed"
    assert len(set(styles)) == 8


def test_what_differs_before_anything_is_measured(dense: Path, finished: Path, tmp_path: Path, parse: Any) -> None:
    section = parse(write_comparison([dense, finished], tmp_path / "c.html").read_text(encoding="utf-8")).one(
        "differences"
    )
    keys, layers = (
        {row.children[0].text: [cell.text for cell in row.children[1:]] for row in next(table.all("tbody")).all("tr")}
        for table in section.all("table")
    )
    assert keys == {"sparse.method": ["static", "sparse_momentum"], "sparse.density": ["1.0", "0.1"]}
    last = final_layers(read_run(finished))
    assert {name: row[1] for name, row in layers.items()} == {
        name: percent(layer.density) for name, layer in last.items()
    }
    same = parse(write_comparison([finished, finished], tmp_path / "d.html").read_text(encoding="utf-8"))
    assert "Their configurations are the same" in same.one("differences").text


def test_a_key_that_is_left_out_differs_from_one_that_is_set() -> None:
    assert differing([{"name": "a", "x": {"y": 1}}, {"name": "b", "x": {"y": 1, "z": [2]}}]) == {"x.z": ("–", "[2]")}
