"""Can a method that is not ours be named by its dotted path, and is a wrong path refused in words?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import mezzotint as mz
from mezzotint.errors import MezzotintError, NotRegistered
from mezzotint.sparse import build, method, options_of
from mezzotint.train import SparsityConfig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAME = "own_method:BusyChannels"


@pytest.fixture
def beside_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.mark.usefixtures("beside_the_example")
def test_own_method_conserves_weights() -> None:
    torch.manual_seed(0)
    model = mz.sparsify(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 5)), 0.2, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    topology = build(NAME, model, optimizer, {"prune_rate": 0.4}, {"interval": 2, "total_steps": 100, "seed": 3})
    before = {name: layer.pattern.indices for name, layer in mz.sparse.sparse_layers(model).items()}
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6)).square().mean().backward()
        optimizer.step()
        topology.step()
    for name, layer in mz.sparse.sparse_layers(model).items():
        assert layer.nnz == len(before[name])
        assert not torch.equal(layer.pattern.indices, before[name])


@pytest.mark.usefixtures("beside_the_example")
def test_its_options_are_checked_like_ours() -> None:
    assert options_of(NAME)["prune_rate"] == 0.2
    assert SparsityConfig(density=0.1, method=NAME).given == {}
    with pytest.raises(MezzotintError, match=r"sparsity\.options.*rate_of_pruning"):
        SparsityConfig(density=0.1, method=NAME, options={"rate_of_pruning": 1})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:X", "cannot be imported"),
        ("mezzotint.sparse:Nothing", "no 'Nothing' in mezzotint.sparse"),
        ("mezzotint.sparse:Pattern", "a subclass of mezzotint.sparse.DynamicTopology"),
        ("mezzotint.sparse:sparsify", "a function"),
        ("mezzotint.sparse:METHODS", "a class or function"),
    ],
)
def test_a_wrong_path_is_refused(name: str, told: str) -> None:
    with pytest.raises(NotRegistered, match=told):
        method(name)
