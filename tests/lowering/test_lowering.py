"""Does a lowered model compute what the model computes, stay native where it can, and say why where it cannot?

Tolerance: 1e-5 absolute and 1e-4 relative in float32. The two differ only in rounding: batch norm is one multiply-add
in the lowered model, and sums run in another order.
"""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.deploy import LoweredModel
from mezzotint.errors import InputError, NotRegistered, ShapeError
from mezzotint.kernels import native
from mezzotint.lowering.native_steps import FromNative, NativeConv, NativePointwise, NativeTensor, ToNative
from mezzotint.sparse import SparseConv2d

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def lower(model: nn.Module, example_input: Any = None) -> LoweredModel:
    """In the native layout, whatever the batch."""
    return mz.lower(model, example_input, layout="native")


def close(lowered: LoweredModel, model: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        expected = model(*inputs)
    torch.testing.assert_close(lowered(*inputs), expected, rtol=1e-4, atol=1e-5)


def prepared(model: nn.Module, density: float = 0.3, exclude: Any = ()) -> nn.Module:
    """Sparse, with running statistics that a trained network might have, in evaluation mode."""
    model = mz.sparsify(model, density, "uniform", exclude=exclude, layout="plain")
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = (module.num_features,)
            module.running_mean = torch.randn(shape, generator=generator) * 0.3
            module.running_var = torch.rand(shape, generator=generator) + 0.5
            if module.affine:
                module.weight.data = torch.randn(shape, generator=generator)
                module.bias.data = torch.randn(shape, generator=generator)
    return model.eval()


def count(lowered: LoweredModel, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in lowered.modules())


def stack() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, padding=1),
    )


