"""Does an unmodified model train in the native layout as it does in the plain one, and stay the model that it was?

Tolerances: in float32 outputs and gradients agree to 1e-4 of their norm (sums run in another order, and a ReLU may fall
on the other side of zero); in bfloat16 both layouts are as near to float32 as the other, within a factor of two.
"""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.errors import NotRegistered, RunError, ShapeError
from mezzotint.kernels import launch, native, native_backward
from mezzotint.lowering import attach, detach, explain, steps
from mezzotint.lowering.border import cell_type
from mezzotint.sparse import sparse_layers

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


class Block(nn.Module):
    """A basic block with functional ReLU and a plain sum, as many people write it."""

    def __init__(self, inputs: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.short = nn.Sequential()
        if stride != 1 or inputs != out:
            self.short = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.short(x))


class TheirResNet18(nn.Module):
    """A ResNet-18 for small images, written without a thought of this library."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        pairs = itertools.pairwise(sizes)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(Block(before, after, 1 if stage == 0 else 2), Block(after, after, 1))
                for stage, (before, after) in enumerate(pairs)
            )
        )
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(F.avg_pool2d(x, x.shape[-1]).flatten(1))
        return logits


def biased() -> nn.Module:
    """Biases, no batch norm, a pooling in the middle, a linear layer behind a view."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 12, 5, padding=2, stride=2),
        nn.BatchNorm2d(12, affine=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(12, 8, 3, dilation=2, padding=2, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "their resnet18": TheirResNet18,
    "biased": biased,
    "resnet20": lambda: mz.models.build("resnet20", num_classes=10, image_size=16),
    "wrn_16_2": lambda: mz.models.build("wrn_16_2", num_classes=10, image_size=16),
}


def pair(make: Callable[[], nn.Module], density: float = 0.3) -> tuple[nn.Module, nn.Module]:
    """The same sparse network, in native and in plain layout."""
    torch.manual_seed(0)
    network = mz.sparsify(make(), density, "uniform", init="rescale", layout="native")
    return network, detach(copy.deepcopy(network))


def trained_on(network: nn.Module, x: Tensor, mode: str = "fp32") -> dict[str, Tensor]:
    """Output, gradients and buffers after one forward and backward pass."""
    x = x.clone().requires_grad_()
    with mz.Precision(mode).autocast():
        out = network(x)
    (out.float() * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert x.grad is not None
    found = {"out": out.detach().float(), "x": x.grad}
    found |= {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return found | {f"buffer {name}": buffer.detach().float() for name, buffer in network.named_buffers()}


def test_a_dense_first_convolution_trains_natively_too() -> None:
    torch.manual_seed(0)
    network = TheirResNet18().to(memory_format=torch.channels_last)
    network = mz.sparsify(network, 0.3, "uniform", exclude=("conv1", "fc"), layout="native")
    plain = detach(copy.deepcopy(network))
    x = torch.randn(7, 3, 16, 16)
    found, expected = trained_on(network, x), trained_on(plain, x)
    assert "conv1: native, in one step with" in explain(network)
    assert found["conv1.weight"].shape == (8, 3, 3, 3)
    for key, value in expected.items():
        assert error(found[key], value) < 2e-3, key


def error(found: Tensor, expected: Tensor) -> float:
    # A bias before a batch norm has no gradient: the plain layout gives it rounding errors, the native one zero.
    return float((found - expected).norm() / (expected.norm() + 1e-3))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [2, 19])
def test_gradients_are_those_of_the_plain_layout(name: str, batch: int) -> None:
    network, plain = pair(NETWORKS[name])
    x = torch.randn(batch, 3, 16, 16)
    found = trained_on(network, x)
    with launch.policy("native"):  # another kernel rounds otherwise, and where a ReLU's input is zero, that shows
        expected = trained_on(plain, x)
    assert "plain layout" not in explain(network)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert error(found[key], value) < 2e-3, key


def test_gradients_are_those_at_the_weights_of_the_forward_pass() -> None:
    """``functional_call`` takes its weights away again before the backward pass comes."""

    def gradients(network: nn.Module) -> list[Tensor]:
        given = {name: (value.detach() * 2).requires_grad_() for name, value in network.named_parameters()}
        torch.manual_seed(2)
        out = torch.func.functional_call(network, given, (torch.randn(19, 3, 12, 12),))
        return list(torch.autograd.grad(out.square().mean(), list(given.values())))

    plain, led = pair(TheirResNet18)
    for found, expected in zip(gradients(led), gradients(plain), strict=True):
        assert error(found, expected) < 1e-4


class Bottleneck(nn.Module):
    """Pointwise, 3x3, pointwise, around a bend; the second pointwise layer adds and its batch norm follows."""

    def __init__(self, wide: int = 24, narrow: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow)
        self.conv2, self.bn2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow)
        self.conv3, self.bn3 = nn.Conv2d(narrow, wide, 1, bias=True), nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + x)


