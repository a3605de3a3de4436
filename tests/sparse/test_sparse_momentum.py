"""Does sparse momentum keep its promises: exact counts, no trace of skipped steps, exact resume?"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mezzotint import SparseLinear, SparseMomentum, sparsify
from mezzotint.errors import CheckpointError, InputError, NotRegistered
from mezzotint.sparse import sparse_layers, topology_digest

Make = Callable[..., Any]


def _same(a: Any, b: Any) -> bool:
    """Bit-for-bit equality of nested states."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _nnz(training: Any) -> int:
    return sum(layer.nnz for layer in sparse_layers(training.model).values())


def test_counts_are_conserved_and_reported(training: Make, each_optimizer: str) -> None:
    made = training(each_optimizer)
    before = {name: layer.nnz for name, layer in sparse_layers(made.model).items()}
    total = _nnz(made)
    reports = made.run(range(48))
    assert [report.step for report in reports] == [6, 12, 18, 24, 30, 36, 42]
    for report in reports:
        assert list(report.layers) == list(before)
        assert sum(change.after for change in report.layers.values()) == total
        assert sum(change.importance for change in report.layers.values()) == pytest.approx(1)
        for name, change in report.layers.items():
            assert change.before == before[name]
            assert change.after == change.before - change.pruned + change.grown
            assert change.density == change.after / made.model.get_submodule(name).pattern.numel
            before[name] = change.after
        assert sum(change.pruned for change in report.layers.values()) > 0
    assert [layer.nnz for layer in sparse_layers(made.model).values()] == list(before.values())
    rates = [report.prune_rate for report in reports]
    assert rates == sorted(rates, reverse=True)
    json.dumps(reports[0].as_record())


def test_training_learns(training: Make) -> None:
    made = training(total_steps=300, interval=30, window=10)
    first = sum(made.loss(step).item() for step in range(1000, 1010))
    made.run(range(300))
    assert sum(made.loss(step).item() for step in range(1000, 1010)) < 0.8 * first


def test_optimiser_state_follows_the_weights(training: Make, each_optimizer: str) -> None:
    made = training(each_optimizer, window=6)
    made.run(range(5))
    layers = sparse_layers(made.model)
    old = {name: (layer.pattern, copy.deepcopy(made.optimizer.state[layer.values])) for name, layer in layers.items()}
    made.optimizer.zero_grad()
    stepped = made.precision.step(made.loss(5), made.optimizer)
    stepped_state = {name: copy.deepcopy(made.optimizer.state[layer.values]) for name, layer in layers.items()}
    values = {name: layer.values.detach().clone() for name, layer in layers.items()}
    assert made.topology.step(stepped) is not None
    for name, layer in layers.items():
        pattern = old[name][0]
        before = dict(zip(pattern.indices.tolist(), range(pattern.nnz), strict=True))
        for key, tensor in made.optimizer.state[layer.values].items():
            if tensor.dim() == 0:
                assert tensor == stepped_state[name][key]
                continue
            assert tensor.shape == (layer.nnz,)
            for place, position in enumerate(layer.pattern.indices.tolist()):
                if position in before:
                    assert tensor[place] == stepped_state[name][key][before[position]]
        for place, position in enumerate(layer.pattern.indices.tolist()):
            expected = values[name][before[position]] if position in before else 0.0
            assert layer.values[place] == expected
        assert layer.values.grad is None


def test_grown_weights_start_with_the_windows_momentum(training: Make) -> None:
    made = training(window=3, stagger=False)
    dense = [torch.zeros(layer.weight_shape) for layer in sparse_layers(made.model).values()]
    patterns = {}
    for step in range(6):
        made.optimizer.zero_grad()
        stepped = made.precision.step(made.loss(step), made.optimizer)
        pending = made.topology.pending_gradients()
        assert len(pending) == (3 if step >= 3 else 0)
        dense = [0.9 * m + g for m, g in zip(dense, pending, strict=True)] if pending else dense
        patterns = {name: layer.pattern for name, layer in sparse_layers(made.model).items()}
        made.topology.step(stepped)
    grown = 0
    for (name, layer), momentum in zip(sparse_layers(made.model).items(), dense, strict=True):
        new = layer.pattern.to_mask() & ~patterns[name].to_mask()
        state = torch.zeros(layer.pattern.numel)
        state[layer.pattern.indices.long()] = made.optimizer.state[layer.values]["momentum_buffer"]
        torch.testing.assert_close(state[new.reshape(-1)], momentum[new])
        grown += int(new.sum())
    assert grown > 5


