"""Do the native kernels agree with PyTorch's convolutions in float64, for every instruction set that this CPU runs?

Tolerance: each of the ``n`` products and additions of a float32 sum rounds by at most half a unit (2^-24) of the sum of
magnitudes, in any order of summation; storing rounds once more to the type of the result. Elements are held to that
bound, not to an average.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mezzotint.errors import InputError
from mezzotint.kernels import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
ISAS = native.isas() if native.unavailable() is None else ()
STORAGE = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


@dataclass(frozen=True)
class Problem:
    """A sparse convolution and the size of its input."""

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    density: float
    dtype: torch.dtype
    bias: bool
    order: str
    seed: int

    @property
    def attrs(self) -> dict[str, Any]:
        """The keyword arguments of the native functions."""
        return {
            "weight_shape": self.weight_shape,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Any convolution whose kernel fits into its padded input."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    extra = draw(st.tuples(st.integers(1, 9), st.integers(1, 17)))
    size = [n + (k - 1) * d for n, k, d in zip(extra, kernel, dilation, strict=True)]
    channels = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return Problem(
        x_shape=(draw(st.integers(0, 33)), channels[1] * groups, *size),
        weight_shape=(channels[0] * groups, channels[1], *kernel),
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilation=dilation,
        groups=groups,
        density=draw(st.sampled_from([0.0, 0.05, 0.3, 1.0])),
        dtype=draw(st.sampled_from(list(STORAGE))),
        bias=draw(st.booleans()),
        order=draw(st.sampled_from(["contiguous", "channels_last", "reversed", "sliced", "expanded"])),
        seed=draw(st.integers(0, 2**16)),
    )


@dataclass(frozen=True)
class Sample:
    """Tensors for a problem."""

    x: Tensor
    gy: Tensor
    values: Tensor
    indices: Tensor
    transposed: Tensor
    bias: Tensor | None


def in_order(x: Tensor, order: str) -> Tensor:
    """The same elements (``expanded``: one element repeated) in another memory order."""
    if order == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if order == "reversed":
        return x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    if order == "sliced":
        n, c, h, w = x.shape
        wide = x.new_zeros(n + 1, c + 2, h + 1, 2 * w)
        wide[1:, 1:-1, 1:, ::2] = x
        return wide[1:, 1:-1, 1:, ::2]
    if order == "expanded":
        return x.flatten()[:1].reshape(-1, 1, 1, 1).expand(x.shape) if x.numel() else x
    return x


def transpose_order(indices: Tensor, weight_shape: tuple[int, ...]) -> Tensor:
    """The order of the nonzeros by (input channel in the group, output channel, tap)."""
    taps = weight_shape[2] * weight_shape[3]
    channel = (indices.long() % (weight_shape[1] * taps)) // taps
    return torch.argsort(channel, stable=True).int()


def sample(problem: Problem) -> Sample:
    """Random tensors; the gradient has the problem's memory order too."""
    generator = torch.Generator().manual_seed(problem.seed)
    mask = torch.rand(problem.weight_shape, generator=generator) < problem.density
    indices = mask.flatten().nonzero().flatten().int()
    x = torch.randn(problem.x_shape, generator=generator).to(problem.dtype)
    gy = torch.randn(output_shape(problem), generator=generator).to(problem.dtype)
    return Sample(
        x=in_order(x, problem.order),
        gy=in_order(gy, problem.order),
        values=torch.randn(len(indices), generator=generator),
        indices=indices,
        transposed=transpose_order(indices, problem.weight_shape),
        bias=torch.randn(problem.weight_shape[0], generator=generator) if problem.bias else None,
    )


def output_shape(problem: Problem) -> tuple[int, ...]:
    """``[N, O, Ho, Wo]``."""
    pads = (problem.padding[:2], problem.padding[2:])
    sizes = [
        (problem.x_shape[2 + i] + sum(pads[i]) - (problem.weight_shape[2 + i] - 1) * problem.dilation[i] - 1)
        // problem.stride[i]
        + 1
        for i in (0, 1)
    ]
    return (problem.x_shape[0], problem.weight_shape[0], *sizes)


