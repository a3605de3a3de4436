"""How does Python call the C++ kernel? With ctypes: pointers, a length and a number; the GIL is released meanwhile."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def soft_threshold(x: Tensor, y: Tensor, threshold: float) -> None:
    """Fill ``y``. Both float32 or float64, on the CPU, contiguous and of one size; mezzotint has seen to that."""
    _function(x.dtype)(x.data_ptr(), y.data_ptr(), x.numel(), threshold)


@lru_cache
def _function(dtype: torch.dtype) -> Any:
    library = ctypes.CDLL(str(Path(__file__).with_name("_shrink.so")))
    function = getattr(library, f"shrink_soft_threshold_{str(dtype).removeprefix('torch.')}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double]
    function.restype = None
    return function
