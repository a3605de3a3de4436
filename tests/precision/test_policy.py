"""Do the precision modes cast, scale, skip and resume as they promise?"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mezzotint import Precision, densify, sparsify
from mezzotint.errors import CheckpointError, InputError, NotRegistered, RunError
from mezzotint.precision import MODES, attach_gradients


def _setup(mode: str = "fp32", **options: float) -> tuple[nn.Module, torch.optim.Optimizer, Precision]:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, Precision(mode, **options)  # type: ignore[arg-type]


def _loss(model: nn.Module, precision: Precision, factor: float = 1.0) -> torch.Tensor:
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with precision.autocast():
        return model(x).float().square().mean() * factor


@pytest.mark.parametrize(("mode", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_casts_linear_layers_and_keeps_fp32_masters(mode: str, dtype: str) -> None:
    model, optimizer, precision = _setup(mode)
    with precision.autocast():
        assert str(model(torch.randn(5, 6)).dtype) == f"torch.{dtype}"
    assert precision.step(_loss(model, precision), optimizer)
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("mode", sorted(MODES))
def test_gradients_are_those_of_the_unscaled_loss(mode: str) -> None:
    model, optimizer, precision = _setup(mode)
    other = copy.deepcopy(model)
    precision.step(_loss(model, precision), optimizer)
    _loss(other, Precision("fp32")).backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.05, atol=0.01 * theirs.grad.abs().max().item())


def test_tiny_gradients_survive_only_with_the_scale() -> None:
    for scale, survives in ((2.0**16, True), (1.0, False)):
        model, optimizer, precision = _setup("fp16", init_scale=scale)
        precision.step(_loss(model, precision, 1e-7), optimizer)
        assert (model[0].weight.grad.abs().max() > 0) == survives


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("factor", [float("inf"), float("nan"), 1e38])
def test_a_step_that_is_not_finite_is_skipped(mode: str, factor: float) -> None:
    model, optimizer, precision = _setup(mode)
    assert precision.step(_loss(model, precision), optimizer)
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    scale = precision.loss_scale
    optimizer.zero_grad()
    assert not precision.step(_loss(model, precision, factor) * 10, optimizer)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for key, value in state["state"].items():
        assert torch.equal(value["momentum_buffer"], optimizer.state_dict()["state"][key]["momentum_buffer"])
    assert precision.skipped == 1
    assert precision.loss_scale == (scale / 2 if mode == "fp16" else 1.0)


def test_scale_doubles_after_the_growth_interval() -> None:
    model, optimizer, precision = _setup("fp16", init_scale=1024.0, growth_interval=3)
    for expected in (1024, 1024, 2048, 2048, 2048, 4096):
        optimizer.zero_grad()
        assert precision.step(_loss(model, precision), optimizer)
        assert precision.loss_scale == expected
    fp32 = _setup("fp32", growth_interval=1)
    assert fp32[2].step(_loss(fp32[0], fp32[2]), fp32[1])
    assert fp32[2].loss_scale == 1


@pytest.mark.parametrize(("mode", "text"), [("bf16", "loss is nan for 3 steps in a row\\."), ("fp16", "down to 8192")])
def test_patience_ends(mode: str, text: str) -> None:
    model, optimizer, precision = _setup(mode, patience=3)
    for _ in range(2):
        assert not precision.step(_loss(model, precision, float("nan")), optimizer)
    with pytest.raises(RunError, match=text):
        precision.step(_loss(model, precision, float("nan")), optimizer)
    assert precision.skipped == 3


def test_a_clean_step_restores_patience() -> None:
    model, optimizer, precision = _setup("fp32", patience=2)
    for factor in (float("nan"), 1.0, float("nan"), 1.0):
        optimizer.zero_grad()
        precision.step(_loss(model, precision, factor), optimizer)
    assert precision.skipped == 2


def test_finite_loss_with_gradients_that_are_not_is_told_apart() -> None:
    model, optimizer, precision = _setup("fp32", patience=1)
    model[0].weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(RunError, match="gradients are not finite for 1 steps"):
        precision.step(_loss(model, precision), optimizer)


@pytest.mark.parametrize("mode", ["fp32", "fp16"])
def test_accumulation_equals_the_sum(mode: str) -> None:
    model, optimizer, precision = _setup(mode)
    other, whole = copy.deepcopy(model), Precision(mode)
    single = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        precision.backward(_loss(model, precision, 0.5))
    assert precision.update(optimizer)
    assert whole.step(_loss(other, whole), single)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", ["fp32", "fp16"])
def test_clipping_is_after_unscaling_and_covers_attached_gradients(mode: str) -> None:
    model, optimizer, precision = _setup(mode)
    extra = torch.full((2,), precision.loss_scale)
    attach_gradients(optimizer, lambda: [extra])
    plain = copy.deepcopy(model)
    _loss(plain, Precision("fp32")).backward()
    norm = torch.stack([p.grad.norm() for p in plain.parameters()]).norm().item()
    assert precision.step(_loss(model, precision), optimizer, clip_norm=norm / 4)
    clipped = torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()
    assert clipped == pytest.approx(norm / 4, rel=1e-3)
    torch.testing.assert_close(extra, torch.full((2,), 0.25), rtol=0.02, atol=0)


def test_attached_gradients_are_checked() -> None:
    model, optimizer, precision = _setup("fp32")
    attach_gradients(optimizer, lambda: [torch.tensor([float("nan")])])
    before = copy.deepcopy(model.state_dict())
    assert not precision.step(_loss(model, precision), optimizer)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_state_is_json_and_restores_exactly() -> None:
    model, optimizer, precision = _setup("fp16", init_scale=1024.0, growth_interval=5)
    for factor in (1.0, float("inf"), 1.0, 1.0):
        optimizer.zero_grad()
        precision.step(_loss(model, precision, factor), optimizer)
    state = json.loads(json.dumps(precision.state_dict()))
    other = Precision("fp16")
    other.load_state_dict(state)
    assert other.state_dict() == precision.state_dict()
    assert (other.loss_scale, other.skipped) == (512.0, 1)
    for _ in range(3):
        for twin in (precision, other):
            optimizer.zero_grad()
            twin.step(_loss(model, twin), optimizer)
    assert other.loss_scale == precision.loss_scale == 1024


def test_another_modes_state_is_refused() -> None:
    state = Precision("bf16").state_dict()
    with pytest.raises(CheckpointError, match="received bf16; allowed: fp16"):
        Precision("fp16").load_state_dict(state)
    with pytest.raises(CheckpointError, match="missing skipped"):
        Precision("bf16").load_state_dict({key: value for key, value in state.items() if key != "skipped"})


def test_bad_calls_are_told() -> None:
    model, optimizer, precision = _setup()
    with pytest.raises(NotRegistered, match="Did you mean 'bf16'"):
        Precision("bf61")
    with pytest.raises(InputError, match="patience"):
        Precision("fp32", patience=0)
    with pytest.raises(InputError, match=r"shape \(5, 2\).*mean or sum"):
        precision.step(model(torch.randn(5, 6)), optimizer)
    with pytest.raises(InputError, match="without gradient"):
        precision.step(torch.tensor(1.0), optimizer)
    with pytest.raises(InputError, match="no gradients"):
        precision.update(optimizer)
    assert precision.step(_loss(model, precision), optimizer)
    with pytest.raises(InputError, match="no backward pass since the last update"):
        precision.update(optimizer)


def test_half_parameters_are_refused() -> None:
    model, optimizer, precision = _setup("fp16")
    model.half()
    with pytest.raises(InputError, match="Keep the model in FP32"):
        precision.step(model(torch.randn(5, 6).half()).float().mean(), optimizer)


def test_one_element_losses_and_half_losses_are_scaled_in_fp32() -> None:
    model, optimizer, precision = _setup("fp16", init_scale=1024.0)  # more would overflow the loss itself
    with precision.autocast():
        loss = model(torch.randn(5, 6)).mean().reshape(1)
    assert loss.dtype == torch.float16
    assert precision.step(loss, optimizer)


def test_repr() -> None:
    assert repr(Precision("fp16")) == "Precision('fp16', device='cpu', loss_scale=65536, skipped=0)"


@pytest.mark.parametrize("swap", [lambda model: sparsify(model, 0.5), lambda model: densify(sparsify(model, 0.5))])
def test_an_optimiser_of_parameters_that_were_replaced_is_refused(swap: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    early = torch.optim.SGD(model.parameters(), lr=0.1)
    precision, x = Precision("fp32"), torch.randn(5, 4)
    assert precision.step(model(x).sum(), early)
    early.zero_grad()
    model = swap(model)
    with pytest.raises(InputError, match=r"optimizer: received a parameter \[3, 4\] .*Build the optimiser after"):
        precision.step(model(x).sum(), early)
    late = torch.optim.SGD(model.parameters(), lr=0.1)
    assert precision.step(model(x).sum(), late)
    head = torch.optim.SGD(model[2].parameters(), lr=0.1)
    assert precision.step(model(x).sum(), head)  # training a part is nobody's mistake
