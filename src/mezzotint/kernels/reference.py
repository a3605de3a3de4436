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

from mezzotint.kernels.geometry import output_size, taps

Ints = Sequence[int]


def scatter(values: Tensor, indices: Tensor, weight_shape: Ints, dtype: torch.dtype) -> Tensor:
    """The dense weight ``weight_shape`` with ``values`` (rounded to ``dtype``) at ``indices`` and zeros elsewhere."""
    dense = values.new_zeros(math.prod(weight_shape), dtype=dtype)
    dense[indices.long()] = values.to(dtype)
    return dense.view(list(weight_shape))


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """``y[n, o] = bias[o] + sum over (i, ky, kx) of w[o, i, ky, kx] x[n, i, h s + ky d - p, w s + kx d - p]``."""
    padded, weight64 = _pad(x.double(), padding), weight.to(x.dtype).double()
    size = _output(x, weight.shape, stride, padding, dilation)
    y = padded.new_zeros(x.shape[0], groups, weight.shape[0] // groups, *size)
    for tap in taps(weight.shape[2:], size, stride, dilation):
        patch = _grouped(padded[:, :, tap.rows, tap.cols], groups)
        y += torch.einsum("ngihw,goi->ngohw", patch, _tap_weight(weight64, tap.ky, tap.kx, groups))
    y = y.flatten(1, 2)
    return (y if bias is None else y + bias.double().view(1, -1, 1, 1)).to(x.dtype)


def conv2d_input_grad(
    gy: Tensor, weight: Tensor, *, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """Gradient of :func:`conv2d` for ``x`` of spatial size ``input_size``, given the output gradient ``gy``."""
    top, bottom, left, right = padding
    gy64, weight64 = _grouped(gy.double(), groups), weight.to(gy.dtype).double()
    height, width = input_size
    gx = gy64.new_zeros(gy.shape[0], groups, weight.shape[1], height + top + bottom, width + left + right)
    for tap in taps(weight.shape[2:], gy.shape[2:], stride, dilation):
        part = torch.einsum("ngohw,goi->ngihw", gy64, _tap_weight(weight64, tap.ky, tap.kx, groups))
        gx[:, :, :, tap.rows, tap.cols] += part
    return gx.flatten(1, 2)[:, :, top : top + height, left : left + width].to(gy.dtype)


def conv2d_weight_grad(
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
    """Gradient of :func:`conv2d` for its weight, summed in float64."""
    padded, gy64 = _pad(x.double(), padding), _grouped(gy.double(), groups)
    gw = gy64.new_zeros(*weight_shape)
    for tap in taps(weight_shape[2:], gy.shape[2:], stride, dilation):
        patch = _grouped(padded[:, :, tap.rows, tap.cols], groups)
        gw[:, :, tap.ky, tap.kx] = torch.einsum("ngihw,ngohw->goi", patch, gy64).flatten(0, 1)
    return gw.to(out_dtype)


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


def _pad(x: Tensor, padding: Ints) -> Tensor:
    top, bottom, left, right = padding
    return F.pad(x, (left, right, top, bottom))


def _output(x: Tensor, weight_shape: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    pads = ((padding[0], padding[1]), (padding[2], padding[3]))
    return [
        output_size(
            x.shape[2 + axis],
            weight_shape[2 + axis],
            before=pads[axis][0],
            after=pads[axis][1],
            stride=stride[axis],
            dilation=dilation[axis],
        )
        for axis in (0, 1)
    ]


def _grouped(x: Tensor, groups: int) -> Tensor:
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _tap_weight(weight: Tensor, ky: int, kx: int, groups: int) -> Tensor:
    return weight[:, :, ky, kx].reshape(groups, weight.shape[0] // groups, weight.shape[1])
