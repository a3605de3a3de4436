"""When can the Triton kernel run, and how is it called? Triton is not imported before a problem on a GPU asks."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mezzotint.kernels import Problem


def refusal(problem: Problem) -> str | None:
    """``None``, or one sentence why the kernel cannot do ``problem``; the table has checked device and type."""
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    if find_spec("triton") is None:
        return "triton is not installed: run `pip install 'mezzotint-shrink[gpu]'`"
    return None


def soft_threshold(x: Tensor, y: Tensor, threshold: float) -> None:
    """Fill ``y``; both contiguous and of one size."""
    import_module("shrink.triton_kernel").launch(x, y, threshold)
