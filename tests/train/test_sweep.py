"""Does a sweep train each combination once, go on where it was stopped, share its work, and refuse what is wrong?"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.durable import replace_json
from mezzotint.errors import ConfigError, RunError
from mezzotint.train import RunConfig, config_text, train
from mezzotint.train.config_file import parse_config
from mezzotint.train.progress import Progress, Silent, StepView
from mezzotint.train.run_folder import RunFolder
from mezzotint.train.sweep import Cell, Outcome, cell_config, plan, sweep
from mezzotint.train.sweep_axes import parse_axes

Make = Callable[..., RunConfig]


class At(Silent):
    """Does something after a given step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.when, self.action = step, action

    def step(self, view: StepView) -> None:
        """Act when it is time."""
        if view.step == self.when:
            self.action()


def silent(_cell: Cell, _number: int) -> Progress:
    return Silent()


def test_dense_is_planned_once_a_seed_and_seeds_come_one_after_the_other() -> None:
    names = [cell.name for cell in plan(["set", "rigl"], [1, 0.1], [3, 4])]
    assert names == [
        *("dense-seed3", "set-0.1-seed3", "rigl-0.1-seed3"),
        *("dense-seed4", "set-0.1-seed4", "rigl-0.1-seed4"),
    ]


def test_densities_that_differ_in_late_digits_are_runs_of_their_own() -> None:
    names = [cell.name for cell in plan(["set"], [0.12345678, 0.12345699, 0.00001, 0.05], [0])]
    assert names == ["set-0.12345678-seed0", "set-0.12345699-seed0", "set-1e-05-seed0", "set-0.05-seed0"]


