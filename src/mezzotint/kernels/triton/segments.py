"""Where do the nonzeros of each channel begin? A binary search per channel, since a pattern keeps no row starts."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mezzotint.kernels.triton.geometry import OPTIONS, Convolution

_BLOCK = 128
_SIZES = ["nnz", "segments", "row", "inputs_per_group", "group_size", "groups", "steps"]


def by_output_channel(indices: Tensor, conv: Convolution) -> Tensor:
    """int32 ``[O + 1]``: the nonzeros of output channel ``o`` are those from entry ``o`` until entry ``o + 1``."""
    return _starts(indices, indices, conv, segments=conv.weight_shape[0], transposed=False)


def by_input_channel(indices: Tensor, transposed: Tensor, conv: Convolution) -> Tensor:
    """int32 ``[C + 1]``, positions in the ``transposed`` order, of C segments.

    That order sorts by (channel inside the group, output channel, tap): the nonzeros of channel ``c`` of group ``g``
    are segment ``c * groups + g``.
    """
    segments = conv.inputs_per_group * conv.groups
    return _starts(indices, transposed, conv, segments=segments, transposed=True)


def _starts(indices: Tensor, order: Tensor, conv: Convolution, *, segments: int, transposed: bool) -> Tensor:
    starts = torch.empty(segments + 1, dtype=torch.int32, device=indices.device)
    nnz, row = indices.numel(), conv.inputs_per_group * conv.taps
    _search[(triton.cdiv(segments + 1, _BLOCK),)](
        indices,
        order,
        starts,
        nnz,
        segments,
        row,
        conv.inputs_per_group,
        row * conv.outputs_per_group,
        conv.groups,
        nnz.bit_length(),
        TAPS=conv.taps,
        TRANSPOSED=transposed,
        BLOCK=_BLOCK,
        **OPTIONS,
    )
    return starts


@triton.jit(do_not_specialize=_SIZES)
def _search(
    indices,
    order,
    starts,
    nnz,
    segments,
    row,
    inputs_per_group,
    group_size,
    groups,
    steps,
    TAPS: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Entry ``s`` of ``starts``: the number of nonzeros that belong to an earlier segment than ``s``."""
    segment = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    low = tl.zeros((BLOCK,), dtype=tl.int32)
    high = low + nnz
    for _ in range(steps):
        open_ = low < high
        middle = low + (high - low) // 2
        if TRANSPOSED:
            position = tl.load(order + middle, mask=open_, other=0)
            index = tl.load(indices + position, mask=open_, other=0)
            found = index // TAPS % inputs_per_group * groups + index // group_size
        else:
            found = tl.load(indices + middle, mask=open_, other=0) // row
        earlier = found < segment
        low = tl.where(open_ & earlier, middle + 1, low)
        high = tl.where(open_ & (earlier == 0), middle, high)
    tl.store(starts + segment, low, mask=segment <= segments)
