"""How are convolutions translated? To PyTorch's modules where the weight is constant, so that lowering knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators.window import Window, laid_around, read_window
from mezzotint.deploy.onnx.value import Refused, Value

_FORWARD: Final[tuple[type[nn.Module], ...]] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final[tuple[type[nn.Module], ...]] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CALLS: Final[tuple[Callable[..., Tensor], ...]] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED_CALLS: Final[tuple[Callable[..., Tensor], ...]] = (
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)


def conv(call: Call) -> Value:
    """``Conv``: 1 to 3 axes; padding that differs before and behind becomes a node of its own."""
    x, weight, bias = call.value(0), call.value(1), call.optional(2)
    window, groups = _window(call, x, weight), call.integer("group", 1)
    channels = weight.shape[1]
    if groups < 1 or channels is None or x.shape[1] != channels * groups or (weight.shape[0] or 0) % groups:
        raise Refused(f"{x.shape[1]} channels meet a weight of the shape {list(weight.shape)} in {groups} groups")
    padding = window.begin if window.symmetric else (0,) * len(window.kernel)
    if not window.symmetric:
        x = laid_around(call, x, window)
    if weight.constant is None or (bias is not None and bias.constant is None) or not weight.dtype.is_floating_point:
        run = _CALLS[len(window.kernel) - 1]
        return call.emit(run, x, weight, bias, window.stride, padding, window.dilation, groups)
    kind = _FORWARD[len(window.kernel) - 1]
    settings = (window.kernel, window.stride, padding, window.dilation, groups, bias is not None)
    made = kind(channels * groups, weight.shape[0], *settings, device="meta")
    return call.emit(filled(made, weight=weight.constant, bias=None if bias is None else bias.constant), x)


def conv_transpose(call: Call) -> Value:
    """``ConvTranspose``: with ``output_shape`` and ``auto_pad``, whose sizes must then be known."""
    x, weight, bias = call.value(0), call.value(1), call.optional(2)
    output_shape, extra = call.ints("output_shape"), call.ints("output_padding")
    groups = call.integer("group", 1)
    mode = call.text("auto_pad", "NOTSET")
    window = _window(call, x, weight)
    axes = len(window.kernel)
    extra = extra or [0] * axes
    if groups < 1 or x.shape[1] != weight.shape[0] or (weight.shape[0] or 0) % groups:
        raise Refused(f"{x.shape[1]} channels meet a weight of the shape {list(weight.shape)} in {groups} groups")
    if len(extra) != axes or not all(
        0 <= e < max(s, d) for e, s, d in zip(extra, window.stride, window.dilation, strict=True)
    ):
        raise Refused(f"its output_padding is {extra}; {axes} numbers below stride or dilation are needed")
    begin, end = _cut(x, window, extra, output_shape, mode)
    run, settings = _TRANSPOSED_CALLS[axes - 1], {"groups": groups, "dilation": window.dilation}
    symmetric = begin == end and min(begin) >= 0
    padding = tuple(begin) if symmetric else (0,) * axes
    if weight.constant is None or (bias is not None and bias.constant is None):
        y = call.emit(run, x, weight, bias, window.stride, padding, extra, **settings)
    else:
        kind = _TRANSPOSED[axes - 1]
        inputs, outputs = weight.constant.shape[0], weight.constant.shape[1] * groups
        flags = (window.kernel, window.stride, padding, tuple(extra), groups, bias is not None, window.dilation)
        made = kind(inputs, outputs, *flags, device="meta")
        y = call.emit(filled(made, weight=weight.constant, bias=None if bias is None else bias.constant), x)
    if symmetric:
        return y
    return call.emit(F.pad, y, [-n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair])


def filled(module: nn.Module, **tensors: Tensor | None) -> nn.Module:
    """``module`` in evaluation mode, with these parameters and buffers."""
    for name, tensor in tensors.items():
        if tensor is not None and name in module._parameters:
            module._parameters[name] = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        elif tensor is not None:
            module._buffers[name] = tensor
    return module.eval()


def _window(call: Call, x: Value, weight: Value) -> Window:
    kernel = weight.shape[2:]
    said = call.ints("kernel_shape")
    if None in kernel or (said is not None and tuple(said) != kernel):
        raise Refused(f"its kernel_shape is {said} and its weight has {list(kernel)}")
    return read_window(call, x, [size for size in kernel if size is not None])


def _cut(
    x: Value, window: Window, extra: Sequence[int], output_shape: Sequence[int] | None, mode: str
) -> tuple[list[int], list[int]]:
    """What is cut off before and behind each axis of the full result."""
    axes = range(len(window.kernel))
    if output_shape is None and mode in ("NOTSET", "VALID"):
        return list(window.begin or ()), list(window.end or ())
    begin, end = [], []
    for axis in axes:
        size, stride = x.shape[2 + axis], window.stride[axis]
        span = (window.kernel[axis] - 1) * window.dilation[axis] + 1 + extra[axis]
        if output_shape is None:
            total = span - stride
        elif size is None or len(output_shape) != len(axes):
            raise Refused("its output_shape needs an input whose size is fixed")
        else:
            total = stride * (size - 1) + span - output_shape[axis]
        half = total // 2
        begin.append(half if mode == "SAME_UPPER" else total - half)
        end.append(total - half if mode == "SAME_UPPER" else half)
    return begin, end


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {"Conv": conv, "ConvTranspose": conv_transpose}