@pytest.mark.parametrize(
    ("methods", "densities", "told"),
    [
        (["rigel"], [0.1], r"method: received 'rigel'.*Did you mean 'rigl'"),
        (["rigl"], [0.0], r"density: received 0\.0; allowed: above 0, up to 1"),
        (["rigl"], [float("nan")], "density: received nan"),
        ([], [0.1], "at least one method"),
    ],
)
def test_wrong_plans_are_told(methods: list[str], densities: list[float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan(methods, densities, [0])


def test_each_method_has_its_own_settings(small: Make) -> None:
    own = {"prune_rate": 0.5, "window": 7, "stagger": False, "options": {"growth": "gradient"}}
    rigl = {"interval": 4, "prune_rate": 0.2, "options": {"end": 0.5}}
    config = small(sparsity={"method": "sparse_momentum", **own, "methods": {"rigl": rigl}})
    of = {
        cell.method: cell_config(config, cell).sparsity for cell in plan(["sparse_momentum", "rigl", "set"], [0.3], [0])
    }
    assert {key: getattr(of["sparse_momentum"], key) for key in own} == own
    assert (of["rigl"].interval, of["rigl"].given) == (4, {"prune_rate": 0.2, "end": 0.5})
    assert of["set"].given == {}
    assert of["set"].interval == config.sparsity.interval
    assert not any(each.methods for each in of.values())
    assert parse_config(config_text(config)) == config


def test_where_a_method_starts_is_its_own(small: Make) -> None:
    granet = {"start_density": 0.6}
    config = small(sparsity={"method": "gmp", "start_density": 0.5, "density": 1.0, "methods": {"granet": granet}})
    of = {
        cell.method: cell_config(config, cell).sparsity
        for cell in plan(["gmp", "granet", "falling_momentum", "rigl"], [1, 0.1], [0])
    }
    starts = {name: sparsity.start_density for name, sparsity in of.items()}
    assert starts == {"dense": None, "gmp": 0.5, "granet": 0.6, "falling_momentum": None, "rigl": None}
    assert of["rigl"].first_density == of["rigl"].density == 0.1


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({"rigl": {"start_density": 0.5}}, "sparsity.methods.rigl: sparsity.start_density: received 0.5"),
        ({"rigel": {}}, "sparsity.methods: received 'rigel'.*Did you mean 'rigl'"),
        ({"rigl": 3}, "sparsity.methods.rigl: received 3; allowed: a table"),
        ({"rigl": {"prune_rat": 0.3}}, "sparsity.methods.rigl: received '?prune_rat'?;.*Did you mean 'prune_rate'"),
        ({"rigl": {"prune_rate": 3.0}}, r"sparsity.methods.rigl: sparsity.prune_rate: received 3\.0"),
        ({"set": {"options": {"growth": "random"}}}, "sparsity.methods.set: sparsity.options .*received '?growth"),
    ],
)
def test_wrong_settings_of_a_method_are_told(small: Make, methods: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        small(sparsity={"methods": methods})


def test_a_run_of_a_sweep_is_that_of_its_configuration(small: Make, tmp_path: Path) -> None:
    cells = plan(["rigl"], [1, 0.3], [5])
    outcome = sweep(small(), cells, tmp_path / "sweep", progress=silent)
    assert outcome.done == cells
    assert (outcome.elsewhere, outcome.failed, outcome.signal) == ([], {}, None)
    plan_file = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [record["run"] for record in plan_file["runs"]] == ["runs/dense-seed5", "runs/rigl-0.3-seed5"]
    published = dict.fromkeys(("prune_rate", "decay", "window", "stagger"))
    alone = small(name="rigl-0.3-seed5", seed=5, sparsity={"density": 0.3, "method": "rigl", **published})
    assert cell_config(small(), cells[1]) == alone
    train(alone, folder=tmp_path / "alone")
    one, other = (
        (folder / "metrics.jsonl").read_bytes()
        for folder in (tmp_path / "alone", tmp_path / "sweep/runs/rigl-0.3-seed5")
    )
    assert one == other


def test_it_goes_on_after_a_stop_and_trains_nothing_twice(small: Make, tmp_path: Path) -> None:
    cells = plan(["static", "set"], [0.2], [0])
    began: list[str] = []

    def stopping(cell: Cell, _number: int) -> Progress:
        began.append(cell.name)
        return At(3, lambda: os.kill(os.getpid(), signal.SIGTERM)) if cell.method == "set" else Silent()

    outcome = sweep(small(), cells, tmp_path / "sweep", progress=stopping)
    assert (outcome.signal, [cell.method for cell in outcome.done]) == (signal.SIGTERM, ["static"])

    def watching(cell: Cell, _number: int) -> Progress:
        began.append(cell.name)
        return Silent()

    more = [*cells, *plan(["rigl"], [0.2], [0])]
    assert sweep(small(), more, tmp_path / "sweep", progress=watching).done == more
    assert began == ["static-0.2-seed0", "set-0.2-seed0", "set-0.2-seed0", "rigl-0.2-seed0"]
    assert len(json.loads((tmp_path / "sweep" / "sweep.json").read_text())["runs"]) == 3


def test_a_run_that_another_process_trains_is_passed_over(small: Make, tmp_path: Path) -> None:
    cells = plan(["static", "set"], [0.2], [0])
    busy = tmp_path / "sweep" / "runs" / cells[0].name
    sweep(small(), cells[1:], tmp_path / "sweep", progress=silent)
    with RunFolder.create(busy, config_text(cell_config(small(), cells[0])), {}):
        outcome = sweep(small(), cells, tmp_path / "sweep", progress=silent)
    assert (outcome.elsewhere, outcome.done) == (cells[:1], cells[1:])
    # The other process was killed before its first checkpoint: what it left is no obstacle.
    assert sweep(small(), cells, tmp_path / "sweep", progress=silent).done == cells


def test_two_sweeps_that_begin_together_share_the_runs(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = plan(["static", "set"], [0.2], [0])
    place = tmp_path / "sweep"

    def as_the_other_sees_it(path: Path, value: object) -> None:
        if path.name == "sweep.json":  # it is taken for a folder of something else where more lies there
            assert not [item.name for item in place.iterdir() if not item.name.startswith(".")]
        replace_json(path, value)

    monkeypatch.setattr("mezzotint.train.sweep.replace_json", as_the_other_sees_it)
    place.mkdir()
    (place / ".lock").touch()  # the other is there first, and has not yet written its plan
    others: list[Outcome] = []

    def beside_another(_cell: Cell, number: int) -> Progress:
        if number == 0:  # the run has no folder yet
            monkeypatch.undo()
            others.append(sweep(small(), cells, place, progress=silent))
        return Silent()

    outcome = sweep(small(), cells, place, progress=beside_another)
    assert (outcome.done, outcome.elsewhere, outcome.failed) == (cells, [], {})
    assert [(other.done, other.elsewhere, other.failed) for other in others] == [(cells[1:], cells[:1], {})]


def test_a_run_that_diverges_is_told_and_stops_no_other(small: Make, tmp_path: Path) -> None:
    cells = plan(["static", "set"], [0.2], [0])
    wild = small(optimizer={"lr": 1e30}, precision={"mode": "bf16"}, schedule={"epochs": 30})
    outcome = sweep(wild, cells, tmp_path / "sweep", progress=silent)
    assert outcome.done == []
    assert list(outcome.failed) == cells
    assert "the loss is nan" in outcome.failed[cells[0]]
    # What the page tells of it; a run that gets through next time loses it.
    left = tmp_path / "sweep" / "runs" / f"{cells[0].name}.error.txt"
    assert left.read_text(encoding="utf-8") == f"{outcome.failed[cells[0]]}\n"
    fresh = sweep(small(), cells[:1], tmp_path / "other", progress=silent)
    assert (fresh.failed, list((tmp_path / "other" / "runs").glob("*.error.txt"))) == ({}, [])
    left = tmp_path / "other" / "runs" / f"{cells[1].name}.error.txt"
    left.write_text("as an earlier attempt left it", encoding="utf-8")
    sweep(small(), cells, tmp_path / "other", progress=silent)
    assert not left.exists()


def test_folders_of_something_else_are_left_alone(small: Make, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    cells = plan(["static"], [0.2], [0])
    with pytest.raises(RunError, match="which holds something else"):
        sweep(small(), cells, tmp_path, progress=silent)
    sweep(small(), cells, tmp_path / "sweep", progress=silent)
    with pytest.raises(
        RunError, match=r"configuration of .*static-0\.2-seed0: received changes \(optimizer\.lr: 0\.05 -> 0\.1\)"
    ):
        sweep(small(optimizer={"lr": 0.1}), cells, tmp_path / "sweep", progress=silent)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["notes.txt", "sweep"]


@pytest.mark.parametrize(
    "content", ["", '{"runs": [', "3", "[]", '{"format": 1}', '{"runs": 3}', '{"runs": [{}]}', "\0"]
)
def test_a_damaged_plan_is_told_with_the_way_out(small: Make, tmp_path: Path, content: str) -> None:
    cells = plan(["static"], [0.2], [0])
    sweep(small(), cells, tmp_path, progress=silent)
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(
        RunError, match=r"sweep\.json: received a damaged file .*Put it back, or write \{\"runs\": \[\]\}"
    ):
        sweep(small(), cells, tmp_path, progress=silent)
    (tmp_path / "sweep.json").write_text('{"runs": []}')
    assert sweep(small(), cells, tmp_path, progress=silent).done == cells
    assert [record["run"] for record in json.loads((tmp_path / "sweep.json").read_text())["runs"]] == [
        f"runs/{cells[0].name}"
    ]


def test_axes_are_read_as_settings_are() -> None:
    words = ["optimizer.lr = 0.1, 0.10,0.05", "schedule.name=cosine,constant", 'data.augment=[{ name = "a,b" }],[]']
    assert parse_axes([*words, "sparsity.interval=epoch,20"]) == {
        "optimizer.lr": ("0.1", "0.05"),
        "schedule.name": ('"cosine"', '"constant"'),
        "data.augment": ('[{"name": "a,b"}]', "[]"),
        "sparsity.interval": ('"epoch"', "20"),
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["optimizer.lr"], r"--over: received optimizer\.lr; allowed: section\.key=value,value"),
        (["=1"], "--over: received =1; allowed: section"),
        (["optimizer.lr=0.1,"], "--over optimizer.lr=: received nothing; allowed: a TOML value"),
        (["optimizer.lr=[1"], "a TOML value"),
        (["optimizer.lr=1", "optimizer.lr=2"], r"optimizer\.lr twice"),
        (["sparsity.density=0.1"], "--density 0.1 0.05"),
        (["sparsity.method=rigl"], "--method rigl set"),
        (["seed=1,2"], "--seeds 5"),
        (["name=a"], "names its runs"),
        (["sparsity.methods.rigl.interval=3"], r"Vary sparsity\.KEY itself"),
    ],
)
def test_wrong_axes_are_told(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_axes(words)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("optimizer.lrr=1", r"--over optimizer\.lrr=1: unknown key 'lrr'.*Did you mean 'lr'"),
        ("lr=1", "Did you mean 'optimizer.lr'"),
        ("optimizer.lr=fast", "optimizer.lr: received the text 'fast'; allowed: a number"),
        ("optimizer.lr.x=1", "'lr', which is a key and no section"),
        ("sparsity.options.growth=gradient", "sparsity.options of method 'rigl': received growth"),
    ],
)
def test_wrong_values_of_an_axis_are_told_before_anything_is_made(
    small: Make, tmp_path: Path, word: str, told: str
) -> None:
    cells = plan(["rigl"], [0.2], [0], parse_axes([word]))
    with pytest.raises(ConfigError, match=told):
        sweep(small(), cells, tmp_path / "sweep", progress=silent)
    assert not (tmp_path / "sweep").exists()


