"""Can mistakes be read for ten classes and for a thousand?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mezzotint.report import read_run
from mezzotint.report.page import run_page


def write(run: Path, value: dict[str, Any]) -> None:
    (run / "mistakes.json").write_text(json.dumps(value), encoding="utf-8")


def test_a_thousand_classes_are_a_picture_a_curve_and_lists(own_run: Path, parse: Any) -> None:
    classes = [f"class {index}" for index in range(1000)]
    right = [50 - index % 7 for index in range(1000)]
    pairs = [[index, (index + 1) % 1000, index % 7] for index in range(1000) if index % 7]
    write(own_run, {"classes": classes, "images": [50] * 1000, "right": right, "pairs": pairs})
    text = run_page(read_run(own_run))
    mistakes = parse(text).one("mistakes")
    assert len(text) < 1_500_000
    confusion = mistakes.one("confusion")
    assert (
        "2,997 of 50,000 test images are classified wrongly. A pixel is a block of about 4.0 classes" in confusion.text
    )
    assert len(list(confusion.all("image"))) == 2
    assert len(list(next(mistakes.one("by-class").all("tbody")).all("tr"))) == 1000
    assert "too rare" not in confusion.text
    write(own_run, {"classes": classes, "images": [50] * 1000, "right": right, "pairs": pairs[:500]})
    rare = sum(number for _, _, number in pairs[500:])
    assert f"{rare:,} of these are too rare to be drawn" in run_page(read_run(own_run))
    first = next(next(confusion.all("tbody")).all("tr"))
    assert [cell.text for cell in first.children] == ["class 6", "class 7", "6"]


def test_the_worst_mistakes_stand_with_their_pictures(finished: Path, fake: Any, parse: Any) -> None:
    mistakes = parse(run_page(read_run(finished))).one("mistakes")
    tiles = [node for node in mistakes.all("ul") if "worst" in (node.attributes.get("class") or "")]
    items = list(tiles[0].all("li"))
    assert len(items) == fake.WORST
    assert next(items[2].all("img")).attributes["alt"] == 'Test image: <b>seven</b> & "co", taken for two'
    assert "taken for two, 86" in items[2].text


def test_a_mistake_without_its_picture_or_with_an_odd_class_is_left_out(own_run: Path) -> None:
    content = json.loads((own_run / "mistakes.json").read_text(encoding="utf-8"))
    content["worst"][0]["file"] = "../../secret.png"
    content["worst"][1]["chosen"] = 10
    write(own_run, content)
    run = read_run(own_run)
    assert run.mistakes is not None
    assert [one.sample.name for one in run.mistakes.worst][:2] == ["test/2", "test/3"]
    assert any("outside" in note for note in run.notes)


def test_files_that_could_not_be_read_are_listed_with_the_reason(finished: Path, own_run: Path, parse: Any) -> None:
    samples = parse(run_page(read_run(finished))).one("samples")
    row = next(next(samples.all("tbody")).all("tr"))
    assert [cell.text for cell in row.children] == [
        "seven/3.jpg",
        "training images",
        "received an empty file (0 bytes)",
    ]
    (own_run / "quarantine.json").write_text('{"train": {"samples": []}}', encoding="utf-8")
    assert "Every image could be read." in parse(run_page(read_run(own_run))).one("samples").text


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system has no list of locks")
def test_commands_fit_the_state_of_the_run(own_run: Path, parse: Any) -> None:
    def commands() -> list[str]:
        return [node.text for node in parse(run_page(read_run(own_run))).one("next").all("code")]

    assert f"mezzotint eval {own_run}" in commands()
    (own_run / "summary.json").unlink()
    assert f"mezzotint report {own_run} --live" in commands()
    (own_run / ".lock").touch()  # a run that nobody trains
    assert f"mezzotint train {own_run} --resume" in commands()
    assert "not finished" in run_page(read_run(own_run))
