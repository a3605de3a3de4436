"""How is a convolution described to a Triton kernel? Sizes, strides, tiles, and how wide an offset must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor

Ints = Sequence[int]

#: Offsets and pixel numbers below it are computed in 32 bits; what the last tile adds still fits.
NARROW = 2**31 - 2**16
#: Programs that fill a large GPU. Fixed, so that no result depends on the GPU.
PROGRAMS = 1024
#: Fewest pixels of a tile: a warp's lanes; and the smallest tile that is made for the sake of more programs.
_WARP = 32
_SMALL = 64
#: How every kernel is compiled; said here because Triton's default changes in version 3.10.
OPTIONS: Mapping[str, Any] = {"enable_fp_fusion": True}


class Convolution(NamedTuple):
    """A sparse convolution's attributes as the kernels take them; ``padding`` is ``(top, bottom, left, right)``."""

    weight_shape: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int

    @property
    def outputs_per_group(self) -> int:
        """Output channels of a group."""
        return self.weight_shape[0] // self.groups

    @property
    def inputs_per_group(self) -> int:
        """Input channels of a group: the second axis of the weight."""
        return self.weight_shape[1]

    @property
    def taps(self) -> int:
        """Positions in the kernel."""
        return self.weight_shape[2] * self.weight_shape[3]

    def constants(self) -> dict[str, int]:
        """What is compiled into a kernel: divisions by constants are cheap, and few layers differ in them."""
        return {
            "TAPS": self.taps,
            "KERNEL_W": self.weight_shape[3],
            "STRIDE_H": self.stride[0],
            "STRIDE_W": self.stride[1],
            "DILATION_H": self.dilation[0],
            "DILATION_W": self.dilation[1],
        }


def pixel_tile(pixels: int, most: int, channels: int) -> int:
    """Pixels that a program computes together: a power of two, no larger than the problem needs.

    Smaller ones where a program a tile and channel would leave a GPU idle.
    """
    tile = min(most, max(_WARP, 1 << (pixels - 1).bit_length()))
    while tile > _SMALL and channels * -(-pixels // tile) < PROGRAMS:
        tile //= 2
    return tile


def index_type(pixels: int, *tensors: Tensor) -> Any:
    """``tl.int32`` where every offset into ``tensors`` and every pixel's number fits, otherwise ``tl.int64``."""
    largest = max([pixels, *(_last_offset(tensor) for tensor in tensors)])
    return tl.int32 if largest < NARROW else tl.int64


def coalesced(x: Tensor) -> Tensor:
    """``x [N, C, H, W]`` with neighbouring pixels nearer to each other in memory than neighbouring channels are.

    A warp reads one channel of neighbouring pixels. In channels-last memory each of its loads would touch as many
    sectors as it has lanes, once for every nonzero; copying once is cheaper.
    """
    axis = 3 if x.shape[3] > 1 else 2
    scattered = x.shape[1] > 1 and x.shape[axis] > 1 and x.stride(1) < x.stride(axis)
    return x.contiguous() if scattered else x


def on_device_of(x: Tensor) -> Any:
    """A context in which kernels are launched on the GPU that holds ``x``; Triton asks for the current one."""
    return torch.cuda.device_of(x)


def _last_offset(tensor: Tensor) -> int:
    return sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
