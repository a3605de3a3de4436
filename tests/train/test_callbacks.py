"""Are callbacks told everything, in order, on resumption too, and can none of them harm the run?"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from mezzotint.errors import ConfigError
from mezzotint.train import Callback, RunConfig, RunView, train
from mezzotint.train.callbacks import Callbacks
from mezzotint.train.config import DataConfig, ModelConfig, RunOptions, ScheduleConfig
from mezzotint.train.config_sparsity import SparsityConfig

CONFIG = RunConfig(
    name="told",
    threads=1,
    data=DataConfig(source="digits", batch_size=200),
    model=ModelConfig(name="lenet_300_100"),
    sparsity=SparsityConfig(density=0.2, interval=4, window=2),
    schedule=ScheduleConfig(epochs=2),
    run=RunOptions(log_every=3, samples=0),
)


class Recorder:
    """Keeps what it is told; no subclass of anything."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __getattr__(self, moment: str) -> Any:
        if not moment.startswith("on_"):
            raise AttributeError(moment)
        return lambda argument: self.told.append((moment, argument))

    def rows(self, moment: str) -> list[Any]:
        return [row for told, row in self.told if told == moment]


class Stopper(Callback):
    """Asks the run to stop as Ctrl-C does, after its first epoch."""

    def on_epoch_end(self, row: Any) -> None:
        if row["epoch"] == 0:
            import signal

            signal.raise_signal(signal.SIGINT)


class Broken(Callback):
    """Fails wherever it can."""

    def on_run_begin(self, run: RunView) -> None:
        raise RuntimeError("no\nserver")

    def on_step(self, row: Any) -> None:
        raise KeyError("step")


def logged(folder: Path, kind: str) -> list[dict[str, Any]]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "kind"} for row in rows if row["kind"] == kind]


def test_rows_are_those_of_the_record(tmp_path: Path) -> None:
    recorder = Recorder()
    result = train(CONFIG, folder=tmp_path / "run", callbacks=[recorder])
    first, *_, last = recorder.told
    assert first == ("on_run_begin", RunView(folder=tmp_path / "run", config=CONFIG, step=0, total_steps=14))
    assert last == ("on_run_end", result.summary)
    steps = recorder.rows("on_step")
    assert [row["step"] for row in steps] == [1, 3, 6, 9, 12]
    assert all(row.pop("images_per_second") > 0 and row.pop("seconds") > 0 for row in steps)
    assert steps == logged(tmp_path / "run", "step")
    assert recorder.rows("on_epoch_end") == logged(tmp_path / "run", "epoch")
    assert recorder.rows("on_topology_update") == logged(tmp_path / "run", "topology")
    assert len(recorder.rows("on_topology_update")) >= 2


def test_layers_can_be_looked_at_while_a_run_goes_on(tmp_path: Path) -> None:
    class Signs(Callback):
        seen: ClassVar[list[Any]] = []

        def on_run_begin(self, run: RunView) -> None:
            self.run = run
            self.seen.append([view.pattern.digest() for view in run.layers()])

        def on_epoch_end(self, row: Any) -> None:
            views = self.run.layers()
            assert {view.name: view.pattern.nnz for view in views} == {
                name: layer["nnz"] for name, layer in row["layers"].items()
            }
            self.seen.append([view.pattern.digest() for view in views])
            for view in views:
                view.values.zero_()  # a copy: the run does not notice

    result = train(CONFIG, folder=tmp_path / "run", callbacks=[Signs()])
    plain = train(CONFIG, folder=tmp_path / "plain")
    assert len(Signs.seen) == 3
    assert Signs.seen[0] != Signs.seen[1]
    assert result.summary is not None
    assert plain.summary is not None
    assert result.summary["test_loss"] == plain.summary["test_loss"]
    assert logged(tmp_path / "run", "epoch") == logged(tmp_path / "plain", "epoch")


def test_a_stopped_run_ends_without_summary_and_goes_on_where_it_was(tmp_path: Path) -> None:
    before, after = Recorder(), Recorder()
    result = train(CONFIG, folder=tmp_path / "run", callbacks=[before, Stopper()])
    assert result.summary is None
    assert before.told[-1] == ("on_run_end", None)
    train(CONFIG, folder=tmp_path / "run", resume=True, callbacks=[after])
    assert after.rows("on_run_begin")[0].step == 7
    assert [row["epoch"] for row in after.rows("on_epoch_end")] == [1]


