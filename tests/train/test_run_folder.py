"""Does a run folder hold what the report expects, for one process at a time, and does a run tell how it goes?"""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from mezzotint.errors import RunError
from mezzotint.train import RunConfig, config_text, parse_config, train
from mezzotint.train.progress import (
    Bars,
    EpochView,
    Lines,
    Start,
    StepView,
    TuningView,
    epoch_line,
    make_progress,
    step_state,
)
from mezzotint.train.run_folder import RunFolder
from mezzotint.train.signals import StopRequest

Make = Callable[..., RunConfig]


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_finished_run_holds_everything(small: Make, tmp_path: Path) -> None:
    config = small(sparsity={"density": 0.1})
    result = train(config, folder=tmp_path / "run")
    folder = tmp_path / "run"
    assert result.folder == folder
    assert parse_config((folder / "config.toml").read_text()) == config
    assert (folder / "config.toml").read_text() == config_text(config)

    metrics = rows(folder / "metrics.jsonl")
    steps = [row for row in metrics if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(1, 29))
    assert set(steps[0]) == {"kind", "step", "epoch", "loss", "accuracy", "lr", "loss_scale", "skipped", "density"}
    assert [(row["epoch"], row["step"]) for row in metrics if row["kind"] == "epoch"] == [(0, 14), (1, 28)]
    updates = [row for row in metrics if row["kind"] == "topology"]
    assert [row["step"] for row in updates] == [5, 10, 15, 20]
    for update in updates:
        layers = update["layers"]
        assert isinstance(layers, dict)
        assert sum(layer["before"] for layer in layers.values()) == sum(layer["after"] for layer in layers.values())
        assert all(layer["before"] - layer["pruned"] + layer["grown"] == layer["after"] for layer in layers.values())
    assert [row["kind"] for row in metrics].count("memory") == 1

    timing = rows(folder / "timing.jsonl")
    assert set(timing[0]) == {"step", "seconds", "phases", "images_per_second"}
    environment = json.loads((folder / "environment.json").read_text())
    assert {"mezzotint", "python", "torch", "cpu", "isa", "threads", "device", "date", "git"} <= set(environment)
    assert environment["threads"] == 1
    samples = json.loads((folder / "samples.json").read_text())
    assert len(samples) == 2
    for sample in samples:
        with Image.open(folder / sample["file"]) as image:
            assert image.size == (8, 8)
    mistakes = json.loads((folder / "mistakes.json").read_text())
    assert sum(map(sum, mistakes["confusion"])) == 360
    assert json.loads((folder / "decisions.json").read_text())
    assert result.summary == json.loads((folder / "summary.json").read_text())
    assert result.summary is not None
    assert result.summary["nnz"] == 5020
    assert result.summary["density"] == pytest.approx(0.1, abs=1e-4)
    assert result.summary["weight_bytes"] < 0.2 * result.summary["dense_weight_bytes"]


def test_training_learns(small: Make, tmp_path: Path) -> None:
    config = small(schedule={"epochs": 8}, optimizer={"lr": 0.1}, run={"log_every": 20})
    result = train(config, folder=tmp_path / "run")
    assert result.summary is not None
    assert result.summary["test_accuracy"] > 0.9


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path) -> None:
    with (
        RunFolder.create(tmp_path / "run", "", {}),
        pytest.raises(RunError, match="another process is training"),
    ):
        RunFolder.reopen(tmp_path / "run")
    RunFolder.reopen(tmp_path / "run").__exit__(None, None, None)


def test_logs_are_cut_back_and_go_on(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", "", {}) as folder:
        folder.metrics({"step": 1, "loss": math.nan, "more": [math.inf, 1.5]})
        offsets = folder.offsets()
        folder.metrics({"step": 2})
        folder.timing({"step": 2})
    with RunFolder.reopen(tmp_path / "run") as folder:
        folder.cut(offsets)
        folder.metrics({"step": 3})
    assert rows(tmp_path / "run" / "metrics.jsonl") == [{"step": 1, "loss": None, "more": [None, 1.5]}, {"step": 3}]
    assert rows(tmp_path / "run" / "timing.jsonl") == []


def test_a_lost_environment_file_does_not_stop_a_run(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", "", {"a": 1}) as folder:
        (tmp_path / "run" / "environment.json").write_text("{")
        folder.note_resumption(7, {"a": 2})
    saved = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert saved == {"a": 2, "resumed": [{"step": 7, "a": 2}]}


def test_the_first_signal_is_noted_and_the_second_interrupt_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


class Unread(Lines):
    """What it writes at the end of an epoch nobody reads."""

    def epoch(self, view: EpochView) -> None:
        raise BrokenPipeError


def test_a_run_that_nobody_hears_of_any_more_is_saved_and_stops(small: Make, tmp_path: Path) -> None:
    unread = Unread(Console(file=io.StringIO()))
    result = train(small(), folder=tmp_path / "run", progress=unread)
    assert (result.signal, result.step, result.summary) == (signal.SIGPIPE, 14, None)
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-00000014\n"
    result = train(small(), folder=tmp_path / "run", resume=True, progress=unread)
    assert (result.signal, result.step) == (None, 28), "there was nothing left to stop"


START = Start(name="r", describe="a network", done=3, total=10, epochs=2, batch_size=4)
STEP = StepView(step=4, epoch=0, loss=1.5, accuracy=0.25, density=0.1, loss_scale=1024.0)
EPOCH = EpochView(
    epoch=0, train_loss=1.25, train_accuracy=0.5, test_loss=1.0, test_accuracy=0.75, density=0.1, skipped=2, seconds=3.0
)


def test_lines_and_bars_tell_the_same_epochs() -> None:
    told = {}
    for terminal, kind in ((False, Lines), (True, Bars)):
        out = io.StringIO()
        progress = make_progress(Console(file=out, force_terminal=terminal, width=160))
        assert isinstance(progress, kind)
        progress.begin(START)
        progress.step(STEP)
        progress.step(STEP)
        progress.epoch(EPOCH)
        progress.end()
        told[terminal] = out.getvalue()
    line = "epoch 1/2 · loss 1.2500 · train 50.00 % · test 75.00 % · density 0.1 · skipped 2 · 3.0 s"
    heading, told_line = told[False].splitlines()
    assert heading == "r: a network, going on after step 3 of 10"
    assert re.fullmatch(re.escape(line) + r" · \d+ s left", told_line)
    assert line in told[True]
    assert "epoch 1/2" in told[True]
    assert "4/10" in told[True]
    assert "scale 1024" in told[True]


def test_tuning_shows_until_the_step_is_done() -> None:
    out = io.StringIO()
    progress = make_progress(Console(file=out, force_terminal=True, width=160))
    progress.begin(START)
    for tuned in range(3):
        progress.tuning(TuningView(problem=f"sparse_conv2d x[{tuned}]", tuned=tuned))
    progress.step(STEP)
    progress.end()
    assert "tuning kernels" in out.getvalue()
    assert "0/?" in out.getvalue()
    assert "tuning kernels" not in out.getvalue().splitlines()[-1]
    assert "0 img/s" in out.getvalue(), "a step that times kernels does not count as speed"


def test_the_state_of_a_step() -> None:
    assert step_state(STEP, 99.6) == "loss 1.500 · acc 25.0 % · 100 img/s · density 0.1 · scale 1024"
    assert "skipped" in epoch_line(EPOCH, 2)