def scattered(problem: Problem, s: Sample) -> Tensor:
    """The dense float64 weight, its values rounded to the type of the activations."""
    dense = torch.zeros(problem.weight_shape, dtype=torch.float64).flatten()
    dense[s.indices.long()] = s.values.to(problem.dtype).double()
    return dense.view(problem.weight_shape)


def oracle(problem: Problem, x: Tensor, gy: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Output, input gradient and weight gradient in float64."""
    x64, w64 = x.double().requires_grad_(), weight.requires_grad_()
    top, bottom, left, right = problem.padding
    padded = F.pad(x64, (left, right, top, bottom))
    y = F.conv2d(padded, w64, None, problem.stride, 0, problem.dilation, problem.groups)
    gx, gw = torch.autograd.grad(y, (x64, w64), gy.double())
    y = y if bias is None else y + bias.double().view(1, -1, 1, 1)
    return y.detach(), gx, gw.flatten()


def assert_near(result: Tensor, expected: Tensor, magnitude: Tensor, terms: int) -> None:
    """Every element within the bound of the module's docstring."""
    summing = (terms + 2) * 2.0**-23 * magnitude
    subnormal = 2.0**-25 if result.dtype == torch.float16 else 0.0
    bound = summing + STORAGE[result.dtype] * (expected.abs() + summing) + subnormal
    assert bool(((result.double() - expected).abs() <= bound).all())


def run(problem: Problem, s: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """The three results of the native library, in the problem's memory order where that can be written."""
    order = "contiguous" if problem.order == "expanded" else problem.order
    y = in_order(torch.full(output_shape(problem), torch.nan, dtype=problem.dtype), order)
    gx = in_order(torch.full(problem.x_shape, torch.nan, dtype=problem.dtype), order)
    gvalues = torch.full_like(s.values, torch.nan)
    native.conv2d_output(s.x, s.values, s.indices, s.bias, y, **problem.attrs)
    native.conv2d_input_grad(s.gy, s.values, s.indices, s.transposed, gx, **problem.attrs)
    native.conv2d_weight_grad(s.x, s.gy, s.indices, gvalues, **problem.attrs)
    return y, gx, gvalues


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    native.force_isa(None)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("isa", ISAS)
@given(problem=problems())
@settings(max_examples=60)
def test_convolution_against_float64(isa: str, problem: Problem) -> None:
    native.force_isa(isa)
    s = sample(problem)
    y, gx, gvalues = run(problem, s)
    weight, at = scattered(problem, s), s.indices.long()
    magnitudes = oracle(problem, s.x.abs(), s.gy.abs(), weight.abs(), None if s.bias is None else s.bias.abs())
    expected = oracle(problem, s.x, s.gy, weight, s.bias)
    row = weight[0].numel()
    assert_near(y, expected[0], magnitudes[0], row + 1)
    assert_near(gx, expected[1], magnitudes[1], row * problem.weight_shape[0])
    assert_near(gvalues, expected[2][at], magnitudes[2][at], y[:, 0].numel())


@given(problem=problems())
@settings(max_examples=15)
def test_same_bits_for_one_thread_and_for_two(problem: Problem) -> None:
    s = sample(problem)
    torch.set_num_threads(1)
    one = run(problem, s)
    torch.set_num_threads(2)
    two = run(problem, s)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def large() -> Problem:
    """Enough work for several threads, channel parts, bands of rows and chunks of image blocks."""
    return Problem(
        x_shape=(40, 64, 33, 30),
        weight_shape=(48, 64, 3, 3),
        stride=(1, 2),
        padding=(1, 1, 1, 1),
        dilation=(1, 1),
        groups=1,
        density=0.1,
        dtype=torch.float32,
        bias=True,
        order="contiguous",
        seed=1,
    )


def test_large_convolution_same_bits_and_right() -> None:
    problem = large()
    s = sample(problem)
    torch.set_num_threads(1)
    one = run(problem, s)
    torch.set_num_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(one, run(problem, s), strict=True))
    y, gx, gw = oracle(problem, s.x, s.gy, scattered(problem, s), s.bias)
    for result, expected in zip(one, (y, gx, gw[s.indices.long()]), strict=True):
        assert (result.double() - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("isa", ISAS)
@given(batch=st.integers(0, 70), inputs=st.integers(1, 70), outputs=st.integers(1, 40), data=st.data())
@settings(max_examples=25)
def test_linear_against_float64(isa: str, batch: int, inputs: int, outputs: int, data: st.DataObject) -> None:
    native.force_isa(isa)
    dtype = data.draw(st.sampled_from(list(STORAGE)))
    density = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    indices = (torch.rand(outputs * inputs) < density).nonzero().flatten().int()
    values, bias = torch.randn(len(indices)), torch.randn(outputs)
    x, gy = torch.randn(batch, inputs).to(dtype), torch.randn(outputs, batch).to(dtype).t()
    shape = (outputs, inputs)
    y, gx, gvalues = torch.empty(batch, outputs, dtype=dtype), torch.empty(batch, inputs, dtype=dtype), values.clone()
    native.linear_output(x, values, indices, bias, y, weight_shape=shape)
    order = transpose_order(indices, (outputs, inputs, 1, 1))
    native.linear_input_grad(gy, values, indices, order, gx, weight_shape=shape)
    native.linear_weight_grad(x, gy, indices, gvalues, weight_shape=shape)
    weight = torch.zeros(outputs * inputs, dtype=torch.float64)
    weight[indices.long()] = values.to(dtype).double()
    weight = weight.view(shape)
    x64, gy64, at = x.double(), gy.double(), indices.long()
    assert_near(y, x64 @ weight.t() + bias, x64.abs() @ weight.t().abs() + bias.abs(), inputs + 1)
    assert_near(gx, gy64 @ weight, gy64.abs() @ weight.abs(), outputs)
    expected, magnitude = gy64.t() @ x64, gy64.t().abs() @ x64.abs()
    assert_near(gvalues, expected.flatten()[at], magnitude.flatten()[at], batch)


@pytest.mark.parametrize("values_dtype", [torch.bfloat16, torch.float16])
def test_values_and_bias_in_half_and_with_strides(values_dtype: torch.dtype) -> None:
    problem = Problem((3, 4, 8, 9), (5, 4, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 0.5, values_dtype, True, "sliced", 3)
    s = sample(problem)
    assert s.bias is not None
    strided = torch.stack((s.values, s.values), 1).to(values_dtype)[:, 0]
    half = Sample(s.x, s.gy, strided, s.indices, s.transposed, s.bias.to(values_dtype))
    rounded = Sample(s.x, s.gy, strided.float(), s.indices, s.transposed, half.bias)
    for result, expected in zip(run(problem, half), run(problem, rounded), strict=True):
        assert torch.equal(result, expected.to(result.dtype))


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
    expected = run(problem, s)
    wrong: list[int] = []

    def work(number: int) -> None:
        for result, right in zip(run(problem, s), expected, strict=True):
            if not torch.equal(result, right):
                wrong.append(number)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_indices_outside_of_the_weight_are_refused() -> None:
    problem = Problem(
        (2, 3, 5, 5), (4, 3, 3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1, 0.5, torch.float32, False, "contiguous", 9
    )
    s = sample(problem)
    for wrong in (s.indices + 60, s.indices - 60, s.indices.flip(0)):
        bad = Sample(s.x, s.gy, s.values, wrong.int(), s.transposed, None)
        with pytest.raises(InputError, match="indices"):
            native.conv2d_output(
                bad.x, bad.values, bad.indices, None, torch.empty(output_shape(problem)), **problem.attrs
            )
        with pytest.raises(InputError, match="indices"):
            native.conv2d_input_grad(
                bad.gy, bad.values, bad.indices, bad.transposed, torch.empty(problem.x_shape), **problem.attrs
            )
    with pytest.raises(InputError, match="indices"):
        native.conv2d_input_grad(
            s.gy, s.values, s.indices, s.transposed + 1000, torch.empty(problem.x_shape), **problem.attrs
        )
