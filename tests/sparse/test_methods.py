"""Does each method do what its paper says? What the contract of all methods cannot see."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mezzotint import Pattern, sparsify
from mezzotint.errors import CheckpointError, ConfigError, InputError, NotRegistered
from mezzotint.sparse import Static, build, first_density, layer_nnz, options_of, sparse_layers
from mezzotint.sparse.methods import dsr, falling_momentum, mest, srigl
from mezzotint.sparse.methods.ac_dc import is_compressed
from mezzotint.sparse.rules import Occasion
from mezzotint.sparse.view import LayerView
from mezzotint.train import SparsityConfig


class Run:
    """Two linear layers trained on noise."""

    def __init__(self, method: str, density: float = 0.3, momentum: float = 0.9, **given: Any) -> None:
        """``density_`` is the method's own."""
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 10))
        given = {"interval": 5, "total_steps": 40} | {key.rstrip("_"): value for key, value in given.items()}
        sparsify(self.model, density, "uniform")
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=momentum)
        self.topology: Any = build(method, self.model, self.optimizer, given, {})
        self.layers = sparse_layers(self.model)

    def step(self, number: int) -> Any:
        x = torch.randn(16, 20, generator=torch.Generator().manual_seed(number))
        self.optimizer.zero_grad()
        (self.model(x) - x[:, :10].sin()).square().mean().backward()
        self.optimizer.step()
        return self.topology.step()


def _view(values: list[float], shape: tuple[int, int], indices: list[int], **more: Any) -> LayerView:
    pattern = Pattern.from_indices(torch.tensor(indices), shape)
    return LayerView(name="a", values=torch.tensor(values), pattern=pattern, **more)


def test_rigl_grows_where_the_gradient_of_the_moment_is_largest() -> None:
    run = Run("rigl", stagger=False, total_steps=20)
    for number in range(4):
        run.step(number)
    layer = run.layers["0"]
    old = layer.pattern
    x = torch.randn(16, 20, generator=torch.Generator().manual_seed(4))
    dense = layer.dense_weight().detach().requires_grad_()
    hidden = torch.relu(nn.functional.linear(x, dense, layer.bias))
    (run.model[2](hidden) - x[:, :10].sin()).square().mean().backward()
    report = run.step(4)
    count = report.layers["0"].grown
    assert count == math.ceil(0.3 * (1 + math.cos(math.pi * 5 / 15)) / 2 * old.nnz)
    gone = set(old.indices.tolist()) - set(layer.pattern.indices.tolist())
    new = set(layer.pattern.indices.tolist()) - set(old.indices.tolist())
    scores = dense.grad.reshape(-1).abs()
    never = set(range(old.numel)) - set(old.indices.tolist()) - new
    assert len(gone) == len(new) > 0
    assert min(scores[p].item() for p in new) >= max(scores[p].item() for p in never)
    state = run.optimizer.state[layer.values]["momentum_buffer"]
    places = [place for place, position in enumerate(layer.pattern.indices.tolist()) if position in new]
    assert bool((layer.values.detach()[places] == 0).all())
    assert bool((state[places] == 0).all())


@pytest.mark.parametrize("method", ["set", "dsr", "rigl", "rigl_itop", "snfs", "srigl", "mest"])
def test_methods_that_read_no_momentum_work_without(method: str) -> None:
    run = Run(method, momentum=0.0)
    before = {name: layer.pattern for name, layer in run.layers.items()}
    for number in range(40):
        run.step(number)
    assert any(layer.pattern != before[name] for name, layer in run.layers.items())


def test_dsr_moves_its_threshold_towards_the_number_meant() -> None:
    view = _view([0.1, 0.2, 0.3, 0.4], (1, 10), [0, 1, 2, 3])
    few = dsr.decide([view], Occasion(step=1, progress=0, rate=0.5, memory={}), 0.15, 0.1)
    assert (few.pruned, few.memory) == ([1], {"threshold": 0.3})
    right = dsr.decide([view], Occasion(step=1, progress=0, rate=0.5, memory={"threshold": 0.25}), 0.15, 0.1)
    assert (right.pruned, right.memory) == ([2], {"threshold": 0.25})
    many = dsr.decide([view], Occasion(step=1, progress=0, rate=0.5, memory={"threshold": 0.5}), 0.15, 0.1)
    assert (many.pruned, many.grown, many.memory) == ([4], [4], {"threshold": 0.25})


