"""What is the right answer? Slow, obvious kernels in float64, tap by tap: the oracle of every other kernel.

They use no convolution of PyTorch, so that a mistake cannot hide in both. Weights are rounded to the type of the
activations first (the working copy), as every kernel does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels.geometry import for_pad, output_size, pads_per_axis, taps, trailing, transposed_output_size

Ints = Sequence[int]


def scatter(values: Tensor, indices: Tensor, weight_shape: Ints, dtype: torch.dtype) -> Tensor:
    """The dense weight ``weight_shape`` with ``values`` (rounded to ``dtype``) at ``indices`` and zeros elsewhere."""
    dense = values.new_zeros(math.prod(weight_shape), dtype=dtype)
    dense[indices.long()] = values.to(dtype)
    return dense.view(list(weight_shape))


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """``y[n, o] = bias[o] + sum over (i, k) of w[o, i, k] x[n, i, h s + k d - p]``, in any number of axes ``h``."""
    padded, weight64 = F.pad(x.double(), for_pad(padding)), weight.to(x.dtype).double()
    size = _output(x, weight.shape, stride, padding, dilation)
    y = padded.new_zeros(x.shape[0], groups, weight.shape[0] // groups, *size)
    for tap in taps(weight.shape[2:], size, stride, dilation):
        patch = _grouped(padded[trailing(tap.reads)], groups)
        y += torch.einsum("ngi...,goi->ngo...", patch, _tap_weight(weight64, tap.place, groups))
    y = y.flatten(1, 2)
    return (y if bias is None else y + _per_channel(bias, y)).to(x.dtype)


def conv_input_grad(
    gy: Tensor, weight: Tensor, *, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """Gradient of :func:`conv` for ``x`` of spatial size ``input_size``, given the output gradient ``gy``."""
    gy64, weight64 = _grouped(gy.double(), groups), weight.to(gy.dtype).double()
    pads = pads_per_axis(padding)
    sizes = [before + size + after for size, (before, after) in zip(input_size, pads, strict=True)]
    gx = gy64.new_zeros(gy.shape[0], groups, weight.shape[1], *sizes)
    for tap in taps(weight.shape[2:], gy.shape[2:], stride, dilation):
        gx[trailing(tap.reads)] += torch.einsum("ngo...,goi->ngi...", gy64, _tap_weight(weight64, tap.place, groups))
    kept = (slice(before, before + size) for size, (before, _) in zip(input_size, pads, strict=True))
    return gx.flatten(1, 2)[trailing(kept)].to(gy.dtype)


def conv_weight_grad(
    x: Tensor,
    gy: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    out_dtype: torch.dtype,
) -> Tensor:
    """Gradient of :func:`conv` for its weight, summed in float64."""
    padded, gy64 = F.pad(x.double(), for_pad(padding)), _grouped(gy.double(), groups)
    gw = gy64.new_zeros(*weight_shape)
    for tap in taps(weight_shape[2:], gy.shape[2:], stride, dilation):
        patch = _grouped(padded[trailing(tap.reads)], groups)
        gw[trailing(tap.place)] = torch.einsum("ngip,ngop->goi", patch.flatten(3), gy64.flatten(3)).flatten(0, 1)
    return gw.to(out_dtype)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    dilation: Ints,
    groups: int,
) -> Tensor:
    """The input gradient of the convolution that takes the result's size to the size of ``x``, plus ``bias``."""
    pads = pads_per_axis(padding)
    size = [
        transposed_output_size(
            x.shape[2 + axis],
            weight.shape[2 + axis],
            before=before,
            after=after,
            stride=stride[axis],
            dilation=dilation[axis],
            more=output_padding[axis],
        )
        for axis, (before, after) in enumerate(pads)
    ]
    rounded = weight.to(x.dtype)
    y = conv_input_grad(
        x.double(),
        rounded.double(),
        input_size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return (y if bias is None else y + _per_channel(bias, y)).to(x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``y = x w^T + bias`` for ``x [N, I]``, ``weight [O, I]``."""
    y = x.double() @ weight.to(x.dtype).double().t()
    return (y if bias is None else y + bias.double()).to(x.dtype)


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`linear` for ``x``."""
    return (gy.double() @ weight.to(gy.dtype).double()).to(gy.dtype)


def linear_weight_grad(x: Tensor, gy: Tensor, *, weight_shape: Ints, out_dtype: torch.dtype) -> Tensor:
    """Gradient of :func:`linear` for its weight, summed in float64."""
    return (gy.double().t() @ x.double()).view(list(weight_shape)).to(out_dtype)


def _per_channel(bias: Tensor, y: Tensor) -> Tensor:
    return bias.double().view(-1, *(1,) * (y.dim() - 2))


def _output(x: Tensor, weight_shape: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    return [
        output_size(
            x.shape[2 + axis],
            weight_shape[2 + axis],
            before=before,
            after=after,
            stride=stride[axis],
            dilation=dilation[axis],
        )
        for axis, (before, after) in enumerate(pads_per_axis(padding))
    ]


def _grouped(x: Tensor, groups: int) -> Tensor:
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _tap_weight(weight: Tensor, index: tuple[int, ...], groups: int) -> Tensor:
    return weight[trailing(index)].reshape(groups, weight.shape[0] // groups, weight.shape[1])
