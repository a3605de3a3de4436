"""Does every registered method of moving a topology keep the promises that all methods make?"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mezzotint import Precision, sparsify
from mezzotint.errors import CheckpointError
from mezzotint.sparse import (
    METHODS,
    Topology,
    build,
    first_density,
    layer_nnz,
    options_of,
    sparse_layers,
    topology_digest,
)

STRUCTURES = {"nm": "2:4", "block": "2x2"}
DENSITY = 0.25
pytestmark = pytest.mark.parametrize("method", sorted(METHODS))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors here are tiny: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Run:
    """A tiny sparse network in training."""

    def __init__(
        self, method: str, seed: int = 0, stagger: bool = True, frozen: Sequence[str] = (), **options: Any
    ) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(24, 6))
        shapes = {name: tuple(self.model.get_submodule(name).weight.shape) for name in ("0", "3")}
        structure = STRUCTURES.get(method)
        density = 0.5 if structure == "2:4" else first_density(method, DENSITY)
        sparsify(self.model, density, seed=seed, structure=structure)
        for name in frozen:
            sparse_layers(self.model)[name].values.requires_grad_(False)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
        self.precision = Precision("bf16")
        given = {"window": 2, "stagger": stagger} if "stagger" in options_of(method) else {}
        given |= options | ({} if structure is None else {"structure": structure})
        offered = {"interval": 4, "total_steps": 24, "goal": layer_nnz(shapes, DENSITY), "seed": 1}
        self.topology: Topology = build(method, self.model, self.optimizer, given, offered)

    def step(self, number: int, factor: float = 1.0) -> Any:
        x = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(number))
        with self.precision.autocast():
            loss = self.model(x).float().square().mean() * factor
        self.optimizer.zero_grad()
        return self.topology.step(self.precision.step(loss, self.optimizer))

    def nnz(self) -> int:
        return sum(layer.nnz for layer in sparse_layers(self.model).values())


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    return x.tolist() if isinstance(x, torch.Tensor) else x


@pytest.mark.parametrize("stagger", [True, False])
def test_nnz_is_the_budget_at_every_step_and_only_active_weights_have_state(method: str, stagger: bool) -> None:
    run = Run(method, stagger=stagger)
    assert run.nnz() == run.topology.budget
    moved, patterns = 0, {name: layer.pattern for name, layer in sparse_layers(run.model).items()}
    for number in range(24):
        report = run.step(number)
        assert run.nnz() == run.topology.budget
        for name, layer in sparse_layers(run.model).items():
            state = run.optimizer.state[layer.values]["momentum_buffer"]
            assert layer.values.shape == state.shape == (layer.nnz,)
            assert bool((layer.pattern.indices[1:] > layer.pattern.indices[:-1]).all())
            moved += int((layer.pattern.to_mask() & ~patterns[name].to_mask()).sum())
            patterns[name] = layer.pattern
        if report is not None:
            assert report.step == number + 1
            assert {name: change.after for name, change in report.layers.items()} == {
                name: layer.nnz for name, layer in sparse_layers(run.model).items()
            }
            assert sum(change.importance for change in report.layers.values()) == pytest.approx(1)
            json.dumps(report.as_record())
    assert run.topology.steps == 24
    assert (moved > 0) == (method not in ("static", "gmp"))
    if method not in ("nm", "block"):
        assert run.nnz() == sum(layer_nnz({"0": (6, 4, 3, 3), "3": (6, 24)}, DENSITY).values())


def test_is_deterministic(method: str) -> None:
    first, second = Run(method), Run(method)
    for number in range(12):
        first.step(number)
        second.step(number)
    assert topology_digest(first.model) == topology_digest(second.model)
    assert _plain(first.topology.state_dict()) == _plain(second.topology.state_dict())


@settings(max_examples=6)
@given(overflows=st.lists(st.booleans(), min_size=13, max_size=13))
def test_skipped_steps_leave_no_trace(method: str, overflows: list[bool]) -> None:
    disturbed, plain = Run(method), Run(method)
    for number, overflow in enumerate(overflows):
        if overflow:
            assert disturbed.step(number, float("nan")) is None
        disturbed.step(number)
        plain.step(number)
    assert disturbed.topology.steps == 13
    assert _plain(disturbed.topology.state_dict()) == _plain(plain.topology.state_dict())
    assert _plain(disturbed.model.state_dict()) == _plain(plain.model.state_dict())


@pytest.mark.parametrize("stop", [3, 4, 7, 8, 9])
def test_resumes_exactly(method: str, stop: int) -> None:
    whole, first, second = Run(method), Run(method), Run(method, seed=5)
    for number in range(14):
        whole.step(number)
    for number in range(stop):
        first.step(number)
    second.model.load_state_dict(copy.deepcopy(first.model.state_dict()))
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.topology.load_state_dict(first.topology.state_dict())
    for number in range(stop, 14):
        second.step(number)
    assert _plain(second.model.state_dict()) == _plain(whole.model.state_dict())
    assert _plain(second.topology.state_dict()) == _plain(whole.topology.state_dict())


def test_a_frozen_layer_stays_as_it_is(method: str) -> None:
    whole, first, second = (Run(method, frozen=["0"]) for _ in range(3))
    layer, fresh = (sparse_layers(run.model)["0"] for run in (whole, Run(method, frozen=["0", "3"])))
    for number in range(24):
        whole.step(number)
    assert layer.pattern == fresh.pattern
    assert torch.equal(layer.values, fresh.values)
    for number in range(5):
        first.step(number)
    second.model.load_state_dict(copy.deepcopy(first.model.state_dict()))
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.topology.load_state_dict(first.topology.state_dict())
    for number in range(5, 24):
        second.step(number)
    assert _plain(second.model.state_dict()) == _plain(whole.model.state_dict())


def test_state_is_json_but_for_tensors_and_names_its_method(method: str) -> None:
    run = Run(method)
    for number in range(3):
        run.step(number)
    state = run.topology.state_dict()
    json.dumps(_plain(state))
    assert state["method"] == method
    with pytest.raises(CheckpointError):
        run.topology.load_state_dict(state | {"method": "another"})


def test_a_closed_topology_computes_nothing_more(method: str) -> None:
    run = Run(method)
    for number in range(2):
        run.step(number)
    run.topology.close()
    run.optimizer.zero_grad()
    run.model(torch.randn(2, 4, 4, 4)).sum().backward()
    assert all(layer._window is None for layer in sparse_layers(run.model).values())