def test_mest_counts_the_gradient_as_importance() -> None:
    view = _view([0.1, 0.2, 0.3], (1, 10), [0, 1, 2], gradient=torch.tensor([10.0, 0.0, 0.0]))
    assert mest.kept_by_importance(view, 1, 0.1).tolist() == [True, False, True]
    assert mest.kept_by_importance(view, 1, 0.0).tolist() == [False, True, True]


def test_mests_soft_bound_holds_more_between_updates_and_the_target_at_the_end() -> None:
    run = Run("mest", soft=True)
    target = run.topology.budget
    seen = []
    for number in range(40):
        run.step(number)
        seen.append(sum(layer.nnz for layer in run.layers.values()))
        assert seen[-1] == run.topology.budget
    assert seen[3] == target < seen[4]
    assert seen[-1] == target


def test_itop_counts_what_was_explored() -> None:
    run = Run("rigl_itop", density=0.2)
    assert run.topology.explored == pytest.approx(0.2, abs=0.01)
    visited = {name: layer.pattern.to_mask() for name, layer in run.layers.items()}
    for number in range(40):
        run.step(number)
        visited = {name: visited[name] | layer.pattern.to_mask() for name, layer in run.layers.items()}
    total = sum(int(mask.sum()) for mask in visited.values()) / sum(mask.numel() for mask in visited.values())
    assert run.topology.explored == pytest.approx(total)
    assert total > 0.3


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 60))
def test_srigl_has_constant_fan_in(seed: int, ablation: float, nnz: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randperm(72, generator=generator)[:nnz].sort().values
    view = LayerView(
        name="a", values=torch.randn(nnz, generator=generator), pattern=Pattern.from_indices(positions, (6, 12))
    )
    lost = nnz // 3
    new = srigl.rewire(view, lost, lost, lambda: torch.rand(72, generator=generator), ablation)
    assert new.nnz == nnz
    fan_in = torch.bincount(new.indices.long() // 12, minlength=6)
    alive = torch.bincount(positions // 12, minlength=6) > 0
    assert not bool(fan_in[~alive].any())
    living = fan_in[fan_in > 0]
    assert int(living.max() - living.min()) <= 1


def test_srigl_ablates_units_without_salient_weights() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 0.01, 0.02]
    view = _view(values, (3, 4), [0, 1, 4, 5, 8, 9])
    scores = torch.tensor([0, 0, 5.0, 0, 0, 0, 6.0, 0, 0, 0, 0, 0])
    new = srigl.rewire(view, 2, 2, lambda: scores, 0.5)
    assert new.indices.tolist() == [0, 1, 2, 4, 5, 6]


def test_gmp_descends_with_the_third_power_and_ends_at_its_goal() -> None:
    goal = {"0": 32, "2": 16}
    run = Run("gmp", density=1.0, goal=goal, end=0.5)
    assert first_density("gmp", 0.1) == 1.0
    counts = [sum(layer.nnz for layer in run.layers.values())]
    for number in range(40):
        run.step(number)
        counts.append(sum(layer.nnz for layer in run.layers.values()))
    assert counts[0] == 480
    for step in (5, 10, 15):
        expected = 32 + round(288 * (1 - step / 20) ** 3) + 16 + round(144 * (1 - step / 20) ** 3)
        assert counts[step] == expected
    assert counts[20:] == [48] * 21
    assert {name: layer.nnz for name, layer in run.layers.items()} == goal


def test_gmps_global_scope_lets_layers_differ() -> None:
    run = Run("gmp", density=1.0, goal={"0": 32, "2": 16}, scope="global")
    for number in range(40):
        run.step(number)
    counts = [layer.nnz for layer in run.layers.values()]
    assert sum(counts) == 48
    assert counts != [32, 16]


def test_ac_dc_alternates() -> None:
    assert [is_compressed(p / 20, 0.1, 0.2, 0.8) for p in range(20)] == (
        [False] * 2 + [True] * 4 + [False] * 4 + [True] * 4 + [False] * 2 + [True] * 4
    )
    run = Run("ac_dc", density=1.0, goal={"0": 32, "2": 16}, interval=2, warmup=0.1, phase=0.2, final=0.8)
    counts = []
    for number in range(40):
        run.step(number)
        counts.append(sum(layer.nnz for layer in run.layers.values()))
    assert counts == [480] * 3 + [48] * 8 + [480] * 8 + [48] * 8 + [480] * 4 + [48] * 9


def test_granet_regenerates_while_it_shrinks() -> None:
    run = Run("granet", density=0.5, goal={"0": 32, "2": 16})
    report = None
    for number in range(5):
        report = run.step(number)
    assert report is not None
    change = report.layers["0"]
    assert change.before == 160
    assert change.after == 32 + round(128 * (1 - 5 / 30) ** 3)
    assert change.grown == math.ceil(0.5 * (1 + math.cos(math.pi / 8)) / 2 * change.after - 1e-9)


def test_a_descent_goes_on_from_where_it_began_and_under_the_same_settings() -> None:
    goal = {"0": 32, "2": 16}
    whole, other = Run("gmp", density=0.5, goal=goal), Run("gmp", density=0.9, goal=goal)
    for number in range(7):
        whole.step(number)
    state = whole.topology.state_dict()
    other.model.load_state_dict(whole.model.state_dict())
    other.optimizer.load_state_dict(copy.deepcopy(whole.optimizer.state_dict()))
    other.topology.load_state_dict(state)
    for number in range(7, 40):
        whole.step(number)
        other.step(number)
        assert other.topology.budget == whole.topology.budget == sum(layer.nnz for layer in other.layers.values())
    assert other.topology.state_dict() == whole.topology.state_dict()
    with pytest.raises(CheckpointError, match=r"'end_of_pruning': received 0\.75; allowed: 0\.5"):
        Run("gmp", density=0.5, goal=goal, end=0.5).topology.load_state_dict(state)
    with pytest.raises(CheckpointError, match="'goal'"):
        Run("gmp", density=0.5, goal={"0": 33, "2": 16}).topology.load_state_dict(state)


def test_falling_momentum_shares_out_what_the_descent_leaves() -> None:
    goal = {"0": 32, "2": 16}
    run = Run("falling_momentum", density=0.5, goal=goal, window=2)
    totals = []
    for number in range(40):
        report = run.step(number)
        if report is not None:
            totals.append(sum(change.after for change in report.layers.values()))
            assert totals[-1] == run.topology.budget
            assert all(change.grown > 0 for change in report.layers.values())
    first = {"0": 160, "2": 80}
    assert totals == [
        sum(goal[name] + round((first[name] - goal[name]) * (1 - min(step / 30, 1)) ** 3) for name in goal)
        for step in range(5, 40, 5)
    ]
    assert {name: layer.nnz for name, layer in run.layers.items()} != goal  # momentum decides which layer has how many


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_falling_momentum_leaves_as_many_as_are_meant(sizes: list[tuple[int, int]], falls: float, rate: float) -> None:
    views = []
    for number, (nnz, missing) in enumerate(sizes):
        pattern = Pattern.from_indices(torch.arange(nnz), (1, nnz + missing))
        momentum = torch.full((nnz,), float(number))
        views.append(LayerView(name=str(number), values=torch.ones(nnz), pattern=pattern, momentum=momentum))
    total = max(len(views), round(sum(nnz for nnz, _ in sizes) * falls))
    decision = falling_momentum.decide(views, total, rate)
    left = [
        view.pattern.nnz - lost + gained
        for view, lost, gained in zip(views, decision.pruned, decision.grown, strict=True)
    ]
    assert sum(left) == total
    assert all(1 <= count <= view.pattern.numel for count, view in zip(left, views, strict=True))


def test_top_kasts_forward_uses_the_largest_and_its_gradients_reach_the_others() -> None:
    goal = {"0": 40, "2": 20}
    run = Run("top_kast", density=0.4, goal=goal)
    for number in range(4):
        for name, layer in run.layers.items():
            assert int((layer.values != 0).sum()) <= goal[name] < layer.nnz
        run.step(number)
    weights = run.topology.state_dict()["weights"]
    for name, layer in run.layers.items():
        hidden = layer.values.detach() == 0
        assert float(weights[name][hidden].abs().max()) > 0
        assert bool((weights[name][~hidden] == layer.values.detach()[~hidden]).all())
    run.step(4)  # the update chooses anew
    for name, layer in run.layers.items():
        theirs = run.topology.state_dict()["weights"][name].abs()
        used = layer.values.detach() != 0
        assert theirs[used].min() >= theirs[~used].max()
    for number in range(5, 40):
        run.step(number)
    assert {name: layer.nnz for name, layer in run.layers.items()} == goal


def test_top_kast_has_sets_of_a_layer_while_it_is_trained() -> None:
    run = Run("top_kast", density=0.4, goal={"0": 40, "2": 20}, total_steps=100)
    layer = run.layers["0"]
    run.step(0)
    layer.values.requires_grad_(False)
    weights, values = run.topology.state_dict()["weights"]["0"], layer.values.detach().clone()
    for number in range(1, 12):
        run.step(number)
    assert torch.equal(run.topology.state_dict()["weights"]["0"], weights)
    assert torch.equal(layer.values, values)
    late: Any = build("top_kast", run.model, run.optimizer, {"interval": 5, "total_steps": 40, "density": 0.1}, {})
    run.topology, first = late, int((layer.values != 0).sum())
    run.step(0)
    assert int((layer.values != 0).sum()) == first > 32
    layer.values.requires_grad_(True)
    for number in range(1, 12):
        run.step(number)
        assert int((layer.values != 0).sum()) <= 32


def test_options_are_checked() -> None:
    assert set(options_of("static")) == set()
    assert options_of("rigl")["prune_rate"] == 0.3
    with pytest.raises(InputError, match=r"option of method 'rigl': received prunerate.*Did you mean 'prune_rate'"):
        Run("rigl", prunerate=0.1)
    with pytest.raises(NotRegistered, match="Did you mean 'rigl'"):
        Run("rigll")
    with pytest.raises(InputError, match="ablation: received 2"):
        Run("srigl", ablation=2)
    with pytest.raises(InputError, match="threshold"):
        Run("dsr", threshold=0.0)
    with pytest.raises(InputError, match="tolerance"):
        Run("dsr", tolerance=1.0)
    with pytest.raises(InputError, match="gradient_weight"):
        Run("mest", gradient_weight=-1.0)
    with pytest.raises(InputError, match=r"goal of layer '0': received 400"):
        Run("gmp", density=1.0, goal={"0": 400, "2": 16})
    with pytest.raises(InputError, match="allowed: a number for each of 0, 2"):
        Run("top_kast", goal={"0": 4})
    with pytest.raises(InputError, match="begin and end"):
        Run("gmp", density=1.0, goal={"0": 4, "2": 4}, begin=0.8)
    with pytest.raises(InputError, match="at least one update"):
        Run("gmp", density=1.0, goal={"0": 4, "2": 4}, total_steps=9)
    with pytest.raises(InputError, match="phase: received 0"):
        Run("ac_dc", density=1.0, goal={"0": 4, "2": 4}, phase=0.0)
    with pytest.raises(NotRegistered, match="Did you mean 'global'"):
        Run("ac_dc", density=1.0, goal={"0": 4, "2": 4}, scope="globl")


@pytest.mark.parametrize("method", ["gmp", "granet", "ac_dc", "top_kast", "falling_momentum"])
def test_a_goal_may_be_given_as_a_density(method: str) -> None:
    shapes = {"0": (16, 20), "2": (10, 16)}
    counted = Run(method, density=1.0, goal=layer_nnz(shapes, 0.2, "er"))
    shared = Run(method, density=1.0, density_=0.2, distribution="er")
    named = Run(method, density=1.0, density_={"0": 0.1, "*": 0.5})
    assert counted.topology.state_dict()["settings"] == shared.topology.state_dict()["settings"]
    for number in range(40):
        named.step(number)
    assert {name: layer.nnz for name, layer in named.layers.items()} == {"0": 32, "2": 80} or method in (
        "ac_dc",
        "falling_momentum",
    )
    assert sum(layer.nnz for layer in named.layers.values()) == 112
    for options, said in (({}, "neither"), ({"density_": 0.2, "goal": layer_nnz(shapes, 0.2)}, "both")):
        with pytest.raises(InputError, match=f"goal and density of a method: received {said}; allowed: exactly one"):
            Run(method, density=1.0, **options)


def test_a_run_makes_the_goal_itself() -> None:
    with pytest.raises(ConfigError, match=r"received density; allowed: begin, end, scope\. Set sparsity\.density"):
        SparsityConfig(density=0.1, method="gmp", options={"density": 0.2})


def test_an_optimiser_of_the_dense_weights_is_told_by_static_too() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    early = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsify(model, 0.5)
    with pytest.raises(InputError, match=r"optimizer of layer '0'.*Build the optimiser after sparsify"):
        Static(model, early)
    Static(model, torch.optim.SGD(model.parameters(), lr=0.1))
    Static(model)  # who gives none is asked nothing
    model[0].values.requires_grad_(False)  # type: ignore[union-attr]
    Static(model, torch.optim.SGD(model[1].parameters(), lr=0.1))
