"""Do grown weights get the momentum that they would have, whatever a loop of one's own does to its gradients?"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import SGD, AdamW, Optimizer

import mezzotint as mz
from mezzotint.errors import InputError
from mezzotint.sparse import build, sparse_layers
from mezzotint.sparse.matching import NONE, Change, change_between

MakeOptimizer = Callable[[Any], Optimizer]
MAKES: dict[str, MakeOptimizer] = {
    "sgd": lambda p: SGD(p, lr=0.05, momentum=0.9),
    "nesterov, foreach": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True, foreach=True),  # changes p.grad
    "sgd, fused": lambda p: SGD(p, lr=0.05, momentum=0.9, fused=True),
    "adamw": lambda p: AdamW(p, lr=1e-3),
    "adamw, fused": lambda p: AdamW(p, lr=1e-3, fused=True),
}


class Loop:
    """A training loop of one's own, with dense gradients beside it as a witness."""

    def __init__(self, make: MakeOptimizer = MAKES["sgd"], method: str = "sparse_momentum", **options: Any) -> None:
        torch.manual_seed(0)
        self.model = mz.sparsify(
            nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 4)),
            0.3,
        )
        self.optimizer = make(self.model.parameters())
        given = {"window": 4, "stagger": False} | options
        given = {key: value for key, value in given.items() if key in mz.sparse.options_of(method)}
        self.topology = build(method, self.model, self.optimizer, given, {"interval": 4, "total_steps": 40, "seed": 0})

    def loss(self, step: int, part: slice = slice(None)) -> Tensor:
        x = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(step))
        y = (x[:, 0, 2, 2] > 0).long() + 2 * (x[:, 0, 4, 1] > 0).long()
        return nn.functional.cross_entropy(self.model(x[part]), y[part]) * len(x[part]) / len(x)

    def result(self) -> list[Tensor]:
        """Patterns, values and the state of the optimiser."""
        found = []
        for layer in sparse_layers(self.model).values():
            state = self.optimizer.state[layer.values].items()
            found += [layer.pattern.indices, layer.values.detach(), *(t for k, t in state if k != "step")]
        return found


def _by_precision(make: MakeOptimizer, clip: float | None, steps: int = 9) -> list[Tensor]:
    loop, precision = Loop(make), mz.Precision("fp32")
    for step in range(steps):
        loop.optimizer.zero_grad()
        loop.topology.step(precision.step(loop.loss(step), loop.optimizer, clip_norm=clip))
    return loop.result()