def test_every_combination_is_a_run_and_dense_ones_know_nothing_of_sparsity() -> None:
    axes = parse_axes(["optimizer.lr=0.1,0.05", "sparsity.prune_rate=0.2,0.4"])
    cells = plan(["set"], [1, 0.1], [3], axes)
    assert [cell.name for cell in cells] == [
        "dense-optimizer.lr=0.1-seed3",
        "set-0.1-optimizer.lr=0.1-sparsity.prune_rate=0.2-seed3",
        "set-0.1-optimizer.lr=0.1-sparsity.prune_rate=0.4-seed3",
        "dense-optimizer.lr=0.05-seed3",
        "set-0.1-optimizer.lr=0.05-sparsity.prune_rate=0.2-seed3",
        "set-0.1-optimizer.lr=0.05-sparsity.prune_rate=0.4-seed3",
    ]
    assert cells[1].record()["over"] == {"optimizer.lr": 0.1, "sparsity.prune_rate": 0.2}
    assert "over" not in plan(["set"], [0.1], [0])[0].record()


VALUES = st.lists(
    st.one_of(st.floats(allow_nan=False), st.integers(), st.text(min_size=1), st.lists(st.text(), max_size=2)),
    min_size=2,
    max_size=6,
    unique_by=json.dumps,
)