@pytest.mark.parametrize("batch", [2, 19])
@pytest.mark.parametrize("frozen", ["", "1.conv3.values", "1.conv1.values", "1.bn3.weight"])
def test_layers_that_go_back_in_one_pass_get_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch, batch: int, frozen: str
) -> None:
    went: list[int] = []
    at_once = native_backward.conv2d_backward
    monkeypatch.setattr(native_backward, "_LARGE", 0)
    monkeypatch.setattr(steps, "conv2d_backward", lambda *a, **k: (went.append(1), at_once(*a, **k))[1])
    ends = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
    network, plain = pair(lambda: nn.Sequential(nn.Conv2d(3, 24, 3), Bottleneck(), Bottleneck(), *ends), density=0.8)
    for each in (network, plain):
        for name, parameter in each.named_parameters():
            parameter.requires_grad_(name != frozen)
    x = torch.randn(batch, 3, 9, 16)
    found = trained_on(network, x)
    with launch.policy("native"):
        expected = trained_on(plain, x)
    assert len(went) == (3 if frozen.endswith("values") else 4), "a layer without gradient goes back alone"
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key.endswith("conv3.bias"):
            assert not found[key].any(), "a batch norm takes the mean away"
        else:
            assert error(found[key], value) < 2e-3, key


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", ["bf16", "fp16"])
def test_half_precision_is_as_near_to_float32_as_in_the_plain_layout(name: str, mode: str) -> None:
    network, plain = pair(NETWORKS[name])
    x = torch.randn(33, 3, 16, 16)
    truth = trained_on(copy.deepcopy(plain), x)
    found, expected = trained_on(network, x, mode), trained_on(plain, x, mode)
    for key, value in truth.items():
        assert error(found[key], value) < 2 * error(expected[key], value) + 0.02, key


@pytest.mark.parametrize("mode", ["bf16", "fp16"])
@pytest.mark.parametrize("batch", [1, 16, 17])
def test_few_images_fill_cells_of_float32_which_round_nothing(mode: str, batch: int) -> None:
    network, plain = pair(NETWORKS["wrn_16_2"], 0.1)
    x = torch.randn(batch, 3, 16, 16)
    truth, found = trained_on(plain, x), trained_on(network, x, mode)
    statistics = [error(found[key], value) for key, value in truth.items() if key.endswith("running_var")]
    assert (max(statistics) < 1e-5) == (batch <= 16)


@pytest.mark.parametrize("batch", [16, 17])
def test_what_leaves_a_segment_has_the_type_of_the_region(batch: int) -> None:
    network = mz.sparsify(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), 0.1, layout="native")
    x = torch.randn(batch, 3, 9, 9, dtype=torch.bfloat16).requires_grad_()
    with mz.Precision("bf16").autocast():
        y = network(x)
    y.sum().backward()
    assert "plain layout" not in explain(network)
    assert x.grad is not None
    assert (y.dtype, x.grad.dtype) == (torch.bfloat16, torch.bfloat16)


