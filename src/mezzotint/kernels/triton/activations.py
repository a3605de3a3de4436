"""How are outputs and input gradients gathered? A program sums one channel's nonzeros over one tile of pixels.

Several nonzeros are taken at a time, so that their loads are in flight together; each has accumulators of its own,
which are added once at the end. Neighbouring programs compute neighbouring channels of the same pixels: what they
gather lies in the cache then.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mezzotint.kernels.triton import segments
from mezzotint.kernels.triton.geometry import (
    OPTIONS,
    Convolution,
    Ints,
    coalesced,
    index_type,
    on_device_of,
    pixel_tile,
)

#: At most: pixels of a tile, products that a program computes at a time (16 accumulators a thread), nonzeros of them.
PIXELS = 512
PRODUCTS = 2048
NONZEROS = 32

_OUTPUT_SIZES = ["pixels", "height", "width", "out_height", "out_width", "channels", "inputs_per_group"]
_OUTPUT_SIZES += ["outputs_per_group", "pad_top", "pad_left", "x_n", "x_c", "x_h", "y_n", "y_c", "y_h"]
_INPUT_GRAD_SIZES = ["pixels", "height", "width", "out_height", "out_width", "channels", "inputs_per_group", "groups"]
_INPUT_GRAD_SIZES += ["pad_top", "pad_left", "gy_n", "gy_c", "gy_h", "gx_n", "gx_c", "gx_h"]


def conv2d_output(
    y: Tensor,
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None,
    bias: Tensor | None,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """Fill ``y [N, O, Ho, Wo]`` with the sparse convolution of ``x [N, C, H, W]``, plus ``bias [O]``."""
    if y.numel() == 0:
        return
    conv = Convolution(weight_shape, stride, padding, dilation, groups)
    batch, channels, out_height, out_width = y.shape
    pixels = batch * out_height * out_width
    tile = pixel_tile(pixels, PIXELS, channels)
    with on_device_of(y):
        x, weights, indices = coalesced(x), _rounded(values, x.dtype), indices.contiguous()
        _output[(channels * triton.cdiv(pixels, tile),)](
            x,
            weights,
            indices,
            segments.by_output_channel(indices, conv),
            weights if bias is None else bias.contiguous(),
            y,
            pixels,
            x.shape[2],
            x.shape[3],
            out_height,
            out_width,
            channels,
            conv.inputs_per_group,
            conv.outputs_per_group,
            padding[0],
            padding[2],
            *x.stride(),
            *y.stride(),
            **conv.constants(),
            BIAS=bias is not None,
            INDEX=index_type(pixels, x, y),
            NONZEROS=min(NONZEROS, PRODUCTS // tile),
            PIXELS=tile,
            **OPTIONS,
        )


def conv2d_input_grad(
    gx: Tensor,
    gy: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    *,
    weight_shape: Ints,
    input_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """Fill ``gx [N, C, H, W]`` with the gradient for the input, given ``gy [N, O, Ho, Wo]``."""
    if gx.numel() == 0:
        return
    conv = Convolution(weight_shape, stride, padding, dilation, groups)
    batch, channels, height, width = gx.shape
    pixels = batch * height * width
    tile = pixel_tile(pixels, PIXELS, channels)
    with on_device_of(gx):
        gy, weights = coalesced(gy), _rounded(values, gy.dtype)
        indices, transposed = indices.contiguous(), transposed.contiguous()
        _input_grad[(channels * triton.cdiv(pixels, tile),)](
            gy,
            weights,
            indices,
            transposed,
            segments.by_input_channel(indices, transposed, conv),
            gx,
            pixels,
            height,
            width,
            gy.shape[2],
            gy.shape[3],
            channels,
            conv.inputs_per_group,
            groups,
            padding[0],
            padding[2],
            *gy.stride(),
            *gx.stride(),
            **conv.constants(),
            INDEX=index_type(pixels, gy, gx),
            NONZEROS=min(NONZEROS, PRODUCTS // tile),
            PIXELS=tile,
            **OPTIONS,
        )


def _rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The working copy: PyTorch rounds to nearest even on every device, Triton's interpreter would cut BF16 off."""
    return values.to(dtype).contiguous()


