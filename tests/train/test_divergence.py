"""Is a training that has run away told apart from one that is slow, and is it told wherever a run is shown?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mezzotint.cli import main
from mezzotint.report import write_report
from mezzotint.train.divergence import diverged
from mezzotint.train.progress import EpochView, epoch_line, loss_text

USUAL: dict[str, Any] = {"train_loss": 2.0, "test_loss": 3.0, "classes": 10, "taken": 10, "steps": 10}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, False),
        ({"train_loss": 9 * math.log(10), "test_loss": 90.0}, False),  # a bad first epoch
        ({"train_loss": 3.8e20}, True),
        ({"test_loss": 1.9e27}, True),
        ({"test_loss": math.nan}, True),
        ({"test_loss": math.inf}, True),
        ({"train_loss": math.nan, "taken": 0}, True),
        ({"taken": 4}, True),
        ({"train_loss": math.nan, "taken": 0, "loss_scale": 2.0**12}, False),  # the scale is still being searched
    ],
)
def test_a_loss_far_beyond_that_of_a_guess_is_no_slow_start(change: dict[str, Any], told: bool) -> None:
    assert diverged(**USUAL | change) is told


def test_a_lost_training_does_not_end_like_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hot = ["optimizer.lr=1000", "schedule.warmup_epochs=0", "schedule.epochs=2", "run.samples=0", "threads=1"]
    Path("c.toml").write_text(
        'name = "hot"\n[data]\nsource = "digits"\nbatch_size = 200\n[model]\nname = "lenet_300_100"\n'
    )
    assert main(["train", "c.toml", "--set", *hot]) == 0
    out = capsys.readouterr().out
    first, last = out.splitlines()[1], out.splitlines()[-1]
    assert "· diverged" in first
    assert last.startswith("diverged: the loss has run away · test accuracy ")
    assert "--set optimizer.lr=0.16" in last
    assert "next:" not in last
    assert json.loads(Path("runs/hot/summary.json").read_text())["diverged"] is True
    assert main(["train", "c.toml", "-q", "--resume", "--set", *hot]) == 0
    assert capsys.readouterr().out.startswith("diverged"), "also where nothing was left to train"
    page = write_report("runs/hot").read_text(encoding="utf-8")
    assert 'class="state diverged"' in page
    assert "The training diverged" in page


def test_huge_losses_are_written_short() -> None:
    assert [loss_text(value) for value in (0.5, 1234.5, 379575318200318492672.0, math.inf, math.nan)] == [
        "0.5000",
        "1234.5000",
        "3.8e+20",
        "inf",
        "nan",
    ]
    view = EpochView(
        epoch=0,
        train_loss=3.8e20,
        train_accuracy=0.1,
        test_loss=1e27,
        test_accuracy=0.1,
        density=0.1,
        skipped=2,
        seconds=1.0,
        diverged=True,
    )
    assert epoch_line(view, 2) == (
        "epoch 1/2 · loss 3.8e+20 · train 10.00 % · test 10.00 % · density 0.1 · diverged · skipped 2 · 1.0 s"
    )
