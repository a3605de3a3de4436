"""How are normalisations translated? Batch norm to its module, which lowering folds; the others to calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators.convolution import filled
from mezzotint.deploy.onnx.value import Refused, Value

_BATCH_NORMS: Final = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def batch_normalization(call: Call) -> Value:
    """``BatchNormalization`` with running statistics."""
    x, epsilon = call.value(0), call.real("epsilon", 1e-5)
    call.real("momentum", 0.9)
    if call.flag("training_mode") or not call.flag("spatial", True):
        raise Refused("it is in training mode, or normalises every pixel by itself")
    call.refuse_outputs(1)
    scale, shift, mean, variance = (call.value(place) for place in range(1, 5))
    kind = _BATCH_NORMS.get(x.rank)
    tensors = [value.constant for value in (scale, shift, mean, variance)]
    if kind is None or any(tensor is None for tensor in tensors):
        return call.emit(F.batch_norm, x, mean, variance, scale, shift, False, 0.0, epsilon)
    if any(tensor is None or tensor.shape != (x.shape[1],) for tensor in tensors):
        raise Refused(f"its statistics are not {x.shape[1]} numbers each, as it has channels")
    made = kind(x.shape[1] or 0, eps=epsilon, device="meta")
    named = dict(zip(("weight", "bias", "running_mean", "running_var"), tensors, strict=True))
    return call.emit(filled(made, **named, num_batches_tracked=torch.tensor(0)), x)


def instance_normalization(call: Call) -> Value:
    """``InstanceNormalization``: each channel of each image by itself."""
    x, scale, shift = call.value(0), call.value(1), call.value(2)
    return call.emit(grouped_norm, x, scale, shift, x.shape[1], call.real("epsilon", 1e-5))


def group_normalization(call: Call) -> Value:
    """``GroupNormalization``; before operator set 21 scale and shift are those of groups."""
    x, scale, shift = call.value(0), call.value(1), call.value(2)
    groups, epsilon = call.integer("num_groups", 0), call.real("epsilon", 1e-5)
    call.integer("stash_type", 1)
    channels = x.shape[1]
    if channels is None or groups < 1 or channels % groups:
        raise Refused(f"{channels} channels in {groups} groups")
    if call.opset < 21:
        scale, shift = (call.emit(torch.repeat_interleave, one, channels // groups) for one in (scale, shift))
    return call.emit(grouped_norm, x, scale, shift, groups, epsilon)


def layer_normalization(call: Call) -> Value | Sequence[Value]:
    """``LayerNormalization``: over all axes from one on; mean and inverse deviation can be had."""
    x, scale, shift = call.value(0), call.value(1), call.optional(2)
    axis, epsilon = x.axis(call.integer("axis", -1)), call.real("epsilon", 1e-5)
    call.integer("stash_type", 1)
    if call.outputs == 1:
        return call.emit(layer_norm, x, scale, shift, axis, epsilon)
    return call.split(call.emit(layer_norm_with_statistics, x, scale, shift, axis, epsilon), 3)[: call.outputs]


def local_response(call: Call) -> Value:
    """``LRN`` over an odd number of channels."""
    size, bias = call.integer("size", 0), call.real("bias", 1.0)
    alpha, beta = call.real("alpha", 1e-4), call.real("beta", 0.75)
    if size < 1 or size % 2 == 0:
        raise Refused(f"its size is {size}; an odd number is needed")
    return call.emit(nn.LocalResponseNorm(size, alpha, beta, bias), call.value(0))


def grouped_norm(x: Tensor, scale: Tensor, shift: Tensor, groups: int, epsilon: float) -> Tensor:
    """``x`` [N, C, ...] normalised in groups of channels, then scaled and shifted a channel."""
    parts = x.reshape(x.shape[0], groups, -1)
    variance, mean = torch.var_mean(parts, 2, correction=0, keepdim=True)
    plain = ((parts - mean) / torch.sqrt(variance + epsilon)).reshape(x.shape)
    wide = (1, -1) + (1,) * (x.dim() - 2)
    return plain * scale.reshape(wide) + shift.reshape(wide)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor | None, axis: int, epsilon: float) -> Tensor:
    """``x`` normalised over its axes from ``axis`` on."""
    return layer_norm_with_statistics(x, scale, shift, axis, epsilon)[0]


def layer_norm_with_statistics(
    x: Tensor, scale: Tensor, shift: Tensor | None, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, the mean, and one over the deviation."""
    axes = tuple(range(axis, x.dim()))
    variance, mean = torch.var_mean(x.float(), axes, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + epsilon)
    y = ((x - mean) * inverse).to(x.dtype) * scale
    return (y if shift is None else y + shift), mean, inverse


OPERATORS: Final[dict[str, Callable[[Call], Value | Sequence[Value]]]] = {
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "LRN": local_response,
}
