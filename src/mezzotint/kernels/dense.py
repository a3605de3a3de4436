"""How does PyTorch itself compute it? Its dense convolution and matrix product, on any device.

For a sparse operator the values are scattered into a dense weight first (:mod:`mezzotint.kernels.scratch`). Weights
come in the type of the activations, or in the type that is computed in with values that are rounded already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.kernels.geometry import for_pad, pads_per_axis, trailing
from mezzotint.kernels.hardware import computes_in
from mezzotint.kernels.problem import Problem

Ints = Sequence[int]

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """PyTorch's convolution of any rank with explicit, possibly asymmetric padding ``(before, after, ...)``."""
    work = working_dtype(x)
    if x.dtype == work and weight.dtype == work and (bias is None or bias.dtype == work) and _symmetric(padding):
        return CONVOLUTIONS[x.dim() - 2](x, weight, bias, stride, padding[::2], dilation, groups)
    x_padded, symmetric = _padded(x.to(work), padding)
    bias = None if bias is None else bias.to(work)
    y = CONVOLUTIONS[x.dim() - 2](x_padded, weight.to(work), bias, stride, symmetric, dilation, groups)
    return y.to(x.dtype)


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
    """PyTorch's transposed convolution of any rank; an asymmetric padding is cut off afterwards."""
    work, compute = working_dtype(x), TRANSPOSED[x.dim() - 2]
    weight, bias = weight.to(work), None if bias is None else bias.to(work)
    if _symmetric(padding):
        return compute(
            x.to(work), weight, bias, list(stride), list(padding[::2]), list(output_padding), groups, list(dilation)
        ).to(x.dtype)
    whole = compute(x.to(work), weight, bias, list(stride), 0, list(output_padding), groups, list(dilation))
    kept = (slice(before, whole.shape[2 + axis] - after) for axis, (before, after) in enumerate(pads_per_axis(padding)))
    return whole[trailing(kept)].to(x.dtype)


def conv_input_grad(
    gy: Tensor, weight: Tensor, *, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """PyTorch's input gradient; an asymmetric padding is cut off afterwards."""
    work, sides = working_dtype(gy), pads_per_axis(padding)
    asymmetric = not _symmetric(padding)
    size = [b + s + a for s, (b, a) in zip(input_size, sides, strict=True)] if asymmetric else input_size
    # The input's numbers do not matter here, but its memory format is that of the computation and of the result.
    shape = (gy.shape[0], weight.shape[1] * groups, *size)
    like = torch.empty(shape, dtype=work, device=gy.device, memory_format=_format(gy))
    pads = [0] * len(sides) if asymmetric else list(padding[::2])
    gx = _backward(gy.to(work), like, weight.to(work), stride, pads, dilation, groups, (True, False, False))[0]
    if asymmetric:
        gx = gx[trailing(slice(before, before + s) for s, (before, _) in zip(input_size, sides, strict=True))]
    return gx.to(gy.dtype)


def in_channels_last(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``compute`` with its activations moved into channels-last memory first; the result then lies there, too."""

    def run(x: Tensor, *rest: Any, **attrs: Any) -> Tensor:
        return compute(x.contiguous(memory_format=torch.channels_last), *rest, **attrs)

    return run


def pays_in_channels_last(problem: Problem) -> str | None:
    """``None``, or why moving contiguous activations into channels-last memory for this call alone cannot pay.

    oneDNN's input gradients with a stride gain 10 to 20 % by it on a Zen 4 core in FP32 and up to 10 % in BF16; without
    a stride, and in the other directions, the moving costs more than it brings.
    """
    if problem.channels_last:
        return "the activations are in channels-last memory already"
    if max(problem.attr("stride")) == 1:
        return "without a stride the moving of activations costs more than it brings"
    return None


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
    """PyTorch's weight gradient, computed in ``out_dtype`` when that is wider than the activations."""
    work = torch.promote_types(working_dtype(x), out_dtype)
    if max(weight_shape[2:]) == 1 and max(stride) > 1:
        # oneDNN in PyTorch 2.13 writes past the end of a 1x1 weight's gradient for strided channels_last activations.
        x, gy = x.contiguous(), gy.contiguous()
    x_padded, symmetric = _padded(x.to(work), padding)
    weight = gy.new_empty(list(weight_shape), dtype=work)
    gw = _backward(gy.to(work), x_padded, weight, stride, symmetric, dilation, groups, (False, True, False))[1]
    return gw.to(out_dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """PyTorch's ``x w^T + bias``."""
    work = working_dtype(x)
    y = F.linear(x.to(work), weight.to(work), None if bias is None else bias.to(work))
    return y.to(x.dtype)


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    """PyTorch's ``gy w``."""
    work = working_dtype(gy)
    return (gy.to(work) @ weight.to(work)).to(gy.dtype)


def linear_weight_grad(x: Tensor, gy: Tensor, *, weight_shape: Ints, out_dtype: torch.dtype) -> Tensor:
    """PyTorch's ``gy^T x``, computed in ``out_dtype`` when that is wider than the activations."""
    work = torch.promote_types(working_dtype(x), out_dtype)
    return (gy.to(work).t() @ x.to(work)).view(list(weight_shape)).to(out_dtype)


def working_dtype(x: Tensor) -> torch.dtype:
    """The type to compute in: FP32 where the machine has no arithmetic for a 16-bit type."""
    return x.dtype if computes_in(x.dtype, x.device.type) else torch.float32


def _format(x: Tensor) -> torch.memory_format:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _symmetric(padding: Ints) -> bool:
    return padding[::2] == padding[1::2]


def _padded(x: Tensor, padding: Ints) -> tuple[Tensor, list[int]]:
    if _symmetric(padding):
        return x, list(padding[::2])
    return F.pad(x, for_pad(padding)), [0] * (x.dim() - 2)


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
        gy, x, weight, None, list(stride), list(padding), list(dilation), False, [0] * len(stride), groups, list(wanted)
    )
    return result