def test_a_matrix_unit_keeps_half_empty_cells_of_many_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = sparse_layers(mz.sparsify(nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)), 0.3, exclude=())).values()
    for unit, cells in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(native, "has_matrix_unit", lambda unit=unit: unit)
        assert cell_type(layers, 8, torch.bfloat16) == cells
        assert cell_type(layers, 8, torch.float16) == torch.float32, "it multiplies BF16 alone"
        assert cell_type(layers, 17, torch.float16) == torch.float16


@pytest.mark.parametrize("mode", ["fp32", "bf16"])
def test_loss_curves_are_those_of_the_plain_layout(mode: str) -> None:
    """Somebody else's ResNet-18, 25 steps: mean losses within 0.1 % (float32) and 5 % (bfloat16) of each other.

    Losses agree in seven digits until the last bit of some sum, which is another one on every CPU, turns a ReLU. At a
    rate of 0.01 that grows to 0.6 % of the mean, at 0.05 to 2 %.
    """
    curves = []
    for network in pair(TheirResNet18, 0.2):
        generator = torch.Generator().manual_seed(5)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.003, momentum=0.9)
        precision, losses = mz.Precision(mode), []
        for _ in range(25):
            labels = torch.randint(0, 10, (24,), generator=generator)
            x = torch.randn(24, 3, 12, 12, generator=generator) + labels.view(-1, 1, 1, 1) / 3
            with precision.autocast():
                loss = F.cross_entropy(network(x).float(), labels)
            optimizer.zero_grad(set_to_none=True)
            precision.step(loss, optimizer)
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    native_curve, plain_curve = curves
    assert plain_curve[-5:].mean() < plain_curve[:5].mean(), "it learns"
    tolerance = 0.001 if mode == "fp32" else 0.05
    assert abs(native_curve.mean() / plain_curve.mean() - 1) < tolerance


def test_evaluation_agrees_too_and_leaves_statistics_alone() -> None:
    network, plain = pair(TheirResNet18)
    x = torch.randn(5, 3, 16, 16)
    for each in (network, plain):
        each(x)
        each.eval()
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_frozen_batch_norms_and_parameters_stay_frozen() -> None:
    network, plain = pair(TheirResNet18)
    for each in (network, plain):
        for module in each.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        each.layers[0][0].conv1.values.requires_grad_(False)
        each.layers[1][0].bn1.weight.requires_grad_(False)
    x = torch.randn(6, 3, 16, 16)
    found, expected = trained_on(network, x), trained_on(plain, x)
    assert found.keys() == expected.keys()
    assert "layers.0.0.conv1.values" not in found
    for key, value in expected.items():
        assert error(found[key], value) < 2e-3, key


def test_hooks_fire_and_modules_may_be_swapped_at_any_time() -> None:
    network, plain = pair(TheirResNet18)
    x, seen = torch.randn(3, 3, 16, 16), []
    network(x)
    handle = network.layers[1][0].bn1.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    torch.testing.assert_close(network(x), plain(x), rtol=1e-3, atol=1e-3)
    assert seen == [(3, 16, 8, 8)]
    assert "it carries forward hooks" in explain(network)
    handle.remove()
    network.fc = nn.Linear(64, 3)
    assert network(x).shape == (3, 3)


def test_the_model_stays_what_it_was() -> None:
    network, plain = pair(TheirResNet18)
    assert type(network) is TheirResNet18
    assert list(network.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, 16, 16)
    network.eval()
    plain.eval()
    with torch.no_grad():
        expected = plain(x)
        for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            torch.testing.assert_close(other(x), expected, rtol=1e-4, atol=1e-4)
            assert "native" in explain(other)
        compiled = torch.compile(network, backend="aot_eager")
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-4)
        exported = torch.export.export(network, (x,))
        torch.testing.assert_close(exported.module()(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mz.densify(network)(x), expected, rtol=1e-4, atol=1e-4)


def test_dense_windows_are_fed() -> None:
    network, plain = pair(TheirResNet18)
    dense = []
    for each in (network, plain):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9)
        topology = mz.SparseMomentum(each, optimizer, interval=4, total_steps=40, window=2)
        torch.manual_seed(1)
        for _ in range(3):
            each(torch.randn(4, 3, 16, 16)).square().mean().backward()
            optimizer.step()
            topology.step(True)
            optimizer.zero_grad(set_to_none=True)
        each(torch.randn(4, 3, 16, 16)).square().mean().backward()
        windows = [layer.training_window for layer in sparse_layers(each).values()]
        dense.append([window.pending for window in windows if window is not None and window.pending is not None])
    assert len(dense[0]) == len(dense[1]) > 10
    for one, two in zip(*dense, strict=True):
        assert error(one, two) < 1e-2