class Residual(nn.Module):
    """A downsampling block as torchvision writes it, then a plain head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.downsample = nn.Sequential(nn.Conv2d(4, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8, affine=False))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        identity = self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        logits: Tensor = self.head(self.relu(out).mean((2, 3)))
        return logits


@pytest.mark.parametrize(("name", "size"), [("resnet20", 16), ("wrn_16_2", 12), ("resnet18", 32)])
def test_reference_networks_give_equal_outputs(name: str, size: int) -> None:
    model = prepared(mz.models.build(name, num_classes=5, image_size=size), exclude=("conv1", "fc"))
    lowered = lower(model, torch.zeros(1, 3, size, size))
    layers = sum(isinstance(module, SparseConv2d) for module in model.modules())
    assert count(lowered, NativeConv) == layers + 1, (
        "the dense convolution of the image's three channels goes with them"
    )
    for batch in (1, 3, 17):
        close(lowered, model, torch.randn(batch, 3, size, size))
    close(lowered, model, torch.randn(2, 3, size + 5, size + 2))


def test_a_plain_stack_is_one_region_with_one_entry_and_one_exit() -> None:
    model = prepared(stack())
    lowered = lower(model, torch.zeros(1, 3, 9, 9))
    assert lowered.native_steps == 3
    kinds = Counter(type(module) for module in lowered.modules())
    assert (kinds[ToNative], kinds[FromNative], kinds[NativeConv], kinds[NativePointwise]) == (1, 1, 3, 0)
    for batch in (0, 1, 16, 33):
        close(lowered, model, torch.randn(batch, 3, 9, 11))
    close(lowered, model, torch.randn(4, 3, 9, 11).to(memory_format=torch.channels_last))
    close(lowered, model, torch.randn(4, 11, 3, 9).permute(0, 2, 3, 1))


def test_residual_and_its_downsampling_are_fused() -> None:
    model = prepared(Residual(), exclude=("head",))
    lowered = lower(model, torch.zeros(2, 4, 8, 8))
    close(lowered, model, torch.randn(5, 4, 8, 8))
    assert lowered.native_steps == 3, "conv + norm + relu, conv + norm, conv + norm + add + relu"
    assert "sparse convolution + batch norm + add + ReLU" in lowered.explain()
    kinds = Counter(type(module) for module in lowered.modules())
    assert (kinds[ToNative], kinds[FromNative], kinds[NativePointwise]) == (1, 1, 0)


def test_what_follows_a_region_without_a_convolution_is_done_in_it() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.last = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv1(x)
            z = y + self.conv2(torch.relu(self.norm(y)))
            return self.last(z).relu() + z

    model = prepared(PreActivation())
    lowered = lower(model, torch.zeros(1, 4, 6, 6))
    assert count(lowered, NativePointwise) == 3, "norm + relu; norm + relu; the last add, which comes after a relu"
    close(lowered, model, torch.randn(18, 4, 6, 6))


def test_the_halo_is_the_widest_padding_of_the_readers() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)
            self.wide, self.tall = nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (5, 1), padding=(2, 0))
            self.spread = nn.Conv2d(4, 4, 3, padding=4, dilation=4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y = self.first(x)
            return self.wide(y) + self.tall(y), self.spread(y), y.exp()

    model = prepared(Fork())
    lowered = lower(model, torch.zeros(1, 3, 10, 10))
    assert "first: native: sparse convolution; halo (4, 4, 4, 4)" in lowered.explain()
    close(lowered, model, torch.randn(3, 3, 10, 10))


def test_native_tensors_keep_zeros_in_halo_and_behind_the_last_image() -> None:
    model = prepared(Residual(), exclude=("head",))
    lowered = lower(model, torch.zeros(2, 4, 8, 8))
    seen: list[NativeTensor] = []
    for module in lowered.modules():
        if isinstance(module, (ToNative, NativeConv, NativePointwise)):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    lowered(torch.randn(5, 4, 8, 8))
    assert len(seen) == 4
    for tensor in seen:
        assert torch.count_nonzero(tensor.interior) == torch.count_nonzero(tensor.data), "the halo is zero"
        assert not tensor.interior[..., 5:].any()


@settings(max_examples=25)
@given(data=st.data())
def test_any_stack_of_convolutions_gives_equal_outputs(data: st.DataObject) -> None:
    draw = data.draw
    layers: list[nn.Module] = []
    channels = draw(st.sampled_from([1, 2, 4]))
    first = channels
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, channels]))
        width = groups * draw(st.integers(1, 2))
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        layers.append(
            nn.Conv2d(
                channels,
                width,
                kernel,
                stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
                padding=draw(st.tuples(st.integers(0, 4), st.integers(0, 4))),
                dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
                groups=groups,
                bias=draw(st.booleans()),
            )
        )
        channels = width
        layers += [nn.BatchNorm2d(channels)] if draw(st.booleans()) else []
        layers += [nn.ReLU(inplace=draw(st.booleans()))] if draw(st.booleans()) else []
    model = prepared(nn.Sequential(*layers), density=draw(st.sampled_from([0.2, 1.0])))
    x = torch.randn(draw(st.sampled_from([1, 5, 17])), first, 25, 22)
    lowered = lower(model, x)
    assert lowered.native_steps > 0
    close(lowered, model, x)


def test_same_padding_and_other_padding_modes() -> None:
    model = prepared(
        nn.Sequential(nn.Conv2d(2, 4, 4, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"))
    )
    lowered = lower(model, torch.zeros(1, 2, 8, 8))
    close(lowered, model, torch.randn(2, 2, 8, 8))
    assert "1: plain: its padding mode is 'reflect'" in lowered.explain()
    assert "0: native" in lowered.explain()


def test_without_an_example_the_first_call_plans() -> None:
    model = prepared(stack())
    lowered = lower(model)
    assert lowered.native_steps == 0
    assert "not planned yet" in lowered.explain()
    close(lowered, model, torch.randn(2, 3, 9, 9))
    assert lowered.native_steps == 3


def test_several_inputs_and_outputs_go_through() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, one: Tensor, two: Tensor) -> dict[str, Tensor]:
            a = self.a(one)
            return {"sum": a + self.b(two), "first": a, "flat": a.view(a.size(0), -1)}

    model = prepared(Two())
    lowered = lower(model, (torch.zeros(1, 3, 6, 6), torch.zeros(1, 3, 6, 6)))
    one, two = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    close(lowered, model, one, two)
    with torch.no_grad():
        torch.testing.assert_close(lowered(one, two=two), model(one, two))


class InPlace(nn.Module):
    """The shortcut is overwritten by the ReLU before it is added, as ``inplace=True`` makes it."""

    def __init__(self, dropout: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.between = nn.ReLU(inplace=True), nn.Dropout() if dropout else nn.Identity()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.first(x)
        y = self.relu(self.between(shortcut) if self.dropout else shortcut)
        return self.second(y) + shortcut


def test_a_tensor_that_is_overwritten_is_read_as_overwritten() -> None:
    model = prepared(InPlace(dropout=False))
    lowered = lower(model, torch.zeros(1, 3, 6, 6))
    assert lowered.native_steps == 2
    close(lowered, model, torch.randn(3, 3, 6, 6) - 0.5)


def test_overwriting_under_another_name_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    model = prepared(InPlace(dropout=True))
    x = torch.randn(3, 3, 6, 6) - 0.5
    with caplog.at_level(logging.WARNING):
        lowered = lower(model, x)
    assert "works in place on memory that 'first' may share" in caplog.text
    close(lowered, model, x)


def test_a_layer_with_a_hook_stays_plain_and_its_hook_runs() -> None:
    model = prepared(nn.Sequential(stack(), nn.Sequential(nn.Conv2d(12, 4, 1), nn.ReLU())))
    calls: list[str] = []
    model.get_submodule("0.2").register_forward_hook(lambda *_: calls.append("layer"))
    model.get_submodule("1").register_forward_hook(lambda *_: calls.append("container"))
    lowered = lower(model, torch.zeros(1, 3, 8, 8))
    calls.clear()
    lowered(torch.randn(2, 3, 8, 8))
    assert calls == ["layer", "container"]
    assert "0.2: plain: it carries forward hooks" in lowered.explain()
    close(lowered, model, torch.randn(2, 3, 8, 8))


def test_a_model_that_cannot_be_traced_runs_plain_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum() > 0 else self.conv(-x)

    model = prepared(Branching())
    with caplog.at_level(logging.WARNING):
        lowered = lower(model)
        for sign in (1, -1):
            close(lowered, model, sign * torch.rand(2, 3, 6, 6))
    assert len(caplog.records) == 1
    assert "Branching runs in the plain layout, because torch.fx cannot trace it: symbolically traced" in caplog.text
    assert lowered.explain().startswith("Branching: plain layout, because torch.fx cannot trace it")


def test_without_the_native_library_it_runs_plain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "unavailable", lambda: "the native library is not built")
    model = prepared(stack())
    lowered = lower(model)
    assert "because the native library is not built" in caplog.text
    close(lowered, model, torch.randn(2, 3, 9, 9))


def test_training_is_refused() -> None:
    model = prepared(stack())
    with pytest.raises(InputError, match=r"a model in training mode.*model\.eval\(\)"):
        lower(model.train())
    lowered = lower(model.eval())
    with pytest.raises(InputError, match="Train the model it was made from"):
        lowered.train()
    assert lowered.eval() is lowered
    assert not lowered.training
    with pytest.raises(InputError, match="requires a gradient"):
        lowered(torch.zeros(1, 3, 9, 9, requires_grad=True))


def test_a_lowered_model_is_a_snapshot() -> None:
    model = prepared(stack())
    x = torch.randn(2, 3, 9, 9)
    lowered = lower(model, x)
    before = lowered(x)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.add_(1)
    torch.testing.assert_close(lowered(x), before, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_autocast_holds_the_16_bit_type_in_the_native_layout() -> None:
    model = prepared(stack())
    x = torch.randn(2, 3, 9, 9)
    lowered = lower(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        computed, expected = lowered(x), model(x)
    assert computed.dtype == torch.bfloat16
    torch.testing.assert_close(computed, expected, rtol=2e-2, atol=2e-2)
    assert count(lowered, NativeConv) == 3


@pytest.mark.parametrize("planned", [True, False])
def test_wrong_inputs_are_told_by_the_models_own_forward(planned: bool, capfd: pytest.CaptureFixture[str]) -> None:
    right = torch.randn(2, 4, 9, 9)
    lowered = lower(prepared(Residual()), right if planned else None)
    for wrong, kind, words in (
        (right[0], ValueError, "expected 4D input"),
        (right[:, :1], ShapeError, "input channels"),
        (right.double(), RuntimeError, "mixed dtype"),
    ):
        with pytest.raises(kind, match=words) as told:
            lowered(wrong)
        assert "While executing" not in str(told.value)
        assert told.value.__context__ is None
        assert any(frame.name == "forward" and str(frame.path) == __file__ for frame in told.traceback)
    assert capfd.readouterr().err == ""
    with pytest.raises(ShapeError, match="input channels"):
        lower(prepared(Residual()), right[:, :1])
    assert lowered(right).shape == (2, 3)


def test_a_pickled_one_tells_wrong_inputs_too() -> None:
    x = torch.randn(2, 3, 9, 9)
    lowered = lower(prepared(stack()), x)
    again = pickle.loads(pickle.dumps(lowered))
    torch.testing.assert_close(again(x), lowered(x))
    with pytest.raises(ShapeError, match="input channels"):
        again(x[:, :1])


def test_an_error_of_the_lowered_forward_alone_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 4, 9, 9)
    lowered = lower(prepared(Residual()), x)

    def broken(*_: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(lowered._native, "forward", broken)
    with pytest.raises(KeyError, match="of ours"):
        lowered(x)


def test_batch_statistics_and_dropout_in_training_mode_stay_as_the_user_left_them() -> None:
    model = prepared(stack())
    model[3].train()
    lowered = lower(model, torch.randn(4, 3, 9, 9))
    assert "3: plain: it uses the statistics of the batch" in lowered.explain()
    x = torch.randn(4, 3, 9, 9)
    torch.testing.assert_close(lowered(x), model(x), rtol=1e-4, atol=1e-5)


def test_every_node_is_explained() -> None:
    model = prepared(Residual(), exclude=("head",))
    lowered = lower(model, torch.zeros(1, 4, 8, 8))
    text = lowered.explain()
    for name in ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1", "head", "mean"):
        assert f"  {name}: " in text
    assert "head: plain: the native layout has no Linear" in text


def test_functional_calls_are_known() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.one(x), inplace=True)
            return torch.add(self.two(y), y).relu_() + 1.0

    model = prepared(Functional())
    lowered = lower(model, torch.zeros(1, 3, 6, 6))
    assert lowered.native_steps == 2
    close(lowered, model, torch.randn(2, 3, 6, 6))
    assert "add_1: plain: it is more than the sum of two tensors" in lowered.explain()


def test_only_dense_convolutions_of_few_channels_are_native() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    model = mz.sparsify(model, 0.5, exclude=("0", "1"))
    lowered = lower(model, torch.zeros(1, 4, 9, 9))
    assert "1: plain: it is dense, and has more than 4 input channels" in lowered.explain()
    assert "0: plain: nothing that it reads is in the native layout" in lowered.explain()
    close(lowered, model, torch.randn(3, 4, 9, 9))
    model = mz.sparsify(nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.Conv2d(8, 8, 3)).eval(), 0.5, exclude=("0",))
    lowered = lower(model, torch.zeros(1, 4, 9, 9))
    assert "0: native: dense convolution" in lowered.explain()
    close(lowered, model, torch.randn(3, 4, 9, 9))


def test_layouts_that_are_not_there_are_refused() -> None:
    with pytest.raises(NotRegistered, match=r"layout.*nativ.*auto, native"):
        mz.lower(prepared(stack()), layout="nativ")
