"""In which memory do an operator's outputs lie? In the declared type, and in the format of the first input."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.errors import ShapeError
from mezzotint.ops.opdef import TensorSpec


def memory_format(spec: TensorSpec, first: Tensor) -> torch.memory_format:
    """Channels-last in, channels-last out, as PyTorch's own convolutions do; everything else is contiguous."""
    return torch.channels_last if len(spec.shape) == 4 and is_channels_last(first) else torch.contiguous_format


def is_channels_last(tensor: Tensor) -> bool:
    """Whether ``tensor`` is meant to lie with its channels innermost."""
    if tensor.dim() != 4 or not tensor.is_contiguous(memory_format=torch.channels_last):
        return False
    # With one channel or one pixel both formats fit the bytes; the strides then say which is meant.
    return tensor.stride(1) == 1 and tensor.stride(3) == tensor.shape[1]


def allocate(spec: TensorSpec, first: Tensor) -> Tensor:
    """Memory for an output."""
    return torch.empty(spec.shape, dtype=spec.dtype, device=first.device, memory_format=memory_format(spec, first))


def laid_out(result: Tensor, spec: TensorSpec, first: Tensor) -> Tensor:
    """The kernel's result in the declared type and in the memory format that the fake kernel promises."""
    if tuple(result.shape) != tuple(spec.shape) or result.dtype != spec.dtype:
        raise ShapeError(
            f"a kernel returned {list(result.shape)} {result.dtype}, "
            f"the declaration says {list(spec.shape)} {spec.dtype}."
        )
    return result.contiguous(memory_format=memory_format(spec, first))
