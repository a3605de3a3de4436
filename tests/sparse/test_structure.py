"""Do structured patterns have their structure, from sparsify on and after every update?"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mezzotint import sparsify
from mezzotint.errors import InputError
from mezzotint.sparse import build, sparse_layers
from mezzotint.sparse.structure import Structure


@given(st.sampled_from(["2:4", "1:2", "3:4", "4x4", "2x1", "1x8"]), st.booleans(), st.integers(0, 99))
def test_groups_cover_every_position_once(text: str, linear: bool, seed: int) -> None:
    structure, shape = Structure.parse(text), (8, 16) if linear else (8, 16, 3, 1)
    groups = structure.groups(shape, "layer")
    assert groups.shape[1] == structure.size
    assert groups.reshape(-1).sort().values.tolist() == list(range(groups.numel()))
    rows, columns = groups // (16 * 3 if not linear else 16), groups // (1 if linear else 3) % 16
    assert int((rows.max(1).values - rows.min(1).values).max()) == structure.outputs - 1
    assert int((columns.max(1).values - columns.min(1).values).max()) == structure.inputs - 1
    scores = torch.rand(groups.numel(), generator=torch.Generator().manual_seed(seed))
    structure.check(structure.pattern(scores, shape, 3, "layer"), "layer")


def test_n_of_m_keeps_the_largest_of_each_group() -> None:
    model = nn.Linear(8, 1, bias=False)
    model.weight.data = torch.tensor([[0.1, -4.0, 3.0, 0.2, 5.0, 0.0, -6.0, 1.0]])
    sparse = sparsify(model, 0.5, structure="2:4", choose="magnitude")
    assert sparse.pattern.indices.tolist() == [1, 2, 4, 6]


def test_blocks_meet_the_density_to_half_a_block() -> None:
    model = sparsify(nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 32, 1)), 0.25, "uniform", structure="4x4")
    for layer in sparse_layers(model).values():
        assert abs(layer.nnz - 0.25 * layer.pattern.numel) <= 8
        Structure.parse("4x4").check(layer.pattern, "layer")


@pytest.mark.parametrize(
    ("method", "text", "density"), [("nm", "2:4", 0.5), ("nm", "1:4", 0.25), ("block", "4x2", 0.3)]
)
def test_updates_keep_the_structure(method: str, text: str, density: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 8))
    sparsify(model, density, structure=text)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    topology = build(method, model, optimizer, {"structure": text}, {"interval": 3, "total_steps": 40})
    before = {name: layer.pattern for name, layer in sparse_layers(model).items()}
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(4, 8, 4, 4)).square().mean().backward()
        optimizer.step()
        topology.step()
        for name, layer in sparse_layers(model).items():
            Structure.parse(text).check(layer.pattern, name)
            assert layer.nnz == before[name].nnz
    assert all(layer.pattern != before[name] for name, layer in sparse_layers(model).items())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"structure: received 4:4"):
        Structure.parse("4:4")
    with pytest.raises(InputError, match=r"'0'.*3 inputs.*Add '0' to exclude"):
        sparsify(nn.Sequential(nn.Conv2d(3, 8, 3)), 0.5, structure="2:4")
    with pytest.raises(InputError, match=r"density: received 0\.4; allowed: 0\.5"):
        sparsify(nn.Linear(8, 8), 0.4, structure="2:4")
    with pytest.raises(InputError, match="random, magnitude"):
        sparsify(nn.Linear(8, 8), 0.5, structure="2:4", choose="fan_in")
    model = sparsify(nn.Linear(8, 8), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"groups that are not '2:4'.*structure='2:4'"):
        build("nm", model, optimizer, {"structure": "2:4"}, {"total_steps": 10})
    with pytest.raises(InputError, match='allowed: "n:m"'):
        build("nm", model, optimizer, {"structure": "4x4"}, {"total_steps": 10})
    with pytest.raises(InputError, match="allowed: blocks"):
        build("block", model, optimizer, {"structure": "2:4"}, {"total_steps": 10})
