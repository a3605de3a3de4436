"""Do calls that are noted do what they would do at once, and does nobody get memory that they still need?"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from mezzotint import models
from mezzotint.deploy import lower
from mezzotint.errors import ShapeError
from mezzotint.kernels import arena, native, passes
from mezzotint.kernels.native_layout import NativeTensor, from_native, normalise, to_native


@pytest.fixture(autouse=True)
def _poisoned() -> None:
    """Instead of the one for all kernels, which would settle passes in order to write into their memory."""


LARGE = (32, 16, 24, 24)
"""[N, C, H, W] of activations that the arena holds: 1.2 MB in float32."""


@contextmanager
def calls_at_once() -> Iterator[None]:
    """As while another pass is under way."""
    with passes._one_at_a_time:
        yield


def doubled(x: NativeTensor) -> NativeTensor:
    return normalise(x, scale=torch.full((x.channels,), 2.0))


def copy_out(x: NativeTensor, y: Tensor) -> None:
    native.extension().unpack(x.code, passes.argument(y), 1)


def test_calls_run_at_the_end_of_the_pass() -> None:
    x = torch.randn(LARGE)
    y = torch.zeros(LARGE)
    with passes.one_pass():
        copy_out(to_native(x), y)
        assert float(y.abs().sum()) == 0
    assert torch.equal(y, x)


def test_who_wants_numbers_gets_them() -> None:
    x, seen = torch.randn(LARGE), list[bool]()
    with passes.one_pass():
        y = from_native(doubled(to_native(x)))
        passes.then(lambda: seen.append(torch.equal(y, 2 * x)))
        assert not seen
        passes.settle()
        assert seen == [True]
        z = from_native(doubled(to_native(y)))
    assert torch.equal(z, 4 * x)
    passes.then(lambda: seen.append(False))
    assert seen == [True, False], "outside of a pass: at once"


def test_dropped_activations_serve_the_calls_that_were_noted_before() -> None:
    """Each tensor of the chain ends before any call has run, and the next one takes its place."""
    x = torch.randn(LARGE)

    def chain() -> Tensor:
        value = to_native(x)
        for _ in range(20):
            value = doubled(value)
        return from_native(value)

    with passes.one_pass():
        y = chain()
    assert torch.equal(y, x * 2**20)


def test_small_tensors_last_until_their_calls_have_run() -> None:
    x = torch.randn(2, 3, 4, 4)
    with passes.one_pass():
        scale = torch.full((3,), 2.0)
        small = to_native(x)
        assert not arena.lends(small.data)
        y = normalise(small, scale=scale)
        lasts = weakref.ref(scale), weakref.ref(small.data)
        del scale, small
        others = [torch.full((3,), 7.0) for _ in range(50)] + [torch.full_like(y.data, 7.0) for _ in range(50)]
        assert all(one() is not None for one in lasts)
    assert all(one() is None for one in lasts)
    assert torch.equal(from_native(y), 2 * x), len(others)


def test_an_error_forgets_what_was_noted() -> None:
    x, y = torch.randn(LARGE), torch.zeros(LARGE)

    def failing() -> None:
        with passes.one_pass():
            copy_out(to_native(x), y)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    passes.settle()
    assert float(y.abs().sum()) == 0
    assert torch.equal(from_native(doubled(to_native(x))), 2 * x), "and calls work at once again"


def test_a_pass_within_a_pass_has_its_numbers_at_its_end() -> None:
    x = torch.randn(LARGE)
    with passes.one_pass():
        with passes.one_pass():
            y = from_native(doubled(to_native(x)))
        assert torch.equal(y, 2 * x)
        z = from_native(doubled(to_native(y)))
    assert torch.equal(z, 4 * x)


def test_other_threads_work_at_once_and_get_other_memory() -> None:
    x, found = torch.randn(LARGE), dict[str, object]()
    arena.release()  # what batches of other tests left

    def elsewhere() -> None:
        with passes.one_pass():
            native = to_native(x)
            found["lent"] = arena.lends(native.data)
            found["y"] = from_native(doubled(native)).clone()
        found["released"] = arena.release()

    with passes.one_pass():
        dropped = to_native(x)
        place = dropped.data.data_ptr()
        y = doubled(dropped)
        del dropped
        gc.collect()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        again = to_native(x)
        assert again.data.data_ptr() == place, "the thread of the pass gets the place"
    assert found["lent"] is False
    assert torch.equal(found["y"], 2 * x)  # type: ignore[arg-type]  # a tensor
    assert found["released"] == 0
    assert torch.equal(from_native(y), 2 * x)


def test_memory_is_released_after_the_calls_that_read_it() -> None:
    x = torch.randn(LARGE)
    before = to_native(x)
    with passes.one_pass():
        y = doubled(before)
        del before
        assert arena.release() > 0, "what was given back was read first"
        z = from_native(y)
    assert torch.equal(z, 2 * x)


class Mixed(nn.Module):
    """Convolutions with and without bias and batch norm, a batch norm in front, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(16)
        self.conv1 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 32, 1)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 16, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv1(torch.relu(self.bn0(x))))
        return x + self.conv3(torch.relu(self.bn2(self.conv2(y))))


@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "running statistics"])
def test_training_has_the_same_bits(frozen: bool) -> None:
    def steps() -> list[Tensor]:
        torch.manual_seed(0)
        model = mz.sparsify(Mixed(), 0.3)
        if frozen:
            model.bn2.eval()  # type: ignore[union-attr, operator]  # a module
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x = torch.randn(LARGE, requires_grad=True)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        return [x.grad, *model.parameters(), *model.buffers()]  # type: ignore[list-item]  # there is a gradient

    with calls_at_once():
        expected = steps()
    for mine, other in zip(steps(), expected, strict=True):
        assert torch.equal(mine, other)


def test_inference_has_the_same_bits() -> None:
    model = mz.sparsify(models.build("resnet20", num_classes=10), 0.3).eval()
    lowered, x = lower(model), torch.randn(32, 3, 32, 32)
    with calls_at_once():
        expected = lowered(x)
    assert lowered.native_steps > 0
    assert torch.equal(lowered(x), expected)


def test_an_image_that_is_too_small_is_an_error_and_no_more() -> None:
    model = mz.sparsify(nn.Sequential(Mixed(), nn.Conv2d(16, 16, 5)), 0.3)
    expected = model(torch.randn(LARGE)).shape
    with pytest.raises((ShapeError, RuntimeError)):
        model(torch.randn(32, 16, 3, 3))
    assert model(torch.randn(LARGE)).shape == expected
