"""Does a pointwise convolution that goes back in one pass get what it gets in three, to the last bit, in every variant?

All numbers are small multiples of 1/4, of which every sum is exact in float32 in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from convolutions import BATCHES, DTYPES, Problem, expected, sample, work_for_two
from exactly import HALOS, ISAS, assert_is, assert_totals, channelwise, halves, sums_of, threads
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native_layout_drawn import Finish, finishes
from torch import Tensor

from mezzotint.kernels import native, native_backward, native_layout
from mezzotint.kernels.native_layout import NO_HALO, ConvGeometry, Sides

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@st.composite
def pointwise(draw: st.DrawFn) -> Problem:
    """Images of any size, wider than a strip among them."""
    groups, out, inputs = (draw(st.integers(1, limit)) for limit in (2, 9, 9))
    return Problem(
        x_shape=(draw(BATCHES), inputs * groups, draw(st.integers(1, 4)), draw(st.integers(1, 45))),
        weight_shape=(out * groups, inputs, 1, 1),
        groups=groups,
        density=draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.01, 0.99))),
        empty_rows=draw(st.sampled_from([0.0, 0.5])),
        dtype=draw(st.sampled_from(DTYPES)),
        seed=draw(st.integers(0, 2**16)),
    )


@pytest.mark.parametrize("isa", ISAS)
@given(problem=pointwise(), finish=finishes(), totals=st.booleans(), halos=st.tuples(*[HALOS] * 4))
@settings(max_examples=100)
def test_in_one_pass(
    isa: str,
    problem: Problem,
    finish: Callable[[tuple[int, ...], torch.dtype, bool], Finish],
    totals: bool,
    halos: tuple[Sides, Sides, Sides, Sides],
) -> None:
    s, geometry = sample(problem, exact=True), ConvGeometry(**problem.attrs)
    generator, out = torch.Generator().manual_seed(problem.seed), problem.weight_shape[0]
    finished, y = (halves(problem.y_shape, generator).to(problem.dtype) for _ in range(2))
    scale, constant, companion = (halves((out,), generator) for _ in range(3))
    gy = (
        finished.double() * channelwise(scale, 1.0)
        + channelwise(constant, 0.0)
        + y.double() * channelwise(companion, 1)
    )
    _, gx, gvalues = expected(problem, replace(s, gy=gy.to(problem.dtype)))
    on_gx = finish(tuple(gx.shape), problem.dtype, totals)
    sums = torch.full((gx.shape[1], 2), torch.nan, dtype=torch.float64) if totals else None
    with native.using_isa(isa):
        back, found = native_backward.conv2d_backward(
            native_layout.to_native(finished, halos[0]),
            native_layout.to_native(y, halos[1]),
            (scale, constant, companion),
            native_layout.to_native(s.x, halos[2]),
            (s.values, s.indices, s.transposed),
            geometry,
            epilogue=on_gx.native(),
            halo=halos[3],
            totals=sums,
        )
    assert torch.equal(found.double(), gvalues)
    right = on_gx.applied(gx)
    assert_is(back, right, halos[3])
    if sums is not None:
        assert_totals(sums, sums_of(right, on_gx.companion))


@given(problem=work_for_two())
@settings(max_examples=30)
def test_threads_change_no_bit(problem: Problem) -> None:
    out, inputs = problem.weight_shape[:2]
    problem = replace(problem, weight_shape=(out, inputs, 1, 1), padding=NO_HALO, stride=(1, 1))
    s, geometry = sample(problem), ConvGeometry(**problem.attrs)
    finished, y = (native_layout.to_native(torch.randn(problem.y_shape).to(problem.dtype)) for _ in range(2))
    coefficients = (torch.randn(out), torch.randn(out), torch.randn(out))

    def results(count: int) -> list[Tensor]:
        sums = torch.empty(inputs, 2, dtype=torch.float64)
        with threads(count):
            x = native_layout.to_native(s.x)
            weight = (s.values, s.indices, s.transposed)
            gx, gvalues = native_backward.conv2d_backward(
                finished, y, coefficients, x, weight, geometry, epilogue=native_layout.PLAIN, totals=sums
            )
        return [gx.data, gvalues, sums]

    for one, two in zip(results(1), results(2), strict=True):
        assert torch.equal(one, two)


def test_only_large_pointwise_layers_go_back_so() -> None:
    def pays(geometry: ConvGeometry, size: int) -> bool:
        return native_backward.pays(geometry, native_layout.empty(32, 256, (size, size), torch.bfloat16))

    pointwise_one = ConvGeometry((256, 64, 1, 1))
    assert pays(pointwise_one, 56)
    assert not pays(pointwise_one, 14)
    for other in ({"stride": (2, 2)}, {"padding": (1, 1, 1, 1)}, {"weight_shape": (256, 64, 3, 3)}):
        assert not pays(replace(pointwise_one, **other), 56)
