"""Is the native layout right for any convolution, to the last bit, in every instruction set that this CPU runs?

All numbers are small multiples of 1/4, of which every sum is exact in float32 in any order: results must equal the
float64 reference, rounded once to the type of the activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from convolutions import DTYPES, Problem, Sample, depthwise, expected, problems, sample, work_for_two
from exactly import HALOS, ISAS, assert_is, assert_totals, channelwise, halves, sums_of, threads
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels import native, native_layout, native_weight_grad
from mezzotint.kernels.native_layout import ConvGeometry, Epilogue, Sides

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@dataclass(frozen=True)
class Finish:
    """An epilogue in ordinary tensors; ``None`` leaves a step out."""

    scale: Tensor | None
    shift: Tensor | None
    residual: Tensor | None
    relu: bool
    mask: Tensor | None
    mask_scale: Tensor | None
    mask_shift: Tensor | None
    companion: Tensor | None
    halos: tuple[Sides, Sides, Sides]

    def native(self) -> Epilogue:
        """The same for the library, every tensor with a halo of its own."""
        beside = (self.residual, self.mask, self.companion)
        residual, mask, companion = (
            None if x is None else native_layout.to_native(x, halo) for x, halo in zip(beside, self.halos, strict=True)
        )
        return Epilogue(
            scale=self.scale,
            shift=self.shift,
            residual=residual,
            relu=self.relu,
            mask=mask,
            mask_scale=self.mask_scale,
            mask_shift=self.mask_shift,
            companion=companion,
        )

    def applied(self, v: Tensor) -> Tensor:
        """The epilogue of ``v [N, C, H, W]`` in float64."""
        v = v * channelwise(self.scale, 1.0) + channelwise(self.shift, 0.0)
        v = v if self.residual is None else v + self.residual.double()
        v = F.relu(v) if self.relu else v
        if self.mask is None:
            return v
        signal = self.mask.double() * channelwise(self.mask_scale, 1.0) + channelwise(self.mask_shift, 0.0)
        return torch.where(signal <= 0, 0.0, v)


@st.composite
def finishes(draw: st.DrawFn) -> Callable[[tuple[int, ...], torch.dtype, bool], Finish]:
    """Any epilogue, as a function of a result's shape and type, and of whether totals are asked for (without shift)."""
    chosen = {name: draw(st.booleans()) for name in ("scale", "shift", "residual", "mask", "mask_affine", "companion")}
    relu, halos, seed = draw(st.booleans()), draw(st.tuples(HALOS, HALOS, HALOS)), draw(st.integers(0, 2**16))

    def finish(shape: tuple[int, ...], dtype: torch.dtype, totals: bool) -> Finish:
        generator = torch.Generator().manual_seed(seed)

        def numbers(present: bool, size: tuple[int, ...]) -> Tensor | None:
            return halves(size, generator) if present else None

        channels = (shape[1],)
        scale, shift = numbers(chosen["scale"], channels), numbers(chosen["shift"] and not totals, channels)
        residual, mask, companion = (numbers(chosen[name], shape) for name in ("residual", "mask", "companion"))
        affine = chosen["mask"] and chosen["mask_affine"]
        return Finish(
            scale=scale,
            shift=shift,
            residual=None if residual is None else residual.to(dtype),
            relu=relu,
            mask=None if mask is None else mask.to(dtype),
            mask_scale=numbers(affine, channels),
            mask_shift=numbers(affine, channels),
            companion=companion.to(dtype) if totals and companion is not None else None,
            halos=halos,
        )

    return finish