def _assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    for ours, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@given(st.integers(0, 1000), st.sampled_from([1.0, 0.25, 1 / 3]))
def test_gradients_that_were_rounded_are_the_same(dtype: torch.dtype, seed: int, factor: float) -> None:
    collected = torch.randn(300, generator=torch.Generator().manual_seed(seed))
    change = change_between(collected, (collected * factor).to(dtype))
    assert change is not None
    assert change.factor == pytest.approx(factor, rel=torch.finfo(dtype).eps)
    assert change.bound == math.inf


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("parts", [1, 4])
def test_clipping_by_norm_reaches_grown_weights(make: MakeOptimizer, parts: int) -> None:
    loop = Loop(make)
    for step in range(9):
        loop.optimizer.zero_grad()
        for start in range(0, 16, 16 // parts):
            loop.loss(step, slice(start, start + 16 // parts)).backward()
        assert clip_grad_norm_(loop.model.parameters(), 0.05) > 0.1
        loop.optimizer.step()
        loop.topology.step()
    _assert_same(loop.result(), _by_precision(make, 0.05))


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_the_scale_of_a_grad_scaler_does_not_reach_grown_weights(make: MakeOptimizer, clip: float | None) -> None:
    loop, scaler = Loop(make), torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=3)
    for step in range(9):
        loop.optimizer.zero_grad()
        scaler.scale(loop.loss(step)).backward()
        if clip is not None:
            scaler.unscale_(loop.optimizer)
            clip_grad_norm_(loop.model.parameters(), clip)
        scaler.step(loop.optimizer)
        scaler.update()
        loop.topology.step()
    _assert_same(loop.result(), _by_precision(make, clip))


@pytest.mark.parametrize("make", [MAKES["sgd"], MAKES["adamw, fused"]])
def test_steps_that_a_grad_scaler_skips_leave_no_trace(make: MakeOptimizer) -> None:
    loop, scaler = Loop(make), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for step in range(9):
        for factor in (math.inf, 1.0) if step in (0, 2, 3, 7) else (1.0,):
            loop.optimizer.zero_grad()
            scaler.scale(loop.loss(step) * factor).backward()
            scaler.step(loop.optimizer)
            scaler.update()
            report = loop.topology.step()
            assert factor == 1 or report is None
    assert loop.topology.steps == 9
    _assert_same(loop.result(), _by_precision(make, None))


@pytest.mark.parametrize("scale", [1.0, 2.0**10])
def test_clipping_by_value_reaches_grown_weights(scale: float) -> None:
    bound, loop, scaler = 0.003, Loop(), torch.amp.GradScaler("cpu", init_scale=scale)
    moments = [torch.zeros(layer.weight_shape) for layer in sparse_layers(loop.model).values()]
    for step in range(3):
        loop.optimizer.zero_grad()
        scaler.scale(loop.loss(step)).backward()
        for moment, gradient in zip(moments, loop.topology.pending_gradients(), strict=True):
            moment.mul_(0.9).add_((gradient / scale).clamp(-bound, bound))
        scaler.unscale_(loop.optimizer)
        clip_grad_value_(loop.model.parameters(), bound)
        scaler.step(loop.optimizer)
        loop.topology.step()
        scaler.update()
    saved = loop.topology.state_dict()["layers"].values()
    for moment, entry in zip(moments, saved, strict=True):
        torch.testing.assert_close(entry["moments"]["momentum_buffer"], moment.view(-1), rtol=1e-5, atol=1e-8)


def test_what_is_done_to_the_pending_gradients_is_not_done_twice() -> None:
    loops = [Loop(), Loop()]
    for step in range(9):
        for loop in loops:
            loop.optimizer.zero_grad()
            loop.loss(step).backward()
            norm = clip_grad_norm_(loop.model.parameters(), 0.05)
            if loop is loops[0]:
                for gradient in loop.topology.pending_gradients():
                    gradient.mul_(0.05 / norm)
            loop.optimizer.step()
            loop.topology.step()
    _assert_same(loops[0].result(), loops[1].result())


def test_a_change_that_missing_weights_cannot_share_is_refused() -> None:
    def disturb(loop: Loop) -> None:
        loop.loss(0).backward()
        for layer in sparse_layers(loop.model).values():
            layer.values.grad += torch.randn(layer.nnz) * 0.01

    refused, handled = Loop(), Loop()
    disturb(refused)
    with pytest.raises(InputError, match=r"gradient of layer '0'.*one by one.*topology\.pending_gradients\(\)"):
        refused.optimizer.step()
    disturb(handled)
    for gradient in handled.topology.pending_gradients():
        gradient.add_(torch.randn(gradient.shape) * 0.01)
    handled.optimizer.step()
    handled.topology.step()


@pytest.mark.parametrize("told", ["by the other layer", "by the step before", "by nobody"])
def test_a_layer_without_a_sign_of_life_is_scaled_as_the_others(told: str) -> None:
    """The active weights of one layer see inputs that are always 0, its missing ones do not."""
    model = nn.ModuleList([mz.SparseLinear(8, 4, density=0.5, bias=False) for _ in range(2)])
    first, second = sparse_layers(model).values()
    mask = torch.zeros(4, 8, dtype=torch.bool)
    mask[:, :4] = True
    first.set_pattern(mz.Pattern.from_mask(mask), torch.ones(16))
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    topology = mz.SparseMomentum(model, optimizer, interval=4, total_steps=20, window=4, stagger=False)

    def step(x: Tensor, *layers: nn.Module) -> list[Tensor]:
        optimizer.zero_grad()
        (sum(layer(x).square().sum() + layer(x).sum() for layer in layers) * 1024).backward()
        expected = [gradient / 1024 for gradient in topology.pending_gradients()]
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= 1024
        optimizer.step()
        return expected

    x = torch.randn(6, 8)
    if told == "by the step before":
        step(x, first, second)
        topology.step()
    x[:, :4] = 0
    expected = step(x, first, second) if told == "by the other layer" else step(x, first)
    assert not first.values.grad.any()
    assert expected[0].any()
    assert len(topology.pending_gradients()) == (0 if told == "by nobody" else len(expected))
    for ours, theirs in zip(topology.pending_gradients(), expected, strict=told != "by nobody"):
        torch.testing.assert_close(ours, theirs)


def test_dense_gradients_may_have_any_strides() -> None:
    layer = mz.SparseConv2d(4, 6, 3, density=0.3)
    optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
    topology = mz.SparseMomentum(layer, optimizer, interval=4, total_steps=20, window=4, stagger=False)
    window = layer.training_window
    assert window is not None
    layer(torch.randn(2, 4, 8, 8)).square().mean().backward()
    assert window.pending is not None
    window.pending = window.pending.contiguous(memory_format=torch.channels_last)
    expected = window.pending * 0.25
    for parameter in layer.parameters():
        assert parameter.grad is not None
        parameter.grad *= 0.25
    optimizer.step()
    torch.testing.assert_close(topology.pending_gradients()[0], expected)


@pytest.mark.parametrize("mode", ["fp32", "fp16"])
def test_precision_may_step_on_gradients_that_missing_weights_cannot_share(mode: str) -> None:
    loop, precision = Loop(), mz.Precision(mode)
    precision.backward(loop.loss(0))
    expected = [gradient / precision.loss_scale for gradient in loop.topology.pending_gradients()]
    for layer in sparse_layers(loop.model).values():
        layer.values.grad += torch.randn(layer.nnz) * precision.loss_scale
    assert precision.update(loop.optimizer)
    for ours, theirs in zip(loop.topology.pending_gradients(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


numbers = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(st.lists(numbers, min_size=1, max_size=12), st.sampled_from([2.0**-16, 0.03, 1.0, 7.0]))
def test_a_factor_is_found(values: list[float], factor: float) -> None:
    collected = torch.tensor(values)
    change = change_between(collected, collected * factor)
    if not collected.any():
        assert change is None
    else:
        assert change is not None
        assert change.factor == pytest.approx(factor, rel=1e-5)
        assert change.bound == math.inf


@given(st.lists(numbers, min_size=1, max_size=12), st.floats(0.01, 50), st.sampled_from([2.0**-16, 1.0]))
def test_clipping_by_value_is_found(values: list[float], bound: float, factor: float) -> None:
    collected = torch.tensor([*values, 2 * bound, 0.5 * bound]) / factor
    used = (collected * factor).clamp(-bound, bound)
    change = change_between(collected, used)
    assert change is not None
    wide = torch.linspace(-100, 100, 9) / factor
    expected = (wide * factor).clamp(-bound, bound)
    change.apply_(wide)
    torch.testing.assert_close(wide, expected, rtol=1e-4, atol=1e-6)


def test_zeros_and_what_is_not_finite() -> None:
    some = torch.tensor([1.0, -2.0, 3.0])
    assert change_between(torch.zeros(3), torch.zeros(3)) is None
    assert change_between(some, torch.zeros(3)) == Change(factor=0.0)
    assert change_between(some, torch.tensor([1.0, math.nan, 3.0])) == NONE
    assert change_between(torch.tensor([math.inf, 1.0, 2.0]), torch.tensor([4.0, 1.0, 2.0])) == Change(
        factor=1.0, bound=4.0
    )
    assert change_between(some * 2**10, torch.sign(some), [1.0]) == Change(factor=1.0, bound=1.0)  # all are clipped
    for collected, used in ((torch.zeros(3), some), (some, some.flip(0)), (some.log(), some)):
        with pytest.raises(ValueError, match="one by one"):
            change_between(collected, used)


# -- the order of calls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mest", "rigl", "sparse_momentum"])
@pytest.mark.parametrize("clears", ["after", "to none", "to zero"])
def test_gradients_may_be_cleared_before_the_topology_is_told(method: str, clears: str) -> None:
    digests = []
    for order in ("after", clears):
        loop = Loop(method=method, gradient_weight=1.0)
        for step in range(9):
            loop.loss(step).backward()
            loop.optimizer.step()
            if order != "after":
                loop.optimizer.zero_grad(set_to_none=order == "to none")
            loop.topology.step()
            loop.optimizer.zero_grad()
        digests.append(mz.sparse.topology_digest(loop.model))
    assert digests[0] == digests[1]


def test_mest_prunes_by_the_gradient_of_the_step() -> None:
    loop = Loop(method="mest", gradient_weight=1e6, prune_rate=0.5)
    for step in range(4):
        loop.optimizer.zero_grad()
        loop.loss(step).backward()
        loop.optimizer.step()
        layer = sparse_layers(loop.model)["3"]
        before, gradient = layer.pattern.indices, layer.values.grad
        loop.topology.step()
    assert gradient is not None
    strongest = gradient.abs().topk(layer.nnz // 2).indices
    assert set(before[strongest].tolist()) <= set(layer.pattern.indices.tolist())


def test_a_closure_is_followed() -> None:
    loop = Loop()
    for step in range(9):

        def closure(step: int = step) -> float:
            loop.optimizer.zero_grad()
            loss = loop.loss(step)
            loss.backward()
            clip_grad_norm_(loop.model.parameters(), 0.05)
            return float(loss.detach())

        loop.optimizer.step(closure)
        loop.topology.step()
    _assert_same(loop.result(), _by_precision(MAKES["sgd"], 0.05))


def test_the_wrong_order_is_refused() -> None:
    loop = Loop(method="set")
    loop.topology.step()  # nothing has happened yet: as in a loop that begins with it
    loop.loss(0).backward()
    with pytest.raises(InputError, match=r"a call before the optimiser's step.*optimizer\.step\(\)"):
        loop.topology.step()
    loop.topology.step(False)
    loop.optimizer.step()
    loop.topology.step()
    assert loop.topology.steps == 1


def test_forgotten_calls_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    with caplog.at_level(logging.WARNING, "mezzotint.sparse.steps"):
        for step in range(4):
            loop.optimizer.zero_grad()
            loop.loss(step).backward()
            clip_grad_norm_(loop.model.parameters(), 0.05)
            loop.optimizer.step()
    assert [record.message.count("topology.step() was not called") for record in caplog.records] == [1]
    loop.topology.step()
    assert loop.topology.steps == 1
    assert loop.topology.pending_gradients() == []


def test_a_closed_or_forgotten_topology_lets_go(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    loop.topology.close()
    other = Loop()
    del other.topology
    with caplog.at_level(logging.WARNING):
        for each in (loop, other):
            for step in range(3):
                each.loss(step).backward()
                each.optimizer.step()
    assert not caplog.records
