"""Are multiply-adds counted as one would by hand, without a draw of the run's random numbers?"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mezzotint.train import RunConfig, train
from mezzotint.train.arithmetic import FILE, multiply_adds
from mezzotint.train.inputs import InputRecord

Make = Callable[..., RunConfig]


def record(size: int, channels: int) -> InputRecord:
    return InputRecord(
        classes=("a", "b", "c"),
        in_channels=channels,
        image_size=(size, size),
        mean=(0.5,) * channels,
        std=(0.2,) * channels,
        protocol="as-is",
        protocol_fingerprint="as-is",
        train_samples=9,
    )


def test_convolutions_count_by_places_and_linear_layers_by_weights(small: Make) -> None:
    config = small(model={"name": "resnet18"})
    state = torch.get_rng_state()
    found = multiply_adds(config, record(64, 3))
    assert torch.equal(state, torch.get_rng_state())
    assert found["conv1"] == 32 * 32 * 64 * 3 * 7 * 7
    assert found["layer1.0.conv1"] == 16 * 16 * 64 * 64 * 9
    assert found["layer2.0.downsample.0"] == 8 * 8 * 128 * 64
    assert found["fc"] == 512 * 3
    assert next(iter(found)) == "conv1"


def test_a_run_leaves_them_beside_its_record(small: Make, tmp_path: Path) -> None:
    config = small(schedule={"epochs": 1})
    train(config, folder=tmp_path / "run")
    told = json.loads((tmp_path / "run" / FILE).read_text())["multiply_adds"]
    layers = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (epoch,) = (row for row in layers if row["kind"] == "epoch")
    assert set(epoch["layers"]) <= set(told)
    assert all(value > 0 for value in told.values())


def test_what_cannot_be_counted_is_said_and_no_obstacle(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("no shapes")

    monkeypatch.setattr("mezzotint.train.arithmetic.multiply_adds", broken)
    with caplog.at_level(logging.INFO, "mezzotint.train.arithmetic"):
        train(small(schedule={"epochs": 1}), folder=tmp_path / "run")
    assert "not counted: no shapes" in caplog.text
    assert not (tmp_path / "run" / FILE).exists()


def test_a_run_under_way_tells_its_mistakes_so_far(small: Make, tmp_path: Path) -> None:
    class Watcher:
        def on_epoch_end(self, row: dict[str, float]) -> None:
            seen.append(row)

        def on_step(self, row: dict[str, float]) -> None:
            there.append((row["epoch"], (tmp_path / "run" / "mistakes.json").is_file()))

    seen: list[dict[str, float]] = []
    there: list[tuple[float, bool]] = []
    train(small(), folder=tmp_path / "run", callbacks=[Watcher()])
    assert set(there) == {(0, False), (1, True)}
    told = json.loads((tmp_path / "run" / "mistakes.json").read_text())
    assert sum(map(sum, told["confusion"])) == seen[-1]["test_images"]
    assert told["worst"]
