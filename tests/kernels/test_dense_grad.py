"""Is the gradient of every weight right in the native layout, columns in pairs or not, in every instruction set?"""

from __future__ import annotations

import pytest
import torch
from convolutions import BATCHES, DTYPES, Problem, expected, sample, work_for_two
from exactly import HALOS, ISAS, threads
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.kernels import native
from mezzotint.kernels.native_layout import ConvGeometry, Sides, to_native
from mezzotint.kernels.native_weight_grad import conv2d_dense_grad

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@st.composite
def windows_of_three(draw: st.DrawFn) -> Problem:
    """Convolutions whose columns may go in pairs, some of which must not: few channels, a stride, FP16."""
    groups, kernel_h = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(6, 19)), draw(st.integers(6, 37))
    dilation, stride = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    height = draw(st.integers(1, 9)) + (kernel_h - 1) * dilation
    return Problem(
        x_shape=(draw(BATCHES), inputs * groups, height, draw(st.integers(3, 41))),
        weight_shape=(outputs * groups, inputs, kernel_h, 3),
        stride=(stride, draw(st.sampled_from([1, 1, 1, 2]))),
        padding=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation=(dilation, 1),
        groups=groups,
        density=1.0,
        dtype=draw(st.sampled_from(DTYPES)),
        seed=draw(st.integers(0, 2**16)),
    )


@pytest.mark.parametrize("isa", ISAS)
@given(problem=windows_of_three(), halos=st.tuples(HALOS, HALOS), paired=st.booleans())
@settings(max_examples=40)
def test_exact_sums_are_exact(isa: str, problem: Problem, halos: tuple[Sides, Sides], paired: bool) -> None:
    """The activations are small integers, whose sums and differences BF16 holds, too."""
    s, geometry = sample(problem, exact=True), ConvGeometry(**problem.attrs)
    with native.using_isa(isa):
        x, gy = to_native(s.x, halos[0]), to_native(s.gy, halos[1])
        found = conv2d_dense_grad(x, gy, geometry, paired=paired)
    assert found.shape == problem.weight_shape
    assert torch.equal(found.flatten().double(), expected(problem, s)[2])


@pytest.mark.parametrize("isa", ISAS)
@given(problem=work_for_two(), paired=st.booleans())
@settings(max_examples=8)
def test_same_bits_for_one_thread_and_for_two(isa: str, problem: Problem, paired: bool) -> None:
    s, geometry = sample(problem), ConvGeometry(**problem.attrs)
    x, gy = to_native(s.x, problem.padding), to_native(s.gy)
    with native.using_isa(isa):
        with threads(1):
            one = conv2d_dense_grad(x, gy, geometry, paired=paired)
        with threads(2):
            two = conv2d_dense_grad(x, gy, geometry, paired=paired)
    assert not one.isnan().any()
    assert torch.equal(one, two)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3), (torch.float16, 1e-6)])
def test_pairs_round_16_bit_activations_once_more(isa: str, dtype: torch.dtype, allowed: float) -> None:
    """As much as BF16 rounds anyway; FP16, whose sums may be too large for it, does not go in pairs."""
    problem = Problem((40, 24, 9, 11), (20, 24, 3, 3), padding=(1, 1, 1, 1), density=1.0, dtype=dtype)
    s, geometry = sample(problem), ConvGeometry(**problem.attrs)
    with native.using_isa(isa):
        found = conv2d_dense_grad(to_native(s.x, problem.padding), to_native(s.gy), geometry, paired=True)
    right = expected(problem, s)[2]
    error = (found.flatten().double() - right).square().mean().sqrt() / right.square().mean().sqrt()
    assert error <= allowed
