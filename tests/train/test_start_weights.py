"""Does a run that starts from trained weights start with exactly those, dense or sparse, and say what is wrong?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from train_comparison import assert_same_run, last

from mezzotint import densify, models
from mezzotint.errors import ConfigError
from mezzotint.sparse import sparse_layers
from mezzotint.train import RunConfig, train
from mezzotint.train.parts import Parts, build_parts

Make = Callable[..., RunConfig]
DENSE = {"sparsity": {"density": 1.0}}


def _lenet() -> torch.nn.Module:
    return models.build("lenet_300_100", num_classes=10, in_channels=1, image_size=(8, 8))


def _kept(parts: Parts, name: str) -> tuple[Tensor, Tensor]:
    layer = sparse_layers(parts.model)[name]
    return layer.pattern.to_mask(), layer.dense_weight().detach()


def test_a_dense_run_is_pruned_once_by_magnitude_and_trained_on(small: Make, tmp_path: Path) -> None:
    train(small(**DENSE, schedule={"epochs": 6}), folder=tmp_path / "dense")
    dense = last(tmp_path / "dense").tensors["model"]["fc2.weight"]
    config = small(model={"weights": str(tmp_path / "dense")}, sparsity={"density": 0.3})
    mask, weight = _kept(build_parts(config), "fc2")
    assert torch.equal(weight, dense * mask)
    assert dense[mask].abs().min() >= dense[~mask].abs().max()
    fine = train(config, folder=tmp_path / "fine")
    fresh = train(small(sparsity={"density": 0.3}), folder=tmp_path / "fresh")
    assert fine.summary is not None
    assert fresh.summary is not None
    assert fine.summary["test_accuracy"] > fresh.summary["test_accuracy"]
    # What it started from is in its checkpoints: nobody needs the file again.
    for item in (tmp_path / "dense" / "checkpoints").rglob("*.safetensors"):
        item.unlink()
    assert train(config, folder=tmp_path / "fine", resume=True).summary is not None


def test_gradual_pruning_starts_from_all_of_the_dense_weights(small: Make, tmp_path: Path) -> None:
    train(small(**DENSE), folder=tmp_path / "dense")
    config = small(
        model={"weights": str(tmp_path / "dense")}, sparsity={"density": 0.3, "method": "gmp", "window": None}
    )
    mask, weight = _kept(build_parts(config), "fc2")
    assert bool(mask.all())
    assert torch.equal(weight, last(tmp_path / "dense").tensors["model"]["fc2.weight"])
    summary = train(config, folder=tmp_path / "gradual").summary
    assert summary is not None
    assert summary["density"] == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("method", ["static", "sparse_momentum"])
def test_a_sparse_run_goes_on_with_its_pattern(method: str, small: Make, tmp_path: Path) -> None:
    train(small(), folder=tmp_path / "sparse")
    window = {"window": None} if method == "static" else {}
    config = small(model={"weights": str(tmp_path / "sparse")}, sparsity={"method": method, **window})
    parts = build_parts(config)
    saved = last(tmp_path / "sparse").tensors["model"]
    own = parts.model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in saved.items())
    train(config, folder=tmp_path / "on")
    same = torch.equal(last(tmp_path / "on").tensors["model"]["fc2.indices"], saved["fc2.indices"])
    assert same == (method == "static")  # "static" is what freezes a topology


@pytest.mark.parametrize("method", ["gmp", "granet", "falling_momentum"])
def test_a_descent_from_sparse_weights_is_resumed(method: str, small: Make, tmp_path: Path) -> None:
    """A resumed network is drawn anew, with other numbers in its layers than those that the first weights brought."""
    train(small(sparsity={"density": 0.5}), folder=tmp_path / "sparse")
    sparsity = {"density": 0.1, "start_density": 0.5, "method": method}
    config = small(
        model={"weights": str(tmp_path / "sparse")}, sparsity=sparsity, run={"checkpoint_steps": 8, "keep": 9}
    )
    train(config, folder=tmp_path / "whole")
    train(config, folder=tmp_path / "cut")
    for step in (8, 0):
        train(config, folder=tmp_path / "cut", from_checkpoint=f"step-{step:08d}")
        assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_averages_are_what_another_run_starts_from(small: Make, tmp_path: Path) -> None:
    train(small(average={"kind": "swa", "start": 0.1}), folder=tmp_path / "run")
    parts = build_parts(small(model={"weights": str(tmp_path / "run")}))
    assert torch.equal(parts.model.state_dict()["fc2.values"], last(tmp_path / "run").tensors["average"]["fc2.values"])


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x}, lambda x: {"model": x, "epoch": 3}])
def test_a_file_of_pytorch_is_read(wrap: Callable[[Any], Any], small: Make, tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in _lenet().state_dict().items()}
    torch.save(wrap(state), tmp_path / "net.pt")
    parts = build_parts(small(**DENSE, model={"weights": str(tmp_path / "net.pt")}))
    assert torch.equal(parts.model.state_dict()["fc1.weight"], state["module.fc1.weight"])


@pytest.mark.parametrize("file", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("prefix", ["_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "module."])
def test_names_of_wrapped_networks_are_those_of_the_network(
    prefix: str, file: str, small: Make, tmp_path: Path
) -> None:
    state = _lenet().state_dict()
    wrapped = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    (save_file if file.endswith(".safetensors") else torch.save)(wrapped, tmp_path / file)
    parts = build_parts(small(**DENSE, model={"weights": str(tmp_path / file)}))
    assert torch.equal(parts.model.state_dict()["fc1.weight"], state["fc1.weight"])


def test_the_state_dict_of_a_compiled_network_is_read(small: Make, tmp_path: Path) -> None:
    network = _lenet()
    compiled = torch.compile(network, backend="eager")
    assert isinstance(compiled, torch.nn.Module)
    torch.save(compiled.state_dict(), tmp_path / "net.pt")
    parts = build_parts(small(**DENSE, model={"weights": str(tmp_path / "net.pt")}))
    assert torch.equal(parts.model.state_dict()["fc1.weight"], network.state_dict()["fc1.weight"])


def test_skipped_entries_start_anew(small: Make, tmp_path: Path) -> None:
    state = {**_lenet().state_dict(), "fc3.weight": torch.zeros(7, 100), "fc3.bias": torch.zeros(7)}
    save_file(state, tmp_path / "net.safetensors")
    path = str(tmp_path / "net.safetensors")
    parts = build_parts(small(**DENSE, model={"weights": path, "weights_skip": ["fc3.*"]}))
    own = parts.model.state_dict()
    assert own["fc3.weight"].shape == (10, 100)
    assert torch.equal(own["fc1.weight"], state["fc1.weight"])
    with pytest.raises(ConfigError, match=r"model\.weights: .*fc3\.weight.*weights_skip"):
        build_parts(small(**DENSE, model={"weights": path}))
    with pytest.raises(ConfigError, match=r"weights_skip: received fc9\.\*; allowed: globs that match"):
        build_parts(small(**DENSE, model={"weights": path, "weights_skip": ["fc9.*"]}))


def test_what_cannot_be_started_from_is_told(small: Make, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"no pickle")
    torch.save({"a": 1}, tmp_path / "other.pt")
    cases = {
        "nett.pt": r"does not exist.*Did you mean 'net\.pt'",
        "net.pt": r"model\.weights: received .*net\.pt', which is no file of torch\.save.*; allowed: a state dict",
        "other.pt": "holds no state dict",
    }
    for name, expected in cases.items():
        with pytest.raises(ConfigError, match=expected):
            build_parts(small(**DENSE, model={"weights": str(tmp_path / name)}))
    with pytest.raises(ConfigError, match=r"weights_skip.*allowed: model\.weights"):
        small(model={"weights_skip": ["fc3.*"]})
    train(small(), folder=tmp_path / "sparse")
    with pytest.raises(ConfigError, match=r"a sparse network; allowed: sparsity\.density below 1"):
        build_parts(small(**DENSE, model={"weights": str(tmp_path / "sparse")}))


def test_the_safetensors_file_of_a_densified_network_is_one_too(small: Make, tmp_path: Path) -> None:
    parts = build_parts(small())
    dense = densify(parts.model)
    save_file(dense.state_dict(), tmp_path / "net.safetensors")
    again = build_parts(small(model={"weights": str(tmp_path / "net.safetensors")}, sparsity={"density": 0.2}))
    assert bool((_kept(again, "fc1")[1] != 0).any())
