"""How are poolings translated? To PyTorch's where it has the same rule, and to sums over windows where it has not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators.window import Window, laid_around, read_window, same_padding
from mezzotint.deploy.onnx.value import Refused, Value

_MAX: Final[tuple[type[nn.Module], ...]] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE: Final[tuple[type[nn.Module], ...]] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_GLOBAL_AVERAGE: Final = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_GLOBAL_MAX: Final = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_CONVOLUTIONS: Final[tuple[Callable[..., Tensor], ...]] = (F.conv1d, F.conv2d, F.conv3d)


def max_pool(call: Call) -> Value:
    """``MaxPool``; the places of the greatest numbers cannot be had."""
    x, window, ceil_mode = call.value(0), _read(call), call.flag("ceil_mode")
    call.integer("storage_order", 0)  # of the places alone
    call.refuse_outputs(1)
    whole = not x.dtype.is_floating_point
    if whole:
        x = call.emit(torch.Tensor.float, x)
    padding = _native_padding(window)
    if padding is None:
        if ceil_mode:
            x = call.emit(rounded_up, x, window.kernel, window.stride, window.dilation, _pads(window), window.lower)
        else:
            x = laid_around(call, x, window, -math.inf)
        window, ceil_mode = _bare(window), False
    settings = (window.kernel, window.stride, padding or _zeros(window), window.dilation, False, ceil_mode)
    y = call.emit(_MAX[len(window.kernel) - 1](*_bare_ints(settings)), x)
    return call.emit(torch.Tensor.to, y, call.value(0).dtype) if whole else y


def average_pool(call: Call) -> Value:
    """``AveragePool``."""
    x, window = call.value(0), _read(call)
    ceil_mode, counts = call.flag("ceil_mode"), call.flag("count_include_pad")
    call.refuse_outputs(1)
    padding = _native_padding(window)
    if padding is None or max(window.dilation) > 1:
        return call.emit(
            window_average,
            x,
            window.kernel,
            window.stride,
            window.dilation,
            _pads(window),
            window.lower,
            ceil_mode,
            counts,
        )
    return call.emit(_AVERAGE[len(window.kernel) - 1](window.kernel, window.stride, padding, ceil_mode, counts), x)


def lp_pool(call: Call) -> Value:
    """``LpPool``: the p-th root of the sum of p-th powers of absolute values."""
    x, window, p = call.value(0), _read(call), call.integer("p", 2)
    ceil_mode = call.flag("ceil_mode")
    if p < 1:
        raise Refused(f"its p is {p}; at least 1 is needed")
    settings = (window.kernel, window.stride, window.dilation, _pads(window), window.lower, ceil_mode)
    return call.emit(window_norm, x, p, *settings)


def global_average_pool(call: Call) -> Value:
    """``GlobalAveragePool``: to one number a channel."""
    return _whole_image(call, _GLOBAL_AVERAGE)


def global_max_pool(call: Call) -> Value:
    """``GlobalMaxPool``."""
    return _whole_image(call, _GLOBAL_MAX)


def global_lp_pool(call: Call) -> Value:
    """``GlobalLpPool``."""
    return call.emit(global_norm, call.value(0), call.integer("p", 2))


def global_norm(x: Tensor, p: int) -> Tensor:
    """The p-norm of each channel of ``x`` [N, C, ...], with all axes kept."""
    norm: Tensor = torch.linalg.vector_norm(x, p, tuple(range(2, x.dim())), keepdim=True)
    return norm


def rounded_up(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int] | None,
    lower: bool,
) -> Tensor:
    """``x`` [N, C, ...] with -inf around it, as far as the windows of rounding up reach."""
    around, extended = _sides(x.shape[2:], kernel, stride, dilation, pads, lower, ceil_mode=True)
    return F.pad(F.pad(x, around, value=-math.inf), extended, value=-math.inf)


def window_average(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int] | None,
    lower: bool,
    ceil_mode: bool,
    counts: bool,
) -> Tensor:
    """Mean of each window of ``x`` [N, C, ...]; ``counts``: what is laid around counts."""
    total, around, extended = _sums(x, kernel, stride, dilation, pads, lower, ceil_mode)
    real = torch.ones_like(x[:1, :1])
    if counts:
        real = F.pad(real, around, value=1.0)
        around = [0] * len(around)
    inside = F.pad(F.pad(real, around), extended)
    ones = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    return total / _CONVOLUTIONS[len(kernel) - 1](inside, ones, None, tuple(stride), 0, tuple(dilation))


def window_norm(
    x: Tensor,
    p: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int] | None,
    lower: bool,
    ceil_mode: bool,
) -> Tensor:
    """The p-norm of each window of ``x`` [N, C, ...]."""
    return _sums(x.abs().pow(p), kernel, stride, dilation, pads, lower, ceil_mode)[0].pow(1.0 / p)


def _sums(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int] | None,
    lower: bool,
    ceil_mode: bool,
) -> tuple[Tensor, list[int], list[int]]:
    """Sums of windows; and what :func:`_sides` says of them."""
    around, extended = _sides(x.shape[2:], kernel, stride, dilation, pads, lower, ceil_mode)
    wide = F.pad(F.pad(x, around), extended)
    batch, channels = x.shape[:2]
    ones = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    run = _CONVOLUTIONS[len(kernel) - 1]
    sums = run(wide.reshape(batch * channels, 1, *wide.shape[2:]), ones, None, tuple(stride), 0, tuple(dilation))
    return sums.reshape(batch, channels, *sums.shape[2:]), around, extended


def _sides(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int] | None,
    lower: bool,
    ceil_mode: bool,
) -> tuple[list[int], list[int]]:
    """What is laid around an image; and what rounding up adds behind, or takes: both as ``F.pad`` takes them."""
    axes = len(kernel)
    if pads is None:
        each = [same_padding(*one, lower) for one in zip(sizes, kernel, stride, dilation, strict=True)]
    else:
        each = [(pads[axis], pads[axes + axis]) for axis in range(axes)]
    more = []
    for size, (before, behind), k, s, d in zip(sizes, each, kernel, stride, dilation, strict=True):
        room = size + before + behind - (k - 1) * d - 1
        last = -(-room // s)
        if last * s >= size + before:  # a window must begin within the image or what lies before it
            last -= 1
        more.append((0, last * s - room if ceil_mode else 0))
    around = [number for pair in reversed(each) for number in pair]
    extended = [number for pair in reversed(more) for number in pair]
    return around, extended


def _read(call: Call) -> Window:
    kernel = call.ints("kernel_shape")
    if not kernel:
        raise Refused("it has no kernel_shape")
    return read_window(call, call.value(0), kernel)


def _native_padding(window: Window) -> tuple[int, ...] | None:
    """The padding, where PyTorch's poolings take it: equal on both sides and at most half of the window."""
    fits = window.symmetric and all(2 * p <= k for p, k in zip(window.begin or (), window.kernel, strict=True))
    return window.begin if fits else None


def _bare(window: Window) -> Window:
    return Window(window.kernel, window.stride, window.dilation, _zeros(window), _zeros(window))


def _zeros(window: Window) -> tuple[int, ...]:
    return (0,) * len(window.kernel)


def _bare_ints(settings: tuple[object, ...]) -> list[object]:
    """One-entry tuples as numbers, which PyTorch's modules for one axis expect."""
    return [one[0] if isinstance(one, tuple) and len(one) == 1 else one for one in settings]


def _pads(window: Window) -> list[int] | None:
    return None if window.begin is None or window.end is None else [*window.begin, *window.end]


def _whole_image(call: Call, kinds: Sequence[type[nn.Module]]) -> Value:
    x = call.value(0)
    if not 3 <= x.rank <= 5:
        raise Refused(f"its image has {x.rank} axes; 3 to 5 can be run")
    return call.emit(kinds[x.rank - 3](1), x)


OPERATORS: Final[dict[str, Callable[[Call], Value]]] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "GlobalLpPool": global_lp_pool,
}
