"""How does PyTorch itself compute it? Its dense convolution and matrix product, on any device.

For a sparse operator the values are scattered into a dense weight first. That weight lives for the length of the call
only, so the memory promise of sparse training holds between calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels.hardware import computes_in

Ints = Sequence[int]


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """PyTorch's convolution with explicit, possibly asymmetric padding ``(top, bottom, left, right)``."""
    work = _working_dtype(x)
    x_padded, symmetric = _padded(x.to(work), padding)
    y = F.conv2d(
        x_padded,
        weight.to(x.dtype).to(work),
        None if bias is None else bias.to(work),
        list(stride),
        symmetric,
        list(dilation),
        groups,
    )
    return y.to(x.dtype)


def conv2d_input_grad(
    gy: Tensor, weight: Tensor, *, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """PyTorch's input gradient; an asymmetric padding is cut off afterwards."""
    top, bottom, left, right = padding
    work = _working_dtype(gy)
    channels = weight.shape[1] * groups
    padded = gy.new_empty(
        (gy.shape[0], channels, input_size[0] + top + bottom, input_size[1] + left + right), dtype=work
    )
    gx = _backward(
        gy.to(work), padded, weight.to(gy.dtype).to(work), stride, [0, 0], dilation, groups, (True, False, False)
    )[0]
    return gx[:, :, top : top + input_size[0], left : left + input_size[1]].to(gy.dtype)


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
    """PyTorch's weight gradient, computed in ``out_dtype`` when that is wider than the activations."""
    work = torch.promote_types(_working_dtype(x), out_dtype)
    x_padded, symmetric = _padded(x.to(work), padding)
    weight = gy.new_empty(list(weight_shape), dtype=work)
    gw = _backward(gy.to(work), x_padded, weight, stride, symmetric, dilation, groups, (False, True, False))[1]
    return gw.to(out_dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """PyTorch's ``x w^T + bias``."""
    work = _working_dtype(x)
    y = F.linear(x.to(work), weight.to(x.dtype).to(work), None if bias is None else bias.to(work))
    return y.to(x.dtype)


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    """PyTorch's ``gy w``."""
    work = _working_dtype(gy)
    return (gy.to(work) @ weight.to(gy.dtype).to(work)).to(gy.dtype)


def linear_weight_grad(x: Tensor, gy: Tensor, *, weight_shape: Ints, out_dtype: torch.dtype) -> Tensor:
    """PyTorch's ``gy^T x``, computed in ``out_dtype`` when that is wider than the activations."""
    work = torch.promote_types(_working_dtype(x), out_dtype)
    return (gy.to(work).t() @ x.to(work)).view(list(weight_shape)).to(out_dtype)


def _working_dtype(x: Tensor) -> torch.dtype:
    """The type to compute in: FP32 where the machine has no arithmetic for a 16-bit type."""
    return x.dtype if computes_in(x.dtype, x.device.type) else torch.float32


def _padded(x: Tensor, padding: Ints) -> tuple[Tensor, list[int]]:
    top, bottom, left, right = padding
    if top == bottom and left == right:
        return x, [top, left]
    return F.pad(x, (left, right, top, bottom)), [0, 0]


def _backward(
    gy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gy, x, weight, None, list(stride), list(padding), list(dilation), False, [0, 0], groups, list(wanted)
    )
    return result
