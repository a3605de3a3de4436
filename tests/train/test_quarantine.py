"""Does a run go on over images that cannot be read, tell every one, and fail where it was told to?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_ranks import train as train_in_processes
from train_comparison import assert_same_run

from mezzotint.errors import ConfigError, DataError, ImageError
from mezzotint.train import RunConfig, config_text, train
from mezzotint.train.evaluate_checkpoint import evaluate_checkpoint
from mezzotint.train.progress import EpochView, Silent, StepView, epoch_line

Make = Callable[..., RunConfig]
DAMAGED = ("train/a/03.png", "train/b/11.png", "test/b/02.png")


class Crash(Exception):
    """Stands for a power cut."""


class Watcher(Silent):
    """Keeps the views of epochs; crashes after a step."""

    def __init__(self, crash_at: int = -1) -> None:
        self.crash_at = crash_at
        self.epochs: list[EpochView] = []

    def step(self, view: StepView) -> None:
        if view.step == self.crash_at:
            raise Crash

    def epoch(self, view: EpochView) -> None:
        self.epochs.append(view)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """40 training and 12 test images in two classes, three of them cut short."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        for number in range(2 * count):
            path = tmp_path / "images" / part / "ab"[number % 2] / f"{number // 2:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    for name in DAMAGED:
        file = tmp_path / "images" / name
        file.write_bytes(file.read_bytes()[:100])
    return tmp_path / "images"


def settings(images: Path, **more: Any) -> dict[str, Any]:
    quarantine = {"on_error": "quarantine", "max_bad": 0.2}
    return {"source": "folder", "path": str(images), "batch_size": 8, "test_batch_size": 5, **quarantine, **more}


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in found if row["kind"] == kind]


def told(folder: Path) -> dict[str, list[str]]:
    report = json.loads((folder / "quarantine.json").read_text())
    return {part: [sample["name"] for sample in entry["samples"]] for part, entry in report.items()}


def test_a_run_tells_every_bad_image_once(images: Path, small: Make, tmp_path: Path) -> None:
    watcher = Watcher()
    result = train(small(data=settings(images, threads=2)), folder=tmp_path / "run", progress=watcher)
    assert result.summary is not None
    assert told(tmp_path / "run") == {"train": ["a/03.png", "b/11.png"], "test": ["b/02.png"]}
    logged = [(row["epoch"], sample) for row in rows(tmp_path / "run", "quarantine") for sample in row["samples"]]
    assert sorted((epoch, sample["name"]) for epoch, sample in logged) == [(0, "a/03.png"), (0, "b/11.png")]
    assert all("cannot be decoded" in sample["reason"] for _, sample in logged)
    assert [view.quarantined for view in watcher.epochs] == [3, 3]
    assert "· quarantined 3" in epoch_line(watcher.epochs[0], 2)
    assert all(0 < view.waited < 1 for view in watcher.epochs)
    confusion = json.loads((tmp_path / "run" / "mistakes.json").read_text())["confusion"]
    assert sum(map(sum, confusion)) == 11, "the damaged one is left out of the test, and no other is counted twice"
    assert result.summary["test_images"] == 11
    (warning,) = evaluate_checkpoint(tmp_path / "run").warnings
    assert warning == "images that could not be read: 1 (b/02.png); they are left out."
    evaluation = evaluate_checkpoint(tmp_path / "run").result
    assert (evaluation.count, evaluation.accuracy) == (11, result.summary["test_accuracy"])


def test_a_run_that_was_cut_off_keeps_its_report(images: Path, small: Make, tmp_path: Path) -> None:
    """The workers change with every start; the bits do not."""
    config = small(data=settings(images), run={"checkpoint_steps": 1})
    train(config, folder=tmp_path / "whole")
    for crash_at, workers in ((3, {"threads": 2}), (7, {"processes": 1})):
        config = small(data=settings(images, **workers), run={"checkpoint_steps": 1})
        with pytest.raises(Crash):
            train(config, folder=tmp_path / "cut", resume=crash_at > 3, progress=Watcher(crash_at))
    train(small(data=settings(images), run={"checkpoint_steps": 1}), folder=tmp_path / "cut", resume=True)
    assert (tmp_path / "whole" / "quarantine.json").read_bytes() == (tmp_path / "cut" / "quarantine.json").read_bytes()
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_cache_makes_no_difference(images: Path, small: Make, tmp_path: Path) -> None:
    for name, more in (("read", {}), ("kept", {"cache": True}), ("ahead", {"cache": True, "threads": 2})):
        train(small(data=settings(images, **more)), folder=tmp_path / name)
    for name in ("kept", "ahead"):
        assert told(tmp_path / name) == {"train": ["a/03.png", "b/11.png"], "test": ["b/02.png"]}
        one, other = (rows(tmp_path / of, "quarantine") for of in ("read", name))
        assert one == other != []
        one, other = (rows(tmp_path / of, "step") for of in ("read", name))
        assert one == other != []
    strict = {**settings(images, cache=True), "on_error": "fail"}
    with pytest.raises(ImageError, match=r"\.png"):
        train(small(data=strict), folder=tmp_path / "strict")


def test_fail_is_the_default_and_such_a_run_goes_on_under_the_other_policy(
    images: Path, small: Make, tmp_path: Path
) -> None:
    numbers = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    strict = small(data={**settings(images), **numbers, "on_error": "fail"}, run={"checkpoint_steps": 1})
    with pytest.raises(ImageError, match=r"\.png"):
        train(strict, folder=tmp_path / "run")
    assert not (tmp_path / "run" / "quarantine.json").exists()
    config = small(data={**settings(images), **numbers}, run={"checkpoint_steps": 1})
    train(config, folder=tmp_path / "run", resume=True)
    train(config, folder=tmp_path / "whole")
    assert told(tmp_path / "run") == told(tmp_path / "whole")
    one, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("run", "whole"))
    assert one == other


def test_rotten_data_ends_the_run_and_leaves_the_report(images: Path, small: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bad samples of image folder.*received 2 of 40.*at most 1"):
        train(small(data=settings(images, max_bad=0.03)), folder=tmp_path / "run")
    assert told(tmp_path / "run")["train"] == ["a/03.png", "b/11.png"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"on_error": "ignore"}, r"data\.on_error: received 'ignore'; allowed: fail, quarantine"),
        ({"max_bad": -0.1}, r"data\.max_bad"),
        ({"prefetch_bytes": -1}, r"data\.prefetch_bytes"),
        ({"threads": 1, "processes": 1}, r"data\.processes"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], match: str, small: Make) -> None:
    with pytest.raises(ConfigError, match=match):
        small(data=change)


def test_two_ranks_make_one_report(images: Path, small: Make, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(config_text(small(data=settings(images))))
    for ranks in (1, 2):
        train_in_processes(tmp_path / "config.toml", tmp_path / str(ranks), ranks)
    one, two = tmp_path / "1", tmp_path / "2"
    assert (one / "quarantine.json").read_bytes() == (two / "quarantine.json").read_bytes()
    assert rows(one, "quarantine") == rows(two, "quarantine") != []
