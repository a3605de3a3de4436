"""Do the native kernels agree with the float64 reference, for every instruction set that this CPU runs?

Tolerance: each of the ``n`` products and additions of a float32 sum rounds by at most half a unit (2^-24) of the sum of
magnitudes, in any order of summation; storing rounds once more to the type of the result. Elements are held to that
bound, not to an average.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from convolutions import Problem, Sample, depthwise, expected, in_order, problems, sample, transpose_order, work_for_two
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.errors import InputError
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
ISAS = native.isas() if native.unavailable() is None else ()
STORAGE = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def assert_near(result: Tensor, expected: Tensor, magnitude: Tensor, terms: int) -> None:
    """Every element within the bound of the module's docstring."""
    summing = (terms + 2) * 2.0**-23 * magnitude
    subnormal = 2.0**-25 if result.dtype == torch.float16 else 0.0
    bound = summing + STORAGE[result.dtype] * (expected.abs() + summing) + subnormal
    assert bool(((result.double() - expected).abs() <= bound).all())


def run(problem: Problem, s: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """The three results of the native library, in the problem's memory orders where those can be written."""
    y_order, x_order = ("contiguous" if order == "expanded" else order for order in (problem.gy_order, problem.x_order))
    y = in_order(torch.full(problem.y_shape, torch.nan, dtype=problem.dtype), y_order)
    gx = in_order(torch.full(problem.x_shape, torch.nan, dtype=problem.dtype), x_order)
    gvalues = torch.full_like(s.values, torch.nan)
    native.conv2d_output(s.x, s.values, s.indices, s.bias, y, **problem.attrs)
    native.conv2d_input_grad(s.gy, s.values, s.indices, s.transposed, gx, **problem.attrs)
    native.conv2d_weight_grad(s.x, s.gy, s.indices, gvalues, **problem.attrs)
    return y, gx, gvalues


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("isa", ISAS)
@given(problem=st.one_of(problems(), depthwise()))
@settings(max_examples=200)
def test_convolution_against_float64(isa: str, problem: Problem) -> None:
    s = sample(problem)
    with native.using_isa(isa):
        results = run(problem, s)
    row = problem.weight_shape[1] * problem.weight_shape[2] * problem.weight_shape[3]
    terms = (row + 1, row * problem.weight_shape[0], results[0][:, 0].numel())
    for result, right, magnitude, count in zip(
        results, expected(problem, s), expected(problem, s, magnitudes=True), terms, strict=True
    ):
        assert_near(result, right, magnitude, count)


@pytest.mark.parametrize("isa", ISAS)
@given(problem=work_for_two())
@settings(max_examples=8)
def test_same_bits_for_one_thread_and_for_two(isa: str, problem: Problem) -> None:
    s, results = sample(problem), []
    for count in (1, 2):
        torch.set_num_threads(count)
        with native.using_isa(isa):
            results.append(run(problem, s))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def large() -> Problem:
    """Enough work for several threads, channel parts, bands of rows and chunks of image blocks."""
    return Problem(
        x_shape=(40, 64, 33, 30),
        weight_shape=(48, 64, 3, 3),
        stride=(1, 2),
        padding=(1, 1, 1, 1),
        density=0.1,
        bias=True,
        seed=1,
    )


def test_large_convolution_same_bits_and_right() -> None:
    problem = large()
    s = sample(problem)
    torch.set_num_threads(1)
    one = run(problem, s)
    torch.set_num_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(one, run(problem, s), strict=True))
    for result, right in zip(one, expected(problem, s), strict=True):
        assert (result.double() - right).norm() <= 1e-6 * right.norm()


@pytest.mark.parametrize("isa", ISAS)
@given(batch=st.integers(0, 70), inputs=st.integers(1, 70), outputs=st.integers(1, 40), data=st.data())
@settings(max_examples=25)
def test_linear_against_float64(isa: str, batch: int, inputs: int, outputs: int, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(list(STORAGE)))
    density = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    indices = (torch.rand(outputs * inputs) < density).nonzero().flatten().int()
    values, bias = torch.randn(len(indices)), torch.randn(outputs)
    x, gy = torch.randn(batch, inputs).to(dtype), torch.randn(outputs, batch).to(dtype).t()
    shape = (outputs, inputs)
    y, gx, gvalues = torch.empty(batch, outputs, dtype=dtype), torch.empty(batch, inputs, dtype=dtype), values.clone()
    order = transpose_order(indices, (outputs, inputs, 1, 1))
    with native.using_isa(isa):
        native.linear_output(x, values, indices, bias, y, weight_shape=shape)
        native.linear_input_grad(gy, values, indices, order, gx, weight_shape=shape)
        native.linear_weight_grad(x, gy, indices, gvalues, weight_shape=shape)
    weight = torch.zeros(outputs * inputs, dtype=torch.float64)
    weight[indices.long()] = values.to(dtype).double()
    weight = weight.view(shape)
    x64, gy64, at = x.double(), gy.double(), indices.long()
    assert_near(y, x64 @ weight.t() + bias, x64.abs() @ weight.t().abs() + bias.abs(), inputs + 1)
    assert_near(gx, gy64 @ weight, gy64.abs() @ weight.abs(), outputs)
    right, magnitude = gy64.t() @ x64, gy64.t().abs() @ x64.abs()
    assert_near(gvalues, right.flatten()[at], magnitude.flatten()[at], batch)