def test_a_model_that_cannot_be_traced_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x) if x.sum() > 0 else -self.conv(x)
            return y

    network = mz.sparsify(Branching(), 0.5, layout="native")
    with caplog.at_level(logging.WARNING, "mezzotint.lowering.attach"):
        network(torch.ones(1, 3, 5, 5))
        network(-torch.ones(1, 3, 5, 5)).sum().backward()
    assert len(caplog.records) == 1
    assert "plain layout, because torch.fx cannot trace it" in caplog.text
    assert "plain layout" in explain(network)


def test_a_network_without_convolutions_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    network = mz.sparsify(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2)), 0.5)
    with caplog.at_level(logging.WARNING, "mezzotint.lowering"):
        network(torch.randn(3, 12)).sum().backward()
        mz.lower(network.eval())(torch.randn(3, 12))
    assert not caplog.records
    assert "plain layout, because no sparse convolution" in explain(network)


def test_a_second_backward_pass_is_refused() -> None:
    network, _ = pair(biased)
    loss = network(torch.randn(2, 3, 16, 16)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RunError, match=r"second pass.*layout='plain'"):
        loss.backward()


@pytest.mark.parametrize("of", [Tensor.sum, Tensor.norm])
def test_gradients_of_gradients_are_refused(of: Callable[[Tensor], Tensor]) -> None:
    """Also where the output's gradient is a constant: theirs are none."""
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    network = mz.sparsify(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), 0.5, layout="native")
    (gradient,) = torch.autograd.grad(of(network(x)), x, create_graph=True)
    (expected,) = torch.autograd.grad(of(network(x)), x)
    assert torch.equal(gradient, expected)
    with pytest.raises(RunError, match=r"create_graph.*layout='plain'"):
        (of(network(x)) + gradient.norm()).backward()


def test_a_plain_layout_can_be_chosen() -> None:
    assert "forward" not in mz.sparsify(biased(), 0.5, layout="plain").__dict__
    with pytest.raises(NotRegistered, match="native, plain"):
        mz.sparsify(biased(), 0.5, layout="nativ")
    layer: Any = mz.sparsify(nn.Conv2d(3, 4, 3), 0.5)
    assert attach(layer) is layer
    assert "forward" not in layer.__dict__


def test_small_batches_and_high_densities_run_in_the_plain_layout_and_say_so() -> None:
    network = mz.sparsify(TheirResNet18(width=64), 0.1, "uniform")
    network(torch.randn(6, 3, 32, 32))
    assert "The last call" not in explain(network)
    network(torch.randn(2, 3, 32, 32))
    assert "The last call ran in the plain layout: a batch of 2 would cost 2.6 times" in explain(network)
    assert "lower" not in explain(network)
    network.eval()(torch.randn(2, 3, 32, 32))
    assert "in the plain one; for inference, mezzotint.lower is faster." in explain(network)
    network.train()(torch.randn(16, 3, 32, 32))
    assert "plain layout" not in explain(network)
    small = mz.sparsify(TheirResNet18(), 0.1, "uniform")
    small(torch.randn(1, 3, 12, 12))  # what a layer's calls cost is more than what it computes
    assert "plain layout" not in explain(small)
    dense = mz.sparsify(TheirResNet18(width=64), 0.5, "uniform")
    dense.eval()(torch.randn(16, 3, 32, 32))
    assert "mezzotint.lower" not in explain(dense)
    assert "a batch of 16 would cost 1.3 times its dense multiply-adds" in explain(dense)
    layers = [nn.Conv2d(256, 256, 1), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 256, 1)]
    pointwise = mz.sparsify(nn.Sequential(*layers), 0.1, "uniform")
    pointwise(torch.randn(8, 256, 48, 48))  # half of the lanes are empty: windows would gain all the same
    assert "0.6 times its dense multiply-adds in the native layout, 0.4 times in the plain one" in explain(pointwise)