def test_adams_grown_weights_do_not_jump(training: Make) -> None:
    made = training("adam", window=2, interval=30, total_steps=90, stagger=False)
    made.run(range(29))
    before = {name: layer.pattern for name, layer in sparse_layers(made.model).items()}
    made.run([29])
    values = {name: layer.values.detach().clone() for name, layer in sparse_layers(made.model).items()}
    made.run([30])
    for name, layer in sparse_layers(made.model).items():
        new = ~torch.isin(layer.pattern.indices, before[name].indices)
        steps = (layer.values.detach() - values[name])[new].abs()
        assert steps.numel() > 0
        assert steps.max() < 3 * 0.003


@pytest.mark.parametrize("window", [1, 4, 6])
@pytest.mark.parametrize("mode", ["fp32", "bf16", "fp16", "fp16-forward"])
def test_a_skipped_step_leaves_no_trace(training: Make, mode: str, window: int) -> None:
    made = training(mode=mode, window=window)
    made.run(range(4))
    for injected in range(4, 20):
        state = copy.deepcopy(made.state())
        made.optimizer.zero_grad()
        loss = made.loss(injected) * float("inf" if injected % 2 else "nan")
        stepped = made.precision.step(loss, made.optimizer)
        assert not stepped
        assert made.topology.step(stepped) is None
        after = made.state()
        assert _same(state["model"], after["model"])
        assert _same(state["optimizer"], after["optimizer"])
        assert _same(state["topology"], after["topology"])
        scale = state["precision"]["value"] / 2 if mode == "fp16" else 1.0
        assert after["precision"]["value"] == made.precision.loss_scale == scale
        assert after["precision"]["skipped"] == state["precision"]["skipped"] + 1
        made.run([injected])  # the same step without the overflow
    assert made.topology.steps == 20


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_run_with_skipped_steps_equals_the_run_without(training: Make, overflow: list[bool]) -> None:
    torch.manual_seed(0)
    disturbed = training(mode="bf16")
    torch.manual_seed(0)
    plain = training(mode="bf16")
    for step, injected in enumerate(overflow):
        if injected:
            disturbed.optimizer.zero_grad()
            loss = disturbed.loss(step) * float("nan")
            disturbed.topology.step(disturbed.precision.step(loss, disturbed.optimizer))
        disturbed.run([step])
        plain.run([step])
    assert disturbed.precision.skipped == sum(overflow)
    for part in ("model", "optimizer", "topology"):
        assert _same(disturbed.state()[part], plain.state()[part])


def _assert_resumes(training: Make, stop: int, **settings: Any) -> None:
    """Save after ``stop`` steps, load into another network, go on: equal, bit for bit, to never having stopped."""
    whole = training(**settings)
    whole.run(range(stop))
    buffer = io.BytesIO()
    torch.save(whole.state(), buffer)
    buffer.seek(0)
    torch.manual_seed(99)  # another network, another pattern, until the checkpoint is loaded
    resumed = training(**settings)
    resumed.load(torch.load(buffer, weights_only=True))
    whole.run(range(stop, 15))
    resumed.run(range(stop, 15))
    assert _same(resumed.state(), whole.state())


@pytest.mark.parametrize("stop", [1, 3, 5, 6, 7, 10, 12])  # before, in and after windows
@pytest.mark.parametrize("window", [4, 6])
def test_resuming_anywhere_is_bit_exact(training: Make, window: int, stop: int) -> None:
    _assert_resumes(training, stop, window=window, mode="bf16")


@pytest.mark.parametrize("mode", ["fp32", "fp16", "fp16-forward"])
def test_resuming_in_a_window_is_bit_exact(training: Make, each_optimizer: str, mode: str) -> None:
    _assert_resumes(training, 10, optimizer=each_optimizer, mode=mode)