@pytest.mark.parametrize("isa", ISAS)
@given(
    problem=st.one_of(problems(), problems(), depthwise()),
    finish=finishes(),
    totals=st.booleans(),
    halos=st.tuples(HALOS, HALOS, HALOS),
)
@settings(max_examples=200)
def test_convolution(
    isa: str,
    problem: Problem,
    finish: Callable[[tuple[int, ...], torch.dtype, bool], Finish],
    totals: bool,
    halos: tuple[Sides, Sides, Sides],
) -> None:
    s, geometry = sample(problem, exact=True), ConvGeometry(**problem.attrs)
    y, gx, gvalues = expected(problem, s)
    on_y, on_gx = (finish(tuple(shape), problem.dtype, totals) for shape in (y.shape, gx.shape))
    sums = [torch.full((v.shape[1], 2), torch.nan, dtype=torch.float64) if totals else None for v in (y, gx)]
    weight = (s.values, s.indices)
    with native.using_isa(isa):
        x, gy = native_layout.to_native(s.x, halos[0]), native_layout.to_native(s.gy, halos[1])
        bias = None if totals else s.bias
        found = native_layout.conv2d_output(
            x, *weight, geometry, bias=bias, epilogue=on_y.native(), halo=halos[2], totals=sums[0]
        )
        back = native_layout.conv2d_input_grad(
            gy, *weight, s.transposed, geometry, x.size, epilogue=on_gx.native(), halo=halos[2], totals=sums[1]
        )
        assert torch.equal(native_weight_grad.conv2d_weight_grad(x, gy, s.indices, geometry).double(), gvalues)
    y = y if bias is not None or s.bias is None else y - channelwise(s.bias, 0.0)
    for result, right, total, at in ((found, y, sums[0], on_y), (back, gx, sums[1], on_gx)):
        finished = at.applied(right)
        assert_is(result, finished, halos[2])
        if total is not None:
            assert_totals(total, sums_of(finished, at.companion))


def results(problem: Problem, s: Sample) -> list[Tensor]:
    """Everything that a training step asks of a convolution, its reductions included."""
    geometry, sums = ConvGeometry(**problem.attrs), [torch.empty(c, 2).double() for c in problem.weight_shape[:2]]
    x, gy = native_layout.to_native(s.x, problem.padding), native_layout.to_native(s.gy)
    y = native_layout.conv2d_output(x, s.values, s.indices, geometry, totals=sums[0])
    gx = native_layout.conv2d_input_grad(
        gy, s.values, s.indices, s.transposed, geometry, x.size, epilogue=Epilogue(companion=x), totals=sums[1]
    )
    gvalues = native_weight_grad.conv2d_weight_grad(x, gy, s.indices, geometry)
    z = native_layout.normalise(y, scale=sums[0][:, 0].float(), other=gy, relu=True)
    reduced = torch.empty_like(sums[0])
    native_layout.reduce(z, companion=y, totals=reduced)
    return [y.data, gx.data, gvalues, z.data, reduced, *sums]


@pytest.mark.parametrize("isa", ISAS)
@given(problem=work_for_two())
@settings(max_examples=8)
def test_same_bits_for_one_thread_and_for_two(isa: str, problem: Problem) -> None:
    s = sample(problem)
    with native.using_isa(isa):
        with threads(1):
            one = results(problem, s)
        with threads(2):
            two = results(problem, s)
    assert not any(result.isnan().any() for result in one)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_too_large_for_a_cache(isa: str, dtype: torch.dtype) -> None:
    """They are written around the caches, and the input is fetched ahead: more than 8 MiB (csrc/plan/tiles.cpp)."""
    shape = {"padding": (1, 0, 0, 1), "density": 0.1, "dtype": dtype}
    for channels in ((48, 2), (2, 48)):
        problem = Problem((33, channels[0], 38, 38), (channels[1], channels[0], 2, 2), **shape)
        s, geometry = sample(problem, exact=True), ConvGeometry(**problem.attrs)
        y, gx, gvalues = expected(problem, s)
        with native.using_isa(isa):
            x, gy = native_layout.to_native(s.x), native_layout.to_native(s.gy)
            halo = (0, 1, 1, 0)
            assert_is(native_layout.conv2d_output(x, s.values, s.indices, geometry, halo=halo), y, halo)
            back = native_layout.conv2d_input_grad(gy, s.values, s.indices, s.transposed, geometry, x.size, halo=halo)
            assert_is(back, gx, halo)
            assert torch.equal(native_weight_grad.conv2d_weight_grad(x, gy, s.indices, geometry).double(), gvalues)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_that_many_weights_read_are_copied_from_between_those_that_a_stride_leaves_out(
    isa: str, stride: tuple[int, int], dtype: torch.dtype
) -> None:
    problem = Problem((33, 3, 7, 12), (90, 3, 1, 1), stride=stride, density=1.0, dtype=dtype)
    s = sample(problem, exact=True)
    with native.using_isa(isa):
        x, gy = native_layout.to_native(s.x, (1, 0, 2, 0)), native_layout.to_native(s.gy)
        found = native_weight_grad.conv2d_weight_grad(x, gy, s.indices, ConvGeometry(**problem.attrs))
    assert torch.equal(found.double(), expected(problem, s)[2])