@triton.jit(do_not_specialize=_OUTPUT_SIZES)
def _output(
    x,
    weights,
    indices,
    starts,
    bias,
    y,
    pixels,
    height,
    width,
    out_height,
    out_width,
    channels,
    inputs_per_group,
    outputs_per_group,
    pad_top,
    pad_left,
    x_n,
    x_c,
    x_h,
    x_w,
    y_n,
    y_c,
    y_h,
    y_w,
    TAPS: tl.constexpr,
    KERNEL_W: tl.constexpr,
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    BIAS: tl.constexpr,
    INDEX: tl.constexpr,
    NONZEROS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """``y[n, o] = bias[o] + sum over the nonzeros (c, ky, kx) of o of w x[n, c, oy s + ky d - p, ox s + kx d - p]``."""
    channel = tl.program_id(0) % channels
    pixel = (tl.program_id(0) // channels).to(INDEX) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    out_x = pixel % out_width
    out_y = pixel // out_width % out_height
    image = pixel // out_width // out_height
    # Where the tap (0, 0) reads; a nonzero adds a distance that is the same for all pixels.
    top = out_y * STRIDE_H - pad_top
    left = out_x * STRIDE_W - pad_left
    corner = image * x_n + top * x_h + left * x_w
    first_channel = channel // outputs_per_group * inputs_per_group

    sums = tl.zeros((NONZEROS, PIXELS), dtype=tl.float32)
    end = tl.load(starts + channel + 1)
    for at in range(tl.load(starts + channel), end, NONZEROS):
        nonzero = at + tl.arange(0, NONZEROS)
        exists = nonzero < end
        index = tl.load(indices + nonzero, mask=exists, other=0)
        weight = tl.load(weights + nonzero, mask=exists, other=0.0).to(tl.float32)
        down = (index % TAPS // KERNEL_W * DILATION_H).to(INDEX)
        right = (index % TAPS % KERNEL_W * DILATION_W).to(INDEX)
        source = (first_channel + index // TAPS % inputs_per_group).to(INDEX)
        in_y = top[None, :] + down[:, None]
        in_x = left[None, :] + right[:, None]
        read = exists[:, None] & inside[None, :] & (in_y >= 0) & (in_y < height) & (in_x >= 0) & (in_x < width)
        distance = source * x_c + down * x_h + right * x_w
        gathered = tl.load(x + (corner[None, :] + distance[:, None]), mask=read, other=0.0)
        sums += weight[:, None] * gathered.to(tl.float32)

    total = tl.sum(sums, axis=0)
    if BIAS:
        total += tl.load(bias + channel).to(tl.float32)
    offset = image * y_n + channel.to(INDEX) * y_c + out_y * y_h + out_x * y_w
    tl.store(y + offset, total.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=_INPUT_GRAD_SIZES)
def _input_grad(
    gy,
    weights,
    indices,
    transposed,
    starts,
    gx,
    pixels,
    height,
    width,
    out_height,
    out_width,
    channels,
    inputs_per_group,
    groups,
    pad_top,
    pad_left,
    gy_n,
    gy_c,
    gy_h,
    gy_w,
    gx_n,
    gx_c,
    gx_h,
    gx_w,
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
    """``gx[n, c, iy, ix]`` = the sum, over the nonzeros that read this pixel, of ``w gy`` where they have written."""
    channel = tl.program_id(0) % channels
    pixel = (tl.program_id(0) // channels).to(INDEX) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    in_x = pixel % width
    in_y = pixel // width % height
    image = pixel // width // height
    segment = channel % inputs_per_group * groups + channel // inputs_per_group

    sums = tl.zeros((NONZEROS, PIXELS), dtype=tl.float32)
    end = tl.load(starts + segment + 1)
    for at in range(tl.load(starts + segment), end, NONZEROS):
        place = at + tl.arange(0, NONZEROS)
        exists = place < end
        nonzero = tl.load(transposed + place, mask=exists, other=0)
        index = tl.load(indices + nonzero, mask=exists, other=0)
        weight = tl.load(weights + nonzero, mask=exists, other=0.0).to(tl.float32)
        down = (index % TAPS // KERNEL_W * DILATION_H).to(INDEX)
        right = (index % TAPS % KERNEL_W * DILATION_W).to(INDEX)
        source = (index // TAPS // inputs_per_group).to(INDEX)
        # out_y s + ky d - p = in_y, solved for out_y: there is none where the stride leaves a remainder.
        above = (in_y + pad_top)[None, :] - down[:, None]
        before = (in_x + pad_left)[None, :] - right[:, None]
        out_y = above // STRIDE_H
        out_x = before // STRIDE_W
        read = exists[:, None] & inside[None, :] & (above >= 0) & (before >= 0)
        read = read & (out_y < out_height) & (out_x < out_width)
        read = read & (out_y * STRIDE_H == above) & (out_x * STRIDE_W == before)
        offset = (image * gy_n)[None, :] + (source * gy_c)[:, None] + out_y * gy_h + out_x * gy_w
        gathered = tl.load(gy + offset, mask=read, other=0.0)
        sums += weight[:, None] * gathered.to(tl.float32)

    offset = image * gx_n + channel.to(INDEX) * gx_c + in_y * gx_h + in_x * gx_w
    tl.store(gx + offset, tl.sum(sums, axis=0).to(gx.dtype.element_ty), mask=inside)