@given(VALUES)
def test_runs_have_names_of_their_own_that_a_file_can_have(values: list[object]) -> None:
    cells = plan(["set"], [0.1], [0], {"optimizer.lr": [json.dumps(value) for value in values]})
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(values)
    assert all("/" not in name and "\0" not in name and len(name.encode()) < 250 for name in names)


def test_a_value_of_an_axis_stands_above_what_a_method_has(small: Make, tmp_path: Path) -> None:
    config = small(sparsity={"methods": {"rigl": {"prune_rate": 0.3}}, "prune_rate": 0.5})
    cells = plan(["rigl", "set"], [0.3], [0], parse_axes(["sparsity.prune_rate=0.1", "optimizer.lr=0.02,0.05"]))
    for cell in cells:
        found = cell_config(config, cell)
        assert found.sparsity.prune_rate == 0.1
        assert json.dumps(found.optimizer.lr) == dict(cell.over)["optimizer.lr"]
        assert found.name == cell.name
    assert sweep(config, cells[:1], tmp_path / "sweep", progress=silent).done == cells[:1]
    began: list[str] = []

    def watching(cell: Cell, _number: int) -> Progress:
        began.append(cell.name)
        return Silent()

    assert sweep(config, cells, tmp_path / "sweep", progress=watching).done == cells
    assert began == [cell.name for cell in cells[1:]], "what was trained is not trained again"
