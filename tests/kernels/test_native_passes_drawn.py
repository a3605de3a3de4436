"""Are the passes between convolutions right for any tensor, to the last bit, in every instruction set of this CPU?

Numbers are multiples of 1/2, so that sums are exact in any order and maxima have many ties. The reference is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from convolutions import BATCHES, DTYPES
from exactly import HALOS, ISAS, assert_is, assert_totals, channelwise, halves, sums_of, threads
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels import native, native_layout, native_pool
from mezzotint.kernels.native_layout import NativeTensor, Sides

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


@dataclass(frozen=True)
class Draw:
    """A shape and type, halos for operands and the result, and where the numbers come from."""

    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    halos: tuple[Sides, Sides, Sides, Sides]
    seed: int

    def tensors(self, count: int, shape: tuple[int, ...] | None = None) -> list[Tensor]:
        """``count`` different tensors of the shape."""
        generator = torch.Generator().manual_seed(self.seed)
        return [halves(shape or self.shape, generator).to(self.dtype) for _ in range(count)]

    def coefficients(self, count: int) -> list[Tensor]:
        """``count`` float32 vectors of one number a channel."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return [halves(self.shape[1:2], generator) for _ in range(count)]


DRAWS = st.builds(
    Draw,
    shape=st.tuples(BATCHES, st.integers(1, 5), st.integers(1, 8), st.integers(1, 20)),
    dtype=st.sampled_from(DTYPES),
    halos=st.tuples(HALOS, HALOS, HALOS, HALOS),
    seed=st.integers(0, 2**16),
)


def packed(tensors: list[Tensor], halos: tuple[Sides, ...]) -> list[NativeTensor]:
    """Every tensor in the native layout with a halo of its own."""
    return [native_layout.to_native(x, halo) for x, halo in zip(tensors, halos, strict=False)]


@pytest.mark.parametrize("isa", ISAS)
@given(draw=DRAWS, operands=st.integers(1, 3), affine=st.tuples(*[st.booleans()] * 4), relu=st.booleans())
def test_normalise(isa: str, draw: Draw, operands: int, affine: tuple[bool, ...], relu: bool) -> None:
    x, other, addend = draw.tensors(3)
    chosen = [c if wanted else None for c, wanted in zip(draw.coefficients(4), affine, strict=True)]
    right = x.double() * channelwise(chosen[0], 1.0) + channelwise(chosen[1], 0.0)
    if operands >= 2:
        right = right + other.double() * channelwise(chosen[2], 1.0) + channelwise(chosen[3], 0.0)
    if operands == 3:
        right = right + addend.double()
    with native.using_isa(isa):
        xp, op, ap = packed([x, other, addend], draw.halos)
        z = native_layout.normalise(
            xp,
            scale=chosen[0],
            shift=chosen[1],
            other=op if operands >= 2 else None,
            other_scale=chosen[2] if operands >= 2 else None,
            other_shift=chosen[3] if operands >= 2 else None,
            addend=ap if operands == 3 else None,
            relu=relu,
            halo=draw.halos[3],
        )
    assert_is(z, F.relu(right) if relu else right, draw.halos[3])


@pytest.mark.parametrize("isa", ISAS)
@given(draw=DRAWS, masked=st.booleans(), affine=st.booleans(), companion=st.booleans(), written=st.booleans())
def test_reduce(isa: str, draw: Draw, masked: bool, affine: bool, companion: bool, written: bool) -> None:
    x, mask, beside = draw.tensors(3)
    scale, shift = draw.coefficients(2) if affine else (None, None)
    signal = mask.double() * channelwise(scale, 1.0) + channelwise(shift, 0.0)
    right = torch.where(signal <= 0, 0.0, x.double()) if masked else x.double()
    totals = torch.full((x.shape[1], 2), torch.nan, dtype=torch.float64)
    with native.using_isa(isa):
        xp, mp, bp = packed([x, mask, beside], draw.halos)
        native_layout.reduce(
            xp,
            mask=mp if masked else None,
            mask_scale=scale if masked else None,
            mask_shift=shift if masked else None,
            companion=bp if companion else None,
            masked=xp if written else None,
            totals=totals,
        )
    assert_totals(totals, sums_of(right, beside if companion else None))
    assert_is(xp, right if written else x, draw.halos[0])


