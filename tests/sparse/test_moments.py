"""Is the momentum of a missing weight what the optimiser would have, and is a grown weight's first step harmless?"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import Adam, AdamW, Optimizer, RMSprop

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.sparse import build
from mezzotint.sparse.moments import MomentRule, Moments, no_moments, rule_for
from mezzotint.sparse.transfer import move_layer


def _with(kind: type[torch.optim.Optimizer], **options: object) -> tuple[torch.optim.Optimizer, torch.nn.Parameter]:
    parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    return kind([parameter], **options), parameter


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    (torch.optim.Adam, {"lr": 0.1}),
    (torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.99), "maximize": True}),
    (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=str)
def test_folding_is_the_optimisers_own_recursion(kind: type[torch.optim.Optimizer], options: dict[str, object]) -> None:
    optimizer, parameter = _with(kind, **options)
    group = optimizer.param_groups[0]
    rule = rule_for(optimizer, group)
    moments = no_moments(rule, 5, parameter)
    for _ in range(7):
        parameter.grad = torch.randn(5, dtype=torch.float64)
        rule.fold(moments, parameter.grad.clone(), group)
        optimizer.step()
    for key in rule.keys:
        torch.testing.assert_close(moments[key], optimizer.state[parameter][key])


def test_dampening_scales_the_gradients() -> None:
    optimizer, parameter = _with(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5)
    rule = rule_for(optimizer, optimizer.param_groups[0])
    moments = no_moments(rule, 5, parameter)
    rule.fold(moments, torch.ones(5), optimizer.param_groups[0])
    assert torch.equal(moments["momentum_buffer"], torch.full((5,), 0.5, dtype=torch.float64))


def test_a_window_of_44_steps_holds_99_percent_of_sgds_momentum() -> None:
    optimizer, parameter = _with(torch.optim.SGD, lr=0.1, momentum=0.9)
    group, gradients = optimizer.param_groups[0], torch.randn(200, 1000, dtype=torch.float64)
    rule = rule_for(optimizer, group)
    whole, windowed = (no_moments(rule, 1000, parameter) for _ in range(2))
    for step, gradient in enumerate(gradients):
        rule.fold(whole, gradient, group)
        if step >= 156:
            rule.fold(windowed, gradient, group)
        elif step == 155:
            before = whole["momentum_buffer"].clone()
    missing = whole["momentum_buffer"] - windowed["momentum_buffer"]
    torch.testing.assert_close(missing, before * 0.9**44)
    exact, ours = (set(m["momentum_buffer"].abs().topk(100).indices.tolist()) for m in (whole, windowed))
    assert len(exact & ours) >= 95  # gradients of pure noise are the hardest case


def _adam() -> tuple[MomentRule, dict[str, object]]:
    optimizer, _ = _with(torch.optim.Adam, lr=0.001)
    return rule_for(optimizer, optimizer.param_groups[0]), optimizer.param_groups[0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=44), st.integers(100, 100_000))
def test_adams_grown_weights_take_bounded_steps(gradients: list[float], steps: int) -> None:
    rule, group = _adam()
    moments: Moments = no_moments(rule, 1, torch.zeros(1, dtype=torch.float64))
    for gradient in gradients:
        rule.fold(moments, torch.tensor([gradient], dtype=torch.float64), group)
    n = len(gradients)
    rule.normalise(moments, n, steps, group)
    bound = math.sqrt(0.1 * (1 - 0.999**n) / ((1 - 0.9**n) * 0.001))
    assert rule.score(moments, steps, group).item() <= bound * (1 + 1e-9)
    assert bound <= 2.1


def test_adams_moments_are_as_large_as_those_of_a_weight_that_was_always_there() -> None:
    rule, group = _adam()
    old, grown = (no_moments(rule, 4000, torch.zeros(1, dtype=torch.float64)) for _ in range(2))
    for step in range(3000):
        gradient = torch.randn(4000, dtype=torch.float64)
        rule.fold(old, gradient, group)
        if step >= 2956:
            rule.fold(grown, gradient, group)
    rule.normalise(grown, 44, 3000, group)
    ratio = grown["exp_avg_sq"].mean() / old["exp_avg_sq"].mean()
    assert 0.97 < ratio < 1.03  # the window alone holds 4 % of it
    assert 0.97 < grown["exp_avg"].abs().mean() / old["exp_avg"].abs().mean() < 1.03


def test_a_window_that_never_closed_is_not_corrected() -> None:
    rule, group = _adam()
    moments = {"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    rule.normalise(moments, 70, 70, group)
    assert torch.equal(moments["exp_avg"], torch.ones(2))
    assert torch.equal(moments["exp_avg_sq"], torch.ones(2))


def test_no_steps_no_score() -> None:
    rule, group = _adam()
    assert rule.score({"exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}, 0, group).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kind", "options", "received"),
    [
        (torch.optim.SGD, {"lr": 0.1}, "SGD without momentum"),
        (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.9}, "RMSprop"),
        (torch.optim.Adagrad, {"lr": 0.1}, "Adagrad"),
    ],
)
def test_other_optimisers_are_refused(
    kind: type[torch.optim.Optimizer], options: dict[str, object], received: str
) -> None:
    optimizer, _ = _with(kind, **options)
    with pytest.raises(InputError, match=f"received {received}; allowed: .*Adam or AdamW"):
        rule_for(optimizer, optimizer.param_groups[0])


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize(
    ("make", "most"),
    [(AdamW, 2.5), (partial(Adam, amsgrad=True), 2.5), (RMSprop, 5.0)],
    ids=["adamw", "amsgrad", "rmsprop"],
)
def test_late_grown_weights_take_steps_of_ordinary_length(
    method: str, make: Callable[..., Optimizer], most: float
) -> None:
    torch.manual_seed(0)
    layer = mz.SparseLinear(24, 16, density=0.3)
    rate = 1e-3
    optimizer = make(layer.parameters(), lr=rate, weight_decay=0.0)
    topology = build(method, layer, optimizer, {}, {"interval": 600, "total_steps": 2400})
    target = torch.randn(24, 16)
    longest = 0.0
    grown = torch.zeros(layer.nnz, dtype=torch.bool)
    for step in range(620):
        x = torch.randn(16, 24)
        optimizer.zero_grad()
        (layer(x) - x @ target).square().mean().backward()
        before = layer.values.detach().clone()
        optimizer.step()
        if step >= 600:
            longest = max(longest, float((layer.values.detach() - before)[grown].abs().max()) / rate)
        old = layer.pattern
        if topology.step():
            grown = ~torch.isin(layer.pattern.indices, old.indices)
    assert int(grown.sum()) > 5
    assert longest < most


def test_second_moments_of_new_weights_are_the_layers_mean() -> None:
    layer = mz.SparseLinear(4, 2, pattern=mz.Pattern.from_indices(torch.tensor([0, 3, 5]), (2, 4)))
    optimizer = AdamW(layer.parameters())
    layer.values.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step()
    second = optimizer.state[layer.values]["exp_avg_sq"].clone()
    move_layer(layer, mz.Pattern.from_indices(torch.tensor([0, 1, 5]), (2, 4)), optimizer, {})
    state = optimizer.state[layer.values]
    torch.testing.assert_close(state["exp_avg_sq"], torch.stack([second[0], second.mean(), second[2]]))
    assert state["exp_avg"][1] == 0


def test_a_dense_phase_of_ac_dc_starts_adam_anew() -> None:
    layer = mz.SparseLinear(8, 8, density=1.0)
    optimizer = AdamW(layer.parameters(), lr=0.01)
    goal = {"": 16}
    topology = build("ac_dc", layer, optimizer, {}, {"interval": 4, "total_steps": 80, "goal": goal})
    begun = []
    for step in range(60):
        optimizer.zero_grad()
        layer(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
        nnz = layer.nnz
        topology.step()
        if layer.nnz > nnz:
            begun.append(step)
            assert all(not tensor.any() for tensor in optimizer.state[layer.values].values())
    assert begun