def test_state_has_only_json_and_tensors_and_is_a_copy(training: Make) -> None:
    made = training()
    made.run(range(5))
    made.precision.backward(made.loss(5))  # gradients are pending, too
    state = made.topology.state_dict()

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: plain(value) for key, value in x.items()}
        return None if isinstance(x, torch.Tensor) else x

    json.dumps(plain(state))
    assert all(entry["pending"] is not None for entry in state["layers"].values())
    kept = copy.deepcopy(state)
    made.topology.step(made.precision.update(made.optimizer))
    assert _same(state, kept)
    other = training()
    other.model.load_state_dict(made.model.state_dict())
    with pytest.raises(CheckpointError, match="Load the model of the same checkpoint first"):
        other.topology.load_state_dict(state)


def test_pending_gradients_survive_a_checkpoint(training: Make) -> None:
    made = training(stagger=False)
    made.run(range(5))
    made.optimizer.zero_grad()
    made.precision.backward(made.loss(5))
    state = copy.deepcopy(made.state())
    torch.manual_seed(1)
    other = training(stagger=False)
    other.load(state)
    mine, theirs = made.topology.pending_gradients(), other.topology.pending_gradients()
    assert len(mine) == 3
    assert _same(mine, theirs)


def test_other_settings_are_refused(training: Make) -> None:
    state = training().topology.state_dict()
    with pytest.raises(CheckpointError, match="topology setting 'window': received 4; allowed: 5, as of this run"):
        training(window=5).topology.load_state_dict(state)
    with pytest.raises(CheckpointError, match="redistribution"):
        training(redistribution="none").topology.load_state_dict(state)
    with pytest.raises(CheckpointError, match="no 'steps'"):
        training().topology.load_state_dict({key: value for key, value in state.items() if key != "steps"})


def test_micro_batches_add_up(training: Make) -> None:
    torch.manual_seed(0)
    whole = training(window=6)
    torch.manual_seed(0)
    parts = training(window=6)
    for step in range(14):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 1, 6, 6, generator=generator)
        for made, chunks in ((whole, 1), (parts, 4)):
            made.optimizer.zero_grad()
            for chunk in x.chunk(chunks):
                made.precision.backward(made.model(chunk).square().sum() / 16)
            made.topology.step(made.precision.update(made.optimizer))
    assert topology_digest(whole.model) == topology_digest(parts.model)
    for ours, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_dense_window_sees_unscaled_and_clipped_gradients(training: Make) -> None:
    pending = []
    for mode, clip in (("fp32", None), ("fp16", None), ("fp32", 0.01), ("fp16", 0.01)):
        torch.manual_seed(0)
        made = training(mode=mode, window=6)
        made.precision.step(made.loss(0), made.optimizer, clip_norm=clip)
        norm = torch.stack([p.grad.norm() for p in made.model.parameters()]).norm()
        assert clip is None or norm == pytest.approx(clip, rel=1e-3)
        for layer, dense in zip(sparse_layers(made.model).values(), made.topology.pending_gradients(), strict=True):
            sampled = dense.reshape(-1)[layer.pattern.indices.long()]
            torch.testing.assert_close(sampled, layer.values.grad, rtol=1e-4, atol=1e-6 * norm.item())
        pending.append(torch.cat([dense.reshape(-1) for dense in made.topology.pending_gradients()]))
    torch.testing.assert_close(pending[0], pending[1], rtol=0.05, atol=0.005 * pending[0].abs().max().item())
    assert pending[2].norm() < 0.2 * pending[0].norm()


def test_overflow_in_the_dense_gradient_alone_skips_the_step(training: Make) -> None:
    made = training(window=6)
    before = copy.deepcopy(made.model.state_dict())
    made.precision.backward(made.loss(0))
    made.topology.pending_gradients()[0].view(-1)[0] = float("inf")
    assert not made.precision.update(made.optimizer)
    assert _same(before, made.model.state_dict())