@pytest.mark.parametrize("values_dtype", [torch.bfloat16, torch.float16])
def test_values_and_bias_in_half_and_with_strides(values_dtype: torch.dtype) -> None:
    problem = Problem((3, 4, 8, 9), (5, 4, 3, 3), padding=(1, 1, 1, 1), dtype=values_dtype, bias=True, x_order="sliced")
    s = sample(problem)
    assert s.bias is not None
    strided = torch.stack((s.values, s.values), 1).to(values_dtype)[:, 0]
    half = replace(s, values=strided, bias=s.bias.to(values_dtype))
    rounded = replace(half, values=strided.float())
    for result, right in zip(run(problem, half), run(problem, rounded), strict=True):
        assert torch.equal(result, right.to(result.dtype))


def test_indices_with_strides() -> None:
    problem = Problem((2, 3, 5, 6), (4, 3, 3, 3), seed=4)
    s = sample(problem)
    indices, order = (torch.stack((part, part), 1)[:, 0] for part in (s.indices, s.transposed))
    assert not indices.is_contiguous()
    strided = replace(s, indices=indices, transposed=order)
    assert all(map(torch.equal, run(problem, strided), run(problem, s)))
    x, gy, values = torch.randn(3, 4), torch.randn(3, 2), torch.randn(4)
    positions = torch.tensor([0, 0, 3, 3, 4, 4, 6, 6], dtype=torch.int32)[::2]
    order = torch.tensor([0, 0, 2, 2, 3, 3, 1, 1], dtype=torch.int32)[::2]

    def linear(positions: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, gx, gvalues = torch.empty(3, 2), torch.empty(3, 4), torch.empty(4)
        native.linear_output(x, values, positions, None, y, weight_shape=(2, 4))
        native.linear_input_grad(gy, values, positions, order, gx, weight_shape=(2, 4))
        native.linear_weight_grad(x, gy, positions, gvalues, weight_shape=(2, 4))
        return y, gx, gvalues

    assert all(map(torch.equal, linear(positions, order), linear(positions.contiguous(), order.contiguous())))


def test_overflow_is_infinite_and_nan_stays() -> None:
    x = torch.full((1, 2, 4, 4), 200.0, dtype=torch.float16)
    x[0, :, 3, 3] = torch.nan
    y = torch.zeros(1, 1, 4, 4, dtype=torch.float16)
    indices = torch.tensor([0, 1], dtype=torch.int32)
    attrs = {"weight_shape": (1, 2, 1, 1), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    native.conv2d_output(x, torch.tensor([200.0, 200.0]), indices, None, y, **attrs)
    assert y[0, 0, 3, 3].isnan()
    assert y[0, 0, 0].isinf().all()


def test_several_python_threads_at_once() -> None:
    problem = large()
    s = sample(problem)
    right = run(problem, s)
    wrong: list[int] = []

    def work(number: int) -> None:
        for found, once in zip(run(problem, s), right, strict=True):
            if not torch.equal(found, once):
                wrong.append(number)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_indices_outside_of_the_weight_are_refused() -> None:
    problem = Problem((2, 3, 5, 5), (4, 3, 3, 3), seed=9)
    s = sample(problem)
    for wrong in (s.indices + 60, s.indices - 60, s.indices.flip(0)):
        bad = Sample(s.x, s.gy, s.values, wrong.int(), s.transposed, None)
        with pytest.raises(InputError, match="indices"):
            native.conv2d_output(bad.x, bad.values, bad.indices, None, torch.empty(problem.y_shape), **problem.attrs)
        with pytest.raises(InputError, match="indices"):
            native.conv2d_input_grad(
                bad.gy, bad.values, bad.indices, bad.transposed, torch.empty(problem.x_shape), **problem.attrs
            )
    with pytest.raises(InputError, match="indices"):
        native.conv2d_input_grad(
            s.gy, s.values, s.indices, s.transposed + 1000, torch.empty(problem.x_shape), **problem.attrs
        )