def test_what_fails_is_told_once_and_changes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    train(CONFIG, folder=tmp_path / "plain")
    capfd.readouterr()
    train(CONFIG, folder=tmp_path / "run", callbacks=[Broken(), recorder])
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "callback Broken failed in on_run_begin (RuntimeError: no server)" in told
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "plain" / "metrics.jsonl").read_bytes()
    assert recorder.told[-1][0] == "on_run_end"


def test_a_callback_is_left_out_after_three_failures_in_a_row() -> None:
    calls: list[int] = []

    class Flaky:
        def on_step(self, number: int) -> None:
            calls.append(number)
            if number != 2:
                raise ValueError(number)

    told: list[str] = []
    callbacks = Callbacks(members=[Flaky()], tell=told.append)
    for number in range(9):
        callbacks("on_step", number)
    assert calls == [0, 1, 2, 3, 4, 5], "a success in between counts anew"
    assert len(told) == 1


def test_named_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_log.py").write_text(
        "class Log:\n"
        "    def on_run_end(self, summary):\n"
        "        __import__('pathlib').Path('told.txt').write_text(str(summary['steps']))\n"
        "class Needy:\n"
        "    def __init__(self, key): pass\n"
    )
    options = replace(CONFIG.run, callbacks=("my_log:Log",))
    train(replace(CONFIG, run=options), folder="run")
    assert (tmp_path / "told.txt").read_text() == "14"
    for name, told in (
        ("my_log", '"package.module:Class"'),
        ("my_logg:Log", "cannot be imported"),
        ("my_log:Logg", "Did you mean 'Log'"),
        ("my_log:Needy", "without arguments"),
    ):
        with pytest.raises(ConfigError, match=told):
            train(replace(CONFIG, run=replace(CONFIG.run, callbacks=(name,))), folder="other")
    with pytest.raises(ConfigError, match="on_run_begin"):
        train(CONFIG, folder="other", callbacks=[object()])
    assert not (tmp_path / "other").exists()


def test_callbacks_may_differ_when_a_run_goes_on(tmp_path: Path) -> None:
    train(CONFIG, folder=tmp_path / "run", callbacks=[Stopper()])
    with_log = replace(CONFIG, run=replace(CONFIG.run, callbacks=("mezzotint.train:Callback",)))
    assert train(with_log, folder=tmp_path / "run", resume=True).summary is not None


def test_tensorboard_is_asked_for_before_anything_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.train.callbacks.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mezzotint\[tensorboard\]"):
        train(replace(CONFIG, run=replace(CONFIG.run, tensorboard=True)), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Writer:
    """Stands for PyTorch's SummaryWriter."""

    made: list[Writer] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, {}, False
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag, step] = value

    def add_text(self, tag: str, text: str, step: int) -> None:
        assert "density = 0.2" in text

    def flush(self) -> None:
        """Nothing."""

    def close(self) -> None:
        self.closed = True


def test_what_tensorboard_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.delitem(sys.modules, "mezzotint.train.tensorboard", raising=False)
    monkeypatch.setattr("mezzotint.train.callbacks.find_spec", lambda name: object())
    config = replace(CONFIG, run=replace(CONFIG.run, tensorboard=True))
    train(config, folder=tmp_path / "run", callbacks=[Stopper()])
    train(config, folder=tmp_path / "run", resume=True)
    sys.modules.pop("mezzotint.train.tensorboard")  # it holds the stand-in; the next one who asks gets the real one
    first, second = Writer.made
    assert (first.folder, first.purge_step) == (str(tmp_path / "run" / "tensorboard"), None)
    assert second.purge_step == 8, "what a killed run logged after its checkpoint is hidden"
    epochs = {row["step"]: row for row in logged(tmp_path / "run", "epoch")}
    written = first.scalars | second.scalars
    assert {step: value for (tag, step), value in written.items() if tag == "epoch/test_accuracy"} == {
        step: row["test_accuracy"] for step, row in epochs.items()
    }
    tags = {tag for tag, _ in written}
    assert {"step/loss", "step/lr", "step/images_per_second", "topology/grown", "layer density/fc1"} <= tags
    assert first.closed
    assert second.closed


def test_files_of_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    config = replace(CONFIG, run=replace(CONFIG.run, tensorboard=True))
    train(config, folder=tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = [event.value for event in events.Scalars("epoch/test_accuracy")]
    assert found == pytest.approx([row["test_accuracy"] for row in logged(tmp_path / "run", "epoch")])
