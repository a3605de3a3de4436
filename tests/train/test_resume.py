"""Does a run that was cut off and resumed end with the bits of one that was never interrupted?"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from train_comparison import assert_same_run, last

from mezzotint.errors import CheckpointError, DataError, RunError
from mezzotint.train import RunConfig, checkpoint, train
from mezzotint.train.progress import Silent, Start, StepView

Make = Callable[..., RunConfig]


class Crash(Exception):
    """Stands for a power cut: nothing is saved, nothing is cleaned up."""


class At(Silent):
    """Does something after a given step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.when, self.action = step, action

    def step(self, view: StepView) -> None:
        """Act when it is time."""
        if view.step == self.when:
            self.action()


def crash() -> None:
    raise Crash


VARIANTS = {
    "mixed images": {"data": {"mix": [{"name": "mixup", "p": 0.5}, {"name": "cutmix"}]}},
    "sgd": {},
    "dense": {"sparsity": {"density": 1.0}},
    "fp16 with overflows": {
        "precision": {"mode": "fp16", "init_scale": 2.0**24, "growth_interval": 3},
        "model": {"name": "digits_cnn"},
    },
    "bf16 adamw clipped": {
        "precision": {"mode": "bf16"},
        "optimizer": {"name": "adamw", "lr": 0.002, "clip_norm": 1.0, "label_smoothing": 0.1},
    },
    "whole interval, two loader threads": {"sparsity": {"interval": 4, "window": 4}, "data": {"threads": 2}},
    "two threads": {"threads": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_crash_in_mid_epoch_leaves_no_trace(variant: str, small: Make, tmp_path: Path) -> None:
    config = small(run={"checkpoint_steps": 4}, **VARIANTS[variant])
    train(config, folder=tmp_path / "whole")
    with pytest.raises(Crash):
        train(config, folder=tmp_path / "cut", progress=At(10, crash))
    assert last(tmp_path / "cut").state["counters"]["step"] == 8
    with pytest.raises(Crash):
        train(config, folder=tmp_path / "cut", resume=True, progress=At(19, crash))
    result = train(config, folder=tmp_path / "cut", resume=True)
    assert result.step == 28
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_measured_kernels_are_those_of_the_run_that_was_cut_off(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    config = small(run={"checkpoint_steps": 4, "kernels": "measure"}, model={"name": "digits_cnn"})
    with pytest.raises(Crash):
        train(config, folder=tmp_path / "cut", progress=At(10, crash))
    train(config, folder=tmp_path / "cut", resume=True)
    train(config, folder=tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    sources = {item["source"] for item in json.loads((tmp_path / "whole" / "decisions.json").read_text())}
    assert "restored" in sources
    assert "measured" not in sources


def test_the_window_was_open_and_steps_were_skipped_where_it_was_cut(small: Make, tmp_path: Path) -> None:
    config = small(run={"checkpoint_steps": 4}, **VARIANTS["fp16 with overflows"])
    with pytest.raises(Crash):
        train(config, folder=tmp_path / "cut", progress=At(10, crash))
    saved = last(tmp_path / "cut")
    assert 0 < saved.state["counters"]["updates"] < 8
    assert saved.tensors["topology"]  # dense moments of an open window
    assert saved.state["precision"]["value"] < 2.0**24
    assert 0 < saved.state["loader"]["position"] < 14


@pytest.mark.parametrize("step", [1, 13, 14, 15, 27, 28])
def test_any_step_can_be_the_last_before_the_stop(step: int, small: Make, tmp_path: Path) -> None:
    config = small()
    train(config, folder=tmp_path / "whole")
    stop = At(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train(config, folder=tmp_path / "cut", progress=stop)
    assert (stopped.signal, stopped.step) == ((signal.SIGTERM, step) if step < 28 else (signal.SIGTERM, 28))
    assert stopped.summary is None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(config, folder=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_stop_before_the_first_step_takes_none(small: Make, tmp_path: Path) -> None:
    class Begun(Silent):
        def begin(self, start: Start) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    train(small(), folder=tmp_path / "whole")
    stopped = train(small(), folder=tmp_path / "cut", progress=Begun())
    assert (stopped.signal, stopped.step) == (signal.SIGTERM, 0)
    train(small(), folder=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_resuming_a_finished_run_changes_nothing_and_tells_the_result_again(small: Make, tmp_path: Path) -> None:
    config = small()
    first = train(config, folder=tmp_path / "run")
    kept = ("metrics.jsonl", "decisions.json", "mistakes.json")
    before = [(tmp_path / "run" / name).read_bytes() for name in kept]
    again = train(config, folder=tmp_path / "run", resume=True)
    assert [(tmp_path / "run" / name).read_bytes() for name in kept] == before
    assert again.summary is not None
    assert first.summary is not None
    assert {**again.summary, "seconds": 0} == {**first.summary, "seconds": 0}


def test_an_earlier_checkpoint_can_be_taken_up(small: Make, tmp_path: Path) -> None:
    config = small(run={"checkpoint_steps": 4, "keep": 9})
    train(config, folder=tmp_path / "whole")
    train(config, folder=tmp_path / "run")
    train(config, folder=tmp_path / "run", from_checkpoint="step-00000012")
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(CheckpointError, match="step-00000012"):
        train(config, folder=tmp_path / "run", from_checkpoint="step-00000013")


def test_a_damaged_newest_checkpoint_names_the_one_before(small: Make, tmp_path: Path) -> None:
    config = small(run={"checkpoint_steps": 10})
    with pytest.raises(Crash):
        train(config, folder=tmp_path / "run", progress=At(13, crash))
    newest = tmp_path / "run" / "checkpoints" / "step-00000010"
    content = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(content[:-7])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*truncated.*--from step-00000000"):
        train(config, folder=tmp_path / "run", resume=True)
    train(config, folder=tmp_path / "whole")
    train(config, folder=tmp_path / "run", from_checkpoint="step-00000000")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_is_never_overwritten(small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(RunError, match="--resume"):
        train(small(), folder=tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(RunError, match="not empty"):
        train(small(), folder=tmp_path / "other")
    with pytest.raises(RunError, match="which is a file"):
        train(small(), folder=tmp_path / "other" / "file")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_changed_configuration_is_refused_with_the_differences(small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "run")
    with pytest.raises(RunError, match=r"optimizer\.lr: 0\.05 -> 0\.1; schedule\.epochs: 2 -> 3"):
        train(small(optimizer={"lr": 0.1}, schedule={"epochs": 3}), folder=tmp_path / "run", resume=True)
    train(small(run={"keep": 5}, data={"threads": 1}), folder=tmp_path / "run", resume=True)


def test_nothing_to_resume(small: Make, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        train(small(), folder=tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_other_data_than_the_checkpoints_is_refused(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small(), folder=tmp_path / "run")
    state = last(tmp_path / "run")
    altered = {**state.state, "data": {**state.state["data"], "classes": ["a", "b"]}}
    root = tmp_path / "run" / "checkpoints"
    checkpoint.save(root, 28, altered, state.tensors, keep=2)
    with pytest.raises(CheckpointError, match="other data than the checkpoint's"):
        train(small(), folder=tmp_path / "run", resume=True)


def test_metrics_that_were_cut_by_somebody_else_are_refused(small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "run")
    os.truncate(tmp_path / "run" / "metrics.jsonl", 10)
    with pytest.raises(RunError, match=r"metrics\.jsonl.*10 bytes"):
        train(small(), folder=tmp_path / "run", resume=True)


def test_bad_data_leaves_no_folder_behind(small: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(small(data={"source": "auto", "path": str(tmp_path / "none")}), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_is_noted_in_the_environment(small: Make, tmp_path: Path) -> None:
    config = small()
    train(config, folder=tmp_path / "run", progress=At(5, lambda: os.kill(os.getpid(), signal.SIGINT)))
    train(config, folder=tmp_path / "run", resume=True)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert [entry["step"] for entry in environment["resumed"]] == [5]


def test_two_runs_of_one_configuration_are_equal_and_leave_the_caller_alone(small: Make, tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(small(), folder=tmp_path / "one")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(3)
    train(small(), folder=tmp_path / "two")
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_the_saved_masks_are_those_of_the_network(small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "run")
    tensors = last(tmp_path / "run").tensors["model"]
    layers = [name.removesuffix(".indices") for name in tensors if name.endswith(".indices")]
    assert sorted(layers) == ["fc1", "fc2", "fc3"]
    assert all(len(tensors[f"{name}.indices"]) == len(tensors[f"{name}.values"]) for name in layers)
