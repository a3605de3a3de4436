"""Is a network named by its path trained, resumed, evaluated and exported like one of the library's?"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from train_comparison import last

from mezzotint.cli import main
from mezzotint.deploy import export, load
from mezzotint.deploy.run_checkpoint import read_checkpoint
from mezzotint.errors import CheckpointError, ConfigError
from mezzotint.train import RunConfig, train
from mezzotint.train.evaluate_checkpoint import evaluate_checkpoint
from mezzotint.train.parts import build_parts

Make = Callable[..., RunConfig]
OWN = """
from torch import nn

def net(num_classes, in_channels, units):
    return nn.Sequential(nn.Conv2d(in_channels, units, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * units, num_classes))

def pretrained(num_classes, in_channels):
    made = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, num_classes))
    made[1].num_batches_tracked += 7
    return made
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trained_nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "trained_nets", raising=False)


def test_it_is_trained_resumed_evaluated_and_exported(small: Make, tmp_path: Path) -> None:
    config = small(model={"name": "trained_nets:net", "options": {"units": 12}})
    result = train(config, folder=tmp_path / "run")
    assert result.summary is not None
    assert result.summary["nnz"] == round(0.2 * (12 * 9 + 36 * 12 * 10))
    assert evaluate_checkpoint(tmp_path / "run").result.accuracy == result.summary["test_accuracy"]
    assert train(config, folder=tmp_path / "run", resume=True).summary is not None
    tensors, description = read_checkpoint(tmp_path / "run")
    assert description.architecture is None  # loading weights must not run code that a file names
    assert tensors.keys() == last(tmp_path / "run").tensors["model"].keys()
    path = export(tmp_path / "run", "safetensors", tmp_path / "net.safetensors", model=trained()).path
    with pytest.raises(CheckpointError, match=r"Build the network as it was before sparsify and pass it"):
        load(path)
    again = load(path, model=trained())
    assert torch.equal(again.state_dict()["0.values"], tensors["0.values"])
    assert torch.equal(load(tmp_path / "run", model=trained()).state_dict()["0.values"], tensors["0.values"])
    assert main(["export", str(tmp_path / "run"), "-f", "pt2", "-o", str(tmp_path / "net.pt2")]) == 0
    assert (tmp_path / "net.pt2").stat().st_size > 1000


def trained() -> nn.Module:
    """The network as its own code builds it."""
    from trained_nets import net  # type: ignore[import-not-found]

    made: nn.Module = net(10, 1, 12)
    return made


def test_a_wrong_option_is_told_before_anything_is_written(small: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[model\]: .*missing 1 required positional argument: 'units'"):
        train(small(model={"name": "trained_nets:net"}), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_trained_weights_that_a_network_brings_are_not_pruned_at_random_without_a_word(
    small: Make, caplog: pytest.LogCaptureFixture
) -> None:
    model = {"name": "trained_nets:pretrained"}
    with caplog.at_level(logging.WARNING, "mezzotint.train.parts"):
        made = build_parts(small(model=model))
        assert "was trained before (batch norm '1' has seen 7 batches), and is pruned at random" in caplog.text
        caplog.clear()
        build_parts(small(model=model), saved=made.inputs.record)
        build_parts(small(model=model, sparsity={"choose": "random"}))
        build_parts(small(model=model, sparsity={"method": "gmp"}))  # begins with all weights
        build_parts(small(model={"name": "trained_nets:net", "options": {"units": 4}}))
    assert not caplog.records
