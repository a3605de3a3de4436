"""Is the average of weights that of a dense network, whatever the topology does, and does it survive everything?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from train_comparison import assert_same_run, last

from mezzotint.deploy.run_checkpoint import read_checkpoint
from mezzotint.errors import CheckpointError, ConfigError
from mezzotint.sparse import sparse_layers
from mezzotint.train import RunConfig, train
from mezzotint.train.evaluate_checkpoint import evaluate_checkpoint
from mezzotint.train.parts import build_parts
from mezzotint.train.progress import Silent, StepView
from mezzotint.train.state import restore
from mezzotint.train.step import Clock, training_step

Make = Callable[..., RunConfig]


def _dense(model: nn.Module) -> list[Tensor]:
    return [layer.dense_weight().detach() for layer in sparse_layers(model).values()]


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_is_that_of_the_dense_weights_and_forgets_what_was_pruned(kind: str, small: Make) -> None:
    config = small(
        average={"kind": kind, "decay": 0.8, "start": 0.25},
        sparsity={"interval": 4, "window": 2, "density": 0.1},
        schedule={"epochs": 1},
    )
    parts = build_parts(config)
    assert parts.average is not None
    expected: list[Tensor] = []
    count = 0
    for place in range(12):
        training_step(
            parts, parts.inputs.train.batch_at(0, place), 0.05, Clock(device=torch.device("cpu"), running=False)
        )
        if kind == "swa" and place + 1 <= round(0.25 * 14):
            continue
        new = _dense(parts.model)
        decay = count / (count + 1) if kind == "swa" else min(0.8, (1 + count) / (10 + count)) if count else 0.0
        old = expected or [torch.zeros_like(one) for one in new]
        masks = [layer.pattern.to_mask() for layer in sparse_layers(parts.model).values()]
        expected = [(decay * o + (1 - decay) * n) * m for o, n, m in zip(old, new, masks, strict=True)]
        count += 1
    own = _dense(parts.model)
    with parts.average.applied():
        for mine, theirs in zip(_dense(parts.model), expected, strict=True):
            torch.testing.assert_close(mine, theirs)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(_dense(parts.model), own, strict=True))
    assert parts.average.count == count


class _Crash(Exception):
    pass


@pytest.mark.parametrize(("kind", "micro"), [("ema", 1), ("swa", 3)])
def test_a_run_with_averages_resumes_bit_for_bit(kind: str, micro: int, small: Make, tmp_path: Path) -> None:
    class At(Silent):
        def step(self, view: StepView) -> None:
            if view.step == 17:
                raise _Crash

    config = small(
        average={"kind": kind, "decay": 0.9, "start": 0.3},
        data={"micro_batches": micro},
        model={"name": "digits_cnn"},
        run={"checkpoint_steps": 4},
    )
    train(config, folder=tmp_path / "whole")
    with pytest.raises(_Crash):
        train(config, folder=tmp_path / "cut", progress=At())
    train(config, folder=tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    one, other = (last(tmp_path / name).tensors["average"] for name in ("whole", "cut"))
    assert one.keys() == other.keys() == last(tmp_path / "whole").tensors["model"].keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_averages_are_what_is_tested_evaluated_and_deployed(small: Make, tmp_path: Path) -> None:
    result = train(small(average={"kind": "swa", "start": 0.5}), folder=tmp_path / "run")
    assert result.summary is not None
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["test_accuracy"]
    assert evaluate_checkpoint(tmp_path / "run").result.accuracy == told
    saved = last(tmp_path / "run")
    deployed, _ = read_checkpoint(tmp_path / "run")
    assert not torch.equal(saved.tensors["average"]["fc2.values"], saved.tensors["model"]["fc2.values"])
    for name, tensor in saved.tensors["average"].items():
        assert torch.equal(deployed[name], tensor)
    stored = load_file(saved.folder / "average.safetensors")
    assert torch.equal(stored["fc2.indices"], saved.tensors["model"]["fc2.indices"])


def test_an_average_that_starts_late_has_the_last_step(small: Make, tmp_path: Path) -> None:
    train(small(average={"kind": "swa", "start": 0.99}, schedule={"epochs": 1}), folder=tmp_path / "run")
    saved = last(tmp_path / "run")
    assert saved.state["average"] == {"kind": "swa", "steps": 14, "count": 1}
    assert all(torch.equal(tensor, saved.tensors["model"][name]) for name, tensor in saved.tensors["average"].items())


def test_a_run_without_averages_stores_none(small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "run")
    assert not (last(tmp_path / "run").folder / "average.safetensors").exists()


def test_wrong_averages_are_told(small: Make) -> None:
    with pytest.raises(ConfigError, match=r"average\.kind.*received 'emma'.*none, ema, swa.*Did you mean 'ema'"):
        small(average={"kind": "emma"})
    with pytest.raises(ConfigError, match=r"average\.decay"):
        small(average={"kind": "ema", "decay": 1.0})
    parts = build_parts(small(average={"kind": "ema"}))
    assert parts.average is not None
    with pytest.raises(CheckpointError, match="average of the checkpoint: received swa; allowed: ema"):
        parts.average.load_state_dict({"kind": "swa", "steps": 1, "count": 1}, {})
    with pytest.raises(CheckpointError, match=r"'fc1\.values' is missing"):
        parts.average.load_state_dict({"kind": "ema", "steps": 1, "count": 1}, {})


def test_an_average_of_an_older_checkpoint_goes_on(small: Make, tmp_path: Path) -> None:
    """It has no count of steps: those of the topology are the same."""
    config = small(average={"kind": "swa", "start": 0.9})
    train(config, folder=tmp_path / "run")
    saved = last(tmp_path / "run")
    steps = saved.state["average"].pop("steps")
    parts = build_parts(config)
    restore(parts, saved)
    assert parts.average is not None
    assert parts.average.steps == steps == parts.topology.steps > parts.average.count > 0
