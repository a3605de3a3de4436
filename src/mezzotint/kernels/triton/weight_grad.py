"""How is a weight gradient computed at the nonzeros alone? A program sums a few of them over a share of the pixels.

The nonzeros of a program belong to one output channel and share what is read of the output gradient. No dense weight
gradient is made. Where there are too few nonzeros to fill a GPU, the pixels are split as well: each part writes sums
of its own, which are added in a fixed order. How many parts there are depends on the problem, not on the GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mezzotint.kernels.triton import segments
from mezzotint.kernels.triton.geometry import (
    OPTIONS,
    PROGRAMS,
    Convolution,
    Ints,
    coalesced,
    index_type,
    on_device_of,
    pixel_tile,
)

#: Nonzeros of a program at a time, and pixels of a tile at most: 16 accumulators a thread.
NONZEROS = 16
PIXELS = 128
#: Tiles of pixels that a part has at least.
TILES = 8

_SIZES = ["nnz", "pixels", "tiles", "height", "width", "out_height", "out_width", "channels", "shares"]
_SIZES += ["inputs_per_group", "outputs_per_group", "pad_top", "pad_left", "step_n", "step_h", "step_w"]
_SIZES += ["x_n", "x_c", "x_h", "gy_n", "gy_c", "gy_h"]


def conv2d_weight_grad(
    gv: Tensor,
    x: Tensor,
    gy: Tensor,
    indices: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    out_dtype: torch.dtype,
) -> None:
    """Fill ``gv [nnz]`` with the weight gradient at the nonzeros, given ``x [N, C, H, W]``, ``gy [N, O, Ho, Wo]``."""
    nnz = indices.numel()
    if nnz == 0 or gy.numel() == 0:
        gv.zero_()
        return
    conv = Convolution(weight_shape, stride, padding, dilation, groups)
    batch, channels, out_height, out_width = gy.shape
    pixels = batch * out_height * out_width
    tile = pixel_tile(pixels, PIXELS, channels=PROGRAMS)
    shares = triton.cdiv(nnz, channels * NONZEROS)
    parts, tiles = split(triton.cdiv(nnz, NONZEROS), triton.cdiv(pixels, tile))
    with on_device_of(gv):
        x, gy, indices = coalesced(x), coalesced(gy), indices.contiguous()
        partial = gv if parts == 1 else torch.empty((parts, nnz), dtype=torch.float32, device=gv.device)
        _weight_grad[(channels * shares * parts,)](
            x,
            gy,
            indices,
            segments.by_output_channel(indices, conv),
            partial,
            nnz,
            pixels,
            tiles,
            x.shape[2],
            x.shape[3],
            out_height,
            out_width,
            channels,
            shares,
            conv.inputs_per_group,
            conv.outputs_per_group,
            padding[0],
            padding[2],
            tile // out_width // out_height,
            tile // out_width % out_height,
            tile % out_width,
            *x.stride(),
            *gy.stride(),
            **conv.constants(),
            INDEX=index_type(parts * tiles * tile, x, gy),
            NONZEROS=NONZEROS,
            PIXELS=tile,
            **OPTIONS,
        )
        if parts > 1:
            gv.copy_(partial.sum(0))


def split(programs: int, tiles: int) -> tuple[int, int]:
    """Parts into which the pixels are split, and tiles of each, given the programs that the nonzeros alone make."""
    parts = max(1, min(PROGRAMS // programs, tiles // TILES))
    each = triton.cdiv(tiles, parts)
    return triton.cdiv(tiles, each), each


@triton.jit(do_not_specialize=_SIZES)
def _weight_grad(
    x,
    gy,
    indices,
    starts,
    sums,
    nnz,
    pixels,
    tiles,
    height,
    width,
    out_height,
    out_width,
    channels,
    shares,
    inputs_per_group,
    outputs_per_group,
    pad_top,
    pad_left,
    step_n,
    step_h,
    step_w,
    x_n,
    x_c,
    x_h,
    x_w,
    gy_n,
    gy_c,
    gy_h,
    gy_w,
    TAPS: tl.constexpr,
    KERNEL_W: tl.constexpr,
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    INDEX: tl.constexpr,
    NONZEROS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """``sums[part, k]`` = the sum over a part's pixels of ``gy`` there times the ``x`` that nonzero ``k`` reads for it.

    Program (channel, share, part) takes every ``shares``-th handful of the channel's nonzeros.
    """
    channel = tl.program_id(0) % channels
    share = tl.program_id(0) // channels % shares
    part = tl.program_id(0) // channels // shares
    first_pixel = part.to(INDEX) * tiles * PIXELS + tl.arange(0, PIXELS)
    first_channel = channel // outputs_per_group * inputs_per_group
    row = channel.to(INDEX) * gy_c

    end = tl.load(starts + channel + 1)
    for at in range(tl.load(starts + channel) + share * NONZEROS, end, shares * NONZEROS):
        nonzero = at + tl.arange(0, NONZEROS)
        exists = nonzero < end
        index = tl.load(indices + nonzero, mask=exists, other=0)
        down = (index % TAPS // KERNEL_W * DILATION_H).to(INDEX)
        right = (index % TAPS % KERNEL_W * DILATION_W).to(INDEX)
        source = (first_channel + index // TAPS % inputs_per_group).to(INDEX)
        distance = source * x_c + down * x_h + right * x_w

        products = tl.zeros((NONZEROS, PIXELS), dtype=tl.float32)
        pixel = first_pixel
        out_x = pixel % out_width
        out_y = pixel // out_width % out_height
        image = pixel // out_width // out_height
        for _ in range(tiles):
            inside = pixel < pixels
            top = out_y * STRIDE_H - pad_top
            left = out_x * STRIDE_W - pad_left
            in_y = top[None, :] + down[:, None]
            in_x = left[None, :] + right[:, None]
            read = exists[:, None] & inside[None, :] & (in_y >= 0) & (in_y < height) & (in_x >= 0) & (in_x < width)
            corner = image * x_n + top * x_h + left * x_w
            gathered = tl.load(x + (corner[None, :] + distance[:, None]), mask=read, other=0.0)
            gradient = tl.load(gy + (image * gy_n + row + out_y * gy_h + out_x * gy_w), mask=inside, other=0.0)
            products += gathered.to(tl.float32) * gradient.to(tl.float32)[None, :]
            # The next tile without a division: pixels are numbers of three digits, and a digit carries at most once.
            pixel += PIXELS
            out_x += step_w
            carry = (out_x >= out_width).to(INDEX)
            out_x -= carry * out_width
            out_y += step_h + carry
            carry = (out_y >= out_height).to(INDEX)
            out_y -= carry * out_height
            image += step_n + carry

        total = tl.sum(products, axis=1)
        tl.store(sums + part.to(tl.int64) * nnz + nonzero, total.to(sums.dtype.element_ty), mask=exists)
