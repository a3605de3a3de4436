"""Is the scratch weight only scratch? Never seen from outside, one a thread, given back when asked."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint import kernels, ops
from mezzotint.kernels import launch, scratch

SHAPES = ((6, 4, 3, 3), (8, 5), (3, 2, 1, 1))


@pytest.fixture(autouse=True)
def _released() -> None:
    kernels.release_scratch()


def nonzeros(shape: tuple[int, ...], share: float = 0.4) -> tuple[Tensor, Tensor]:
    indices = (torch.rand(torch.Size(shape).numel()) < share).nonzero().flatten().int()
    return torch.randn(len(indices)), indices


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_weight_is_that_of_the_call_whatever_lay_there_before(dtype: torch.dtype) -> None:
    for shape in SHAPES * 2:
        values, indices = nonzeros(shape)
        right = torch.zeros(torch.Size(shape).numel(), dtype=dtype)
        right[indices.long()] = values.bfloat16().to(dtype)
        with scratch.dense_weight(values, indices, shape, torch.bfloat16, dtype) as weight:
            assert torch.equal(weight, right.view(shape))


@pytest.mark.parametrize("rounded_to", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("threads", [1, 2])
def test_large_weights_of_any_strides_are_scattered_by_all_threads(rounded_to: torch.dtype, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    values, indices = nonzeros((300, 301), 0.2)
    twice = torch.stack([values, -values], 1)
    right = torch.zeros(300 * 301)
    right[indices.long()] = values.to(rounded_to).float()
    with scratch.dense_weight(twice[:, 0], indices, (300, 301), rounded_to, torch.float32) as weight:
        assert torch.equal(weight, right.view(300, 301))
    negated = torch.view_as_complex(torch.stack([values, -values], -1)).conj().imag
    with scratch.dense_weight(negated, indices, (300, 301), rounded_to, rounded_to) as weight:
        assert torch.equal(weight.float(), right.view(300, 301))
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "indices"), [(60, [-1, 2]), (60, [3, 60]), (60000, [50000, 3, 50001])])
def test_positions_that_are_none_are_refused(count: int, indices: list[int]) -> None:
    given = torch.ones(len(indices)), torch.tensor(indices, dtype=torch.int32)
    with pytest.raises(mz.errors.InputError, match="strictly ascending flat positions"):
        scratch.dense_weight(*given, (count,), torch.float32, torch.float32).__enter__()


def test_one_buffer_serves_all_types_and_sizes_and_a_call_within_a_call_gets_another() -> None:
    large, small = nonzeros(SHAPES[0]), nonzeros(SHAPES[1])
    with scratch.dense_weight(*large, SHAPES[0], torch.float32, torch.float32) as weight:
        place = weight.data_ptr()
        kept = weight.clone()
        with scratch.dense_weight(*small, SHAPES[1], torch.float32, torch.float32) as inner:
            assert inner.data_ptr() != place
        assert torch.equal(weight, kept)
    del weight, inner
    with scratch.dense_weight(*small, SHAPES[1], torch.bfloat16, torch.bfloat16) as weight:
        assert weight.data_ptr() == place
    assert kernels.release_scratch() == 6 * 4 * 9 * 4
    assert kernels.release_scratch() == 0


def test_a_weight_above_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "KEPT", 100)
    with scratch.dense_weight(*nonzeros(SHAPES[0]), SHAPES[0], torch.float32, torch.float32):
        pass
    assert kernels.release_scratch() == 0


def test_every_thread_has_its_own_and_an_ended_thread_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads that other tests left behind, such as a loader's, may use the native library's own scratch meanwhile.
    monkeypatch.setattr(scratch.native, "release_scratch", lambda: 0)
    places = []

    def work() -> None:
        with scratch.dense_weight(*nonzeros(SHAPES[0]), SHAPES[0], torch.float32, torch.float32) as weight:
            places.append(weight.data_ptr())
            meet.wait()

    meet = threading.Barrier(2)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(places)) == 2
    gc.collect()
    assert kernels.release_scratch() == 0


def test_an_error_inside_gives_the_buffer_back() -> None:
    def fail() -> None:
        with scratch.dense_weight(*nonzeros(SHAPES[0]), SHAPES[0], torch.float32, torch.float32):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert kernels.release_scratch() > 0


def test_a_buffer_made_in_inference_mode_serves_training() -> None:
    x = torch.randn(2, 4, 5, 5)
    layer = mz.sparsify(torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3)), 0.5)
    with launch.policy("scatter"):
        with torch.inference_mode():
            expected = layer(x)
        layer(x).sum().backward()
        assert torch.equal(layer(x).detach(), expected)


def test_two_layers_of_one_size_do_not_see_each_other() -> None:
    """Results and gradients of a chain through the shared scratch weight equal those of the oracle."""
    torch.manual_seed(3)
    model = mz.sparsify(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3)), 0.5)
    model = model.double()
    found = {}
    for name in ("scatter", "reference"):
        x = torch.ones(2, 4, 7, 7, dtype=torch.float64, requires_grad=True)
        with launch.policy(name):
            y = model(x)
            model(2 * x)  # overwrites the scratch weight between the forward and the backward pass
            found[name] = (y.detach().clone(), *torch.autograd.grad(y.square().sum(), [x, *model.parameters()]))
    for ours, right in zip(found["scatter"], found["reference"], strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-10, atol=1e-10)


def test_a_kernel_that_is_run_directly_saves_no_weight_for_autograd() -> None:
    values, indices = nonzeros(SHAPES[0])
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    operator = ops.get("sparse_conv2d")
    y = operator.run("scatter", x, values, indices, None, None, weight_shape=list(SHAPES[0]))
    assert y.grad_fn is None