def test_frozen_layers_are_left_alone(training: Make) -> None:
    made = training(density=0.5)
    layers = sparse_layers(made.model)
    layers["3"].values.requires_grad_(False)
    pattern, values = layers["3"].pattern, layers["3"].values.detach().clone()
    reports = made.run(range(20))
    assert [list(report.layers) for report in reports] == [["0", "5"]] * 3
    assert layers["3"].pattern is pattern
    assert torch.equal(layers["3"].values, values)


def test_freezing_everything_later_ends_the_updates(training: Make) -> None:
    made = training()
    made.run(range(4))
    for layer in sparse_layers(made.model).values():
        layer.values.requires_grad_(False)
    assert made.run(range(4, 20)) == []


def test_a_layer_that_takes_no_part_does_not_disturb(training: Make) -> None:
    made = training()
    idle = SparseLinear(8, 8, density=0.5)
    made.model.register_module("idle", idle)
    made.optimizer.add_param_group({"params": list(idle.parameters())})
    topology = SparseMomentum(made.model, made.optimizer, interval=6, total_steps=48, window=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.model, "forward", lambda x: nn.Sequential(*list(made.model)[:-1])(x))
        for step in range(6):
            made.optimizer.zero_grad()
            report = topology.step(made.precision.step(made.loss(step), made.optimizer))
    assert report is not None
    assert report.layers["idle"].importance == 0
    assert sum(change.after for change in report.layers.values()) == sum(c.before for c in report.layers.values())


@pytest.mark.parametrize("by", ["momentum", "magnitude", "nonzeros", "none"])
def test_redistributions(training: Make, by: str) -> None:
    made = training(redistribution=by)
    counts = {name: layer.nnz for name, layer in sparse_layers(made.model).items()}
    total = _nnz(made)
    made.run(range(12))
    assert _nnz(made) == total
    same = counts == {name: layer.nnz for name, layer in sparse_layers(made.model).items()}
    assert same == (by == "none")


def test_two_learning_rates_and_settings_by_group() -> None:
    model = sparsify(nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 4)), 0.3)
    groups = [{"params": model[0].parameters(), "momentum": 0.5}, {"params": model[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    topology = SparseMomentum(model, optimizer, interval=4, total_steps=20, window=4)
    expected = [torch.zeros(10, 20), torch.zeros(4, 10)]
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()
        for moment, mu, gradient in zip(expected, (0.5, 0.9), topology.pending_gradients(), strict=True):
            moment.mul_(mu).add_(gradient)
        topology.step()
    saved = topology.state_dict()["layers"]
    for moment, name in zip(expected, ("0", "2"), strict=True):
        torch.testing.assert_close(saved[name]["moments"]["momentum_buffer"], moment.reshape(-1))


def test_a_new_topology_on_the_same_model_takes_over(training: Make) -> None:
    made = training(window=6)
    made.topology.close()
    made.precision.step(made.loss(0), made.optimizer)
    assert made.topology.pending_gradients() == []
    made.topology = SparseMomentum(made.model, made.optimizer, interval=6, total_steps=48, window=6)
    made.run(range(7))
    assert len(made.topology.pending_gradients()) == 0
    assert made.topology.steps == 7


def test_the_optimiser_must_hold_the_sparse_values() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    early = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsify(model, 0.5)
    with pytest.raises(InputError, match=r"layer '0'.*Build the optimiser after sparsify\(\)"):
        SparseMomentum(model, early, interval=2, total_steps=10)
    late = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="SGD without momentum"):
        SparseMomentum(model, late, interval=2, total_steps=10)


def test_bad_settings_are_refused() -> None:
    dense = nn.Linear(3, 3)
    with pytest.raises(InputError, match=r"no sparse layer.*Call sparsify\(\)"):
        SparseMomentum(dense, torch.optim.SGD(dense.parameters(), lr=0.1, momentum=0.9), interval=1, total_steps=2)
    model = sparsify(nn.Linear(3, 3), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(NotRegistered, match="Did you mean 'momentum'"):
        SparseMomentum(model, optimizer, interval=1, total_steps=2, redistribution="momentun")
    with pytest.raises(InputError, match="prune_rate"):
        SparseMomentum(model, optimizer, interval=1, total_steps=2, prune_rate=2)