@pytest.mark.parametrize("isa", ISAS)
@given(draw=DRAWS, kernel=st.tuples(*[st.integers(1, 3)] * 2), geometry=st.tuples(*[st.integers(1, 3)] * 4))
def test_max_pool(isa: str, draw: Draw, kernel: tuple[int, int], geometry: tuple[int, ...]) -> None:
    """The gradient goes to the first of equal maxima."""
    batch, channels, *size = draw.shape
    stride, dilation = geometry[:2], geometry[2:]
    padding = (kernel[0] // 2, kernel[1] // 2)
    fitting = [max(n, (k - 1) * d + 1 - 2 * p) for n, k, d, p in zip(size, kernel, dilation, padding, strict=True)]
    (x,) = draw.tensors(1, (max(batch, 1), channels, *fitting))
    leaf, (top, left) = x.double().requires_grad_(), padding
    # PyTorch's own padding gives windows that lie outside of the image an index beyond its end.
    y = F.max_pool2d(F.pad(leaf, (left, left, top, top), value=-torch.inf), kernel, stride, 0, dilation)
    gy = halves(tuple(y.shape), torch.Generator().manual_seed(draw.seed)).to(draw.dtype)
    (gx,) = torch.autograd.grad(y, leaf, gy.double())
    window = (*kernel, *stride, *padding, *dilation)
    with native.using_isa(isa):
        xp, gyp = packed([x, gy], draw.halos)
        yp = native_pool.max_pool(xp, (y.shape[2], y.shape[3]), window, draw.halos[2])
        assert_is(yp, y.detach(), draw.halos[2])
        assert_is(native_pool.max_pool_grad(xp, yp, gyp, window), gx, native_layout.NO_HALO)


@pytest.mark.parametrize("isa", ISAS)
@given(draw=DRAWS)
def test_global_average(isa: str, draw: Draw) -> None:
    """A sum that is exact, divided by the number of pixels in float32."""
    (x,) = draw.tensors(1)
    (gy,) = draw.tensors(1, (*draw.shape[:2], 1, 1))
    pixels = draw.shape[2] * draw.shape[3]
    with native.using_isa(isa):
        xp, gyp = packed([x, gy], draw.halos)
        y = native_pool.global_average(xp, draw.halos[2])
        gx = native_pool.global_average_grad(gyp, (draw.shape[2], draw.shape[3]))
    assert_is(y, x.double().sum((2, 3), keepdim=True).float() / pixels, draw.halos[2])
    assert_is(gx, (gy.float() / pixels).expand(draw.shape), native_layout.NO_HALO)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_too_large_for_a_cache_on_one_thread_and_two(isa: str, dtype: torch.dtype) -> None:
    """They are written around the caches: more than 8 MiB (csrc/plan/tiles.cpp)."""
    generator = torch.Generator().manual_seed(0)
    x, other = (halves((70, 50, 34, 35), generator).to(dtype) for _ in range(2))
    right = F.relu(x.double() + other.double())
    window = (2, 2, 1, 1, 0, 0, 1, 1)
    found = []
    with native.using_isa(isa):
        xp, op = native_layout.to_native(x), native_layout.to_native(other)
        for count in (1, 2):
            with threads(count):
                z = native_layout.normalise(xp, other=op, relu=True, halo=(1, 0, 0, 1))
                y = native_pool.max_pool(xp, (33, 34), window, (0, 1, 1, 0))
                gx = native_pool.max_pool_grad(xp, y, y, window)
                found.append([z.data, y.data, gx.data])
    assert_is(z, right, (1, 0, 0, 1))
    assert_is(y, F.max_pool2d(x.float(), 2, 1), (0, 1, 1, 0))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
