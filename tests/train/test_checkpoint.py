"""Is a checkpoint whole or not there, is every damage found, and does the state come back as it was?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mezzotint.errors import CheckpointError, RunError
from mezzotint.train import checkpoint
from mezzotint.train.tensors import join, load_optimizer_state, optimizer_state, split

TENSORS: dict[str, dict[str, Tensor]] = {
    "model": {"a": torch.arange(6.0), "indices": torch.arange(3, dtype=torch.int32)},
    "optimizer": {"a/momentum_buffer": torch.ones(6)},
    "topology": {},
}


def save(root: Path, step: int, keep: int = 2, **state: Any) -> Path:
    return checkpoint.save(root, step, {"step": step, **state}, TENSORS, keep)


def test_a_checkpoint_comes_back_and_the_newest_ones_stay(tmp_path: Path) -> None:
    for step in (0, 9, 10, 99999999, 100000000):
        save(tmp_path, step, keep=3)
    assert checkpoint.names(tmp_path) == ["step-00000010", "step-99999999", "step-100000000"]
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([*checkpoint.names(tmp_path), "latest"])
    loaded = checkpoint.load(checkpoint.find(tmp_path))
    assert loaded.state == {"step": 100000000}
    assert torch.equal(loaded.tensors["model"]["a"], TENSORS["model"]["a"])
    assert loaded.tensors["model"]["indices"].dtype == torch.int32


def test_saving_the_same_step_again_replaces_it_and_leaves_later_ones(tmp_path: Path) -> None:
    for step in (4, 8, 12):
        save(tmp_path, step, keep=9)
    save(tmp_path, 8, keep=1, again=True)
    assert checkpoint.names(tmp_path) == ["step-00000008", "step-00000012"]
    assert checkpoint.load(checkpoint.find(tmp_path)).state == {"step": 8, "again": True}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "topology.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_every_damage_is_found_and_named(name: str, damage: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2)
    file = folder / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        # A digit inside the JSON text: it stays valid JSON, and only the checksum can tell.
        place = content.index(b'"step": 2') + 8 if name == "state.json" else len(content) - 1
        content[place] ^= 1
        file.write_bytes({"truncated": content[:-3], "flipped": content, "empty": b""}[damage])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    assert str(file) in str(caught.value)
    assert "--from step-00000001" in str(caught.value)
    assert checkpoint.whole(tmp_path) == ["step-00000001"]


def test_where_no_other_is_whole_the_message_says_so(tmp_path: Path) -> None:
    folder = save(tmp_path, 2)
    (folder / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="No other checkpoint of the run is whole"):
        checkpoint.load(folder)


def test_another_format_is_told_as_such(tmp_path: Path) -> None:
    folder = save(tmp_path, 2)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoint.load(folder)


@pytest.mark.parametrize("victim", ["write_durably", "_rename", "replace_file"])
def test_a_failure_while_saving_leaves_the_old_checkpoint(
    victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, victim, refuse)
    with pytest.raises(RunError, match=r"No space left on device.*Make room"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert checkpoint.load(checkpoint.find(tmp_path)).state == {"step": 1}
    assert not [item for item in tmp_path.iterdir() if item.name.endswith(".part")]


def test_a_half_written_folder_of_a_killed_process_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 1)
    part = tmp_path / ".step-00000002.12345.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    assert checkpoint.names(tmp_path) == ["step-00000001"]
    save(tmp_path, 2)
    assert checkpoint.names(tmp_path) == ["step-00000001", "step-00000002"]
    assert not part.exists()


def test_locate_takes_a_run_its_checkpoints_or_one_of_them(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoints", 7)
    assert checkpoint.locate(tmp_path) == checkpoint.locate(tmp_path / "checkpoints") == checkpoint.locate(folder)
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.locate(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="received a folder without checkpoints"):
        checkpoint.locate(tmp_path / "empty")
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"received a file; .*Name the run"):
        checkpoint.locate(tmp_path / "net.safetensors")
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "checkpoints").rename(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match=r"received a folder of runs; .*Name one of them: other, run\."):
        checkpoint.locate(tmp_path)


leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
leaves |= st.integers(0, 3).map(lambda size: torch.arange(size, dtype=torch.float32))
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


@given(st.dictionaries(st.text("abc", min_size=1), trees, max_size=4))
def test_split_and_join_are_inverse(state: dict[str, Any]) -> None:
    tree, tensors = split(state)
    assert same(join(json.loads(json.dumps(tree)), tensors), state)


def test_split_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="a/0"):
        split({"a": [object()]})
    with pytest.raises(TypeError, match="1"):
        split({1: 2})


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_optimiser_state_is_named_and_comes_back(kind: str) -> None:
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    options: dict[str, Any] = {"lr": 0.1, **({"momentum": 0.9} if kind == "sgd" else {})}

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        groups = [{"params": [model[1].weight, model[0].weight]}, {"params": [model[0].bias, model[1].bias]}]
        return model, kinds[kind](groups, **options)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(5, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = build()
    step(model, optimizer)
    state, tensors = split(optimizer_state(optimizer, model))
    assert set(state) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    other, fresh = build()
    other.load_state_dict(model.state_dict())
    load_optimizer_state(fresh, other, join(state, tensors))
    step(model, optimizer)
    step(other, fresh)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_optimiser_state_that_does_not_fit_is_refused() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(CheckpointError, match=r"'momentum_buffer' of weight.*\(5,\)"):
        load_optimizer_state(optimizer, model, {"weight": {"momentum_buffer": torch.zeros(5)}})
    with pytest.raises(CheckpointError, match="of other"):
        load_optimizer_state(optimizer, model, {"other": {}})


def test_shared_and_strided_tensors_are_stored_once_each(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "model": {"one": base, "two": base, "part": base[1], "turned": base.t()},
        "optimizer": {},
        "topology": {},
    }
    checkpoint.save(tmp_path, 1, {}, tensors, 1)
    loaded = checkpoint.load(checkpoint.find(tmp_path)).tensors["model"]
    for name, tensor in tensors["model"].items():
        assert torch.equal(loaded[name], tensor)
