"""How are results in the native layout checked to the last bit? Helpers of the tests on drawn problems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.kernels import native, native_layout
from mezzotint.kernels.native_layout import NativeTensor, Sides

ISAS = native.isas() if native.unavailable() is None else ()
HALOS = st.tuples(*[st.integers(0, 3)] * 4)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's, and therefore the library's, number of threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def halves(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Multiples of 1/2 from -2 to 2, in float32: all types hold them, and float32 their sums and products."""
    return torch.randint(-4, 5, shape, generator=generator) / 2


def channelwise(coefficients: Tensor | None, otherwise: float) -> Tensor:
    """``[1, C, 1, 1]`` in float64."""
    return torch.tensor(otherwise).double() if coefficients is None else coefficients.double().view(1, -1, 1, 1)


def assert_is(result: NativeTensor, right: Tensor, halo: Sides) -> None:
    """The result is ``right``, rounded, and zero in the halo and behind the last image."""
    assert result.halo == halo
    assert torch.equal(result.data, native_layout.to_native(right.to(result.data.dtype), halo).data)


def sums_of(v: Tensor, companion: Tensor | None) -> tuple[Tensor, Tensor]:
    """The totals ``[C, 2]`` of ``v [N, C, H, W]`` that an epilogue describes, and the same sums of magnitudes."""
    terms = torch.stack((v, v * (v if companion is None else companion.double())))
    return terms.sum((1, 3, 4)).t(), terms.abs().sum((1, 3, 4)).t()


def assert_totals(totals: Tensor, right: tuple[Tensor, Tensor]) -> None:
    """Products with a companion may need more than 24 bits, and so may their sums over a tile."""
    assert bool(((totals - right[0]).abs() <= 1e-6 * right[1]).all())