def _frames(told: pytest.ExceptionInfo[BaseException]) -> list[str]:
    """The functions of this file that an error went through."""
    return [frame.name for frame in told.traceback if str(frame.path) == __file__]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("planned", [True, False])
def test_wrong_inputs_are_told_by_the_models_own_forward(
    training: bool, planned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    network = mz.sparsify(TheirResNet18(), 0.1, layout="native").train(training)
    right = torch.randn(4, 3, 12, 12)
    if planned:
        network(right)
    for wrong, kind, words in (
        (right[0], ValueError, r"expected 4D input \(got 3D input\)"),
        (right[:, :1], ShapeError, "input channels: received 1; allowed: 3"),
        (right.double(), RuntimeError, "mixed dtype"),
    ):
        with pytest.raises(kind, match=words) as told:
            network(wrong)
        assert "While executing" not in str(told.value)
        assert told.value.__context__ is None
        assert "forward" in _frames(told)
    assert capfd.readouterr().err == ""
    network(right)
    assert "plain layout" not in explain(network)


@pytest.mark.parametrize("between", [(), (nn.ReLU,)])
def test_one_number_a_channel_has_no_statistics(between: tuple[type[nn.Module], ...]) -> None:
    tracked = nn.BatchNorm2d(4)
    layers = [nn.Conv2d(3, 4, 3), *(kind() for kind in between), tracked]
    network = mz.sparsify(nn.Sequential(*layers), 0.5, layout="native")
    with pytest.raises(ValueError, match=r"more than 1 value per channel when training, got input size .*1, 4, 1, 1"):
        network(torch.randn(1, 3, 3, 3))
    assert torch.equal(tracked.running_var, torch.ones(4))
    network(torch.randn(2, 3, 3, 3)).sum().backward()
    assert network.forward.step_of("0").startswith("native")
    network.eval()(torch.randn(1, 3, 3, 3))
    tracked.running_mean = tracked.running_var = None
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.randn(1, 3, 3, 3))


def test_an_error_of_the_native_forward_alone_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = mz.sparsify(TheirResNet18(), 0.1, layout="native"), torch.randn(2, 3, 12, 12)
    network(x)
    (lowered,) = network.forward._lowered.values()

    def broken(*_: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(lowered.module, "forward", broken)
    with pytest.raises(KeyError, match="of ours"):
        network(x)


def test_a_model_of_one_batch_size_runs_in_the_plain_layout_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class OfFour(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x).view(4, 64)
            return y

    network, x = mz.sparsify(OfFour(), 0.5, layout="native"), torch.randn(4, 3, 6, 6)
    with caplog.at_level(logging.WARNING, "mezzotint.lowering.attach"):
        with pytest.raises(RuntimeError, match="invalid for input of size"):
            network(x[:3])
        assert not caplog.records
        assert network(x).shape == network(x).shape == (4, 64)
    assert len(caplog.records) == 1
    assert "does not run on two images of its input: shape '[4, 64]'" in caplog.text


def test_single_images_run_where_the_model_takes_them() -> None:
    network = mz.sparsify(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), 0.5, layout="native").eval()
    x = torch.randn(2, 3, 9, 9)
    batch = network(x)
    assert network.forward.step_of("0").startswith("native")
    torch.testing.assert_close(network(x[0]), batch[0])
    assert "plain layout, because it does not run on two images" in explain(network)
    assert torch.equal(network(x), batch)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*deprecated:DeprecationWarning")
def test_jit_traces_the_plain_layout() -> None:
    network = mz.sparsify(TheirResNet18(), 0.1).eval()
    traced = torch.jit.trace(network, torch.randn(16, 3, 12, 12), check_trace=False)
    x = torch.randn(5, 3, 12, 12)
    torch.testing.assert_close(traced(x), network(x), atol=1e-4, rtol=1e-4)
