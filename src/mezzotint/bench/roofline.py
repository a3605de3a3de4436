"""What could this machine do at best? Attained peaks of arithmetic and of memory, and a kernel's place below them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from mezzotint.kernels import native_layout

SIDE: Final = 4096
"""Of the square matrices whose product is timed: large enough that nothing but arithmetic counts."""
TENSOR_BYTES: Final = 200_000_000
"""Of the tensor that is copied: far larger than any cache."""
TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Attained, not printed in a data sheet: the best of some tries of PyTorch's products and of a native pass.

    Attributes:
        bf16, fp32: FLOP/s of dense matrix products.
        bandwidth: bytes/s of main memory, one read and one written at a time.
    """

    bf16: float
    fp32: float
    bandwidth: float

    def place(self, flop: float, traffic: float, seconds: float) -> dict[str, float]:
        """Where a kernel lies that does ``flop`` on its nonzeros and must move ``traffic`` bytes.

        Returns:
            ``gflop_per_s``, ``flop_per_byte``, and fractions of the peaks: ``of_bf16_peak``, ``of_fp32_peak``,
            ``of_bandwidth``.
        """
        return {
            "gflop_per_s": 1e-9 * flop / seconds,
            "flop_per_byte": flop / traffic,
            "of_bf16_peak": flop / seconds / self.bf16,
            "of_fp32_peak": flop / seconds / self.fp32,
            "of_bandwidth": traffic / seconds / self.bandwidth,
        }


def measure_peaks(side: int = SIDE, tensor_bytes: int = TENSOR_BYTES) -> Peaks:
    """Measure them with the threads that PyTorch uses now; a few seconds."""
    return Peaks(
        bf16=_product(side, torch.bfloat16), fp32=_product(side, torch.float32), bandwidth=_bandwidth(tensor_bytes)
    )


def _product(side: int, dtype: torch.dtype) -> float:
    a, b = torch.randn(2, side, side).to(dtype)
    out = torch.empty(side, side, dtype=dtype)
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=out))


def _bandwidth(tensor_bytes: int) -> float:
    lanes, width = native_layout.lanes_of(torch.bfloat16), 64
    rows = max(1, tensor_bytes // (2 * lanes * width * width))
    x = native_layout.to_native(torch.randn(lanes, width, rows, width).bfloat16())
    return 2 * x.data.nbytes / _best(lambda: native_layout.normalise(x))


def _best(job: Callable[[], object]) -> float:
    """Seconds of the fastest of ``TRIES``, after one to warm up."""
    taken = []
    for _ in range(1 + TRIES):
        began = time.perf_counter()
        job()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
