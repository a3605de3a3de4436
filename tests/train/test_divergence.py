"""Is a training that has run away told apart from one that is slow, and is it told wherever a run is shown?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.cli import main
from mezzotint.cli.train import _doubts
from mezzotint.data.source import open_source
from mezzotint.report import write_report
from mezzotint.train import telling
from mezzotint.train.config_file import parse_config
from mezzotint.train.divergence import as_a_guess, diverged
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


def exactly(right: int, images: int, largest: int) -> float:
    """In how many cases a guess is right at least so often: the tail of the binomial distribution."""
    chance = largest / images
    return sum(math.comb(images, k) * chance**k * (1 - chance) ** (images - k) for k in range(right, images + 1))


@given(st.data())
def test_a_guess_is_what_chance_gives_in_one_case_of_twenty(data: st.DataObject) -> None:
    images = data.draw(st.integers(2, 400))
    largest = data.draw(st.integers(1, images - 1))
    right = data.draw(st.integers(0, images))
    tail = exactly(right, images, largest)
    if tail > 0.08:
        assert as_a_guess(right, images, largest)
    if tail < 0.02:
        assert not as_a_guess(right, images, largest)


def test_what_cannot_be_guessed_wrongly_is_no_guess() -> None:
    assert not as_a_guess(5, 5, 5)
    assert not as_a_guess(0, 0, 0)
    assert not as_a_guess(3, 3, 1)
    assert as_a_guess(2, 3, 1), "so few images do not tell it from luck"


SMALL = 'name = "small"\nthreads = 1\n[data]\nsource = "digits"\nbatch_size = 200\n[model]\nname = "lenet_300_100"\n'


def last_line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    Path("c.toml").write_text(SMALL)
    assert main(["train", "c.toml", "-q", *words]) == 0
    return capsys.readouterr().out.splitlines()[-1]


def test_a_training_that_learnt_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    last = last_line(capsys, "--epochs", "1", "--lr", "1e-9", "--set", "run.samples=0")
    largest = int(np.bincount(np.asarray(open_source("digits", "test").labels)).max())
    share = f"{100 * largest / 360:.0f} %"
    told = f"no better than guessing (always naming the largest class gets {share} right): train longer"
    assert told in last
    assert "next: mezzotint report" in last
    summary = json.loads(Path("runs/small/summary.json").read_text())
    assert (summary["diverged"], summary["diverged_epochs"], summary["as_a_guess"]) == (False, [], True)
    assert summary["chance"] == pytest.approx(largest / 360)
    page = write_report("runs/small").read_text(encoding="utf-8")
    assert ">no better than guessing</span>" in page
    assert f"always naming the largest class gets {100 * largest / 360:.1f}" in page
    good = last_line(capsys, "--epochs", "3", "-o", "runs/good", "--set", "run.samples=0")
    assert "guessing" not in good
    assert "guessing" not in write_report("runs/good").read_text(encoding="utf-8")


def test_a_training_that_came_back_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    verdicts = iter([True, False, True, False])
    monkeypatch.setattr(telling, "diverged", lambda **_numbers: next(verdicts))
    last = last_line(capsys, "--epochs", "4", "--set", "run.samples=0")
    assert "the loss had run away in 2 epochs (last in 3) and came back" in last
    assert "next: mezzotint report" in last
    summary = json.loads(Path("runs/small/summary.json").read_text())
    assert (summary["diverged"], summary["diverged_epochs"]) == (False, [0, 2])
    page = write_report("runs/small").read_text(encoding="utf-8")
    assert "The loss ran away in 2 epochs (1, 3) and came back." in page
    assert 'class="state diverged"' not in page
    state = json.loads(next(Path("runs/small/checkpoints").glob("step-*/state.json")).read_text())
    assert state["counters"]["lost"] == [0, 2], "a resumed run remembers"


@pytest.mark.parametrize(("mode", "told"), [("bf16", True), ("fp16", False)])
def test_steps_that_were_left_out_are_told_where_none_should_be(mode: str, told: bool) -> None:
    summary: dict[str, Any] = {"as_a_guess": False, "chance": 0.1, "diverged_epochs": [], "skipped_steps": 3}
    config = parse_config(f'{SMALL}[precision]\nmode = "{mode}"\n')
    assert (_doubts(summary, config) == ["3 steps left out, as their gradients were not finite"]) is told


def test_few_images_are_not_called_a_failure() -> None:
    summary: dict[str, Any] = {"as_a_guess": True, "chance": 1 / 3, "diverged_epochs": [], "skipped_steps": 0}
    (lucky,) = _doubts({**summary, "test_accuracy": 2 / 3}, parse_config(SMALL))
    assert lucky.startswith("too few test images to tell it from guessing (always naming the largest class gets 33 %")
    assert lucky.endswith("test on more")
    (lost,) = _doubts({**summary, "test_accuracy": 1 / 3}, parse_config(SMALL))
    assert lost.startswith("no better than guessing (")
