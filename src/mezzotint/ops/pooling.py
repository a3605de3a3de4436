"""How are windows of activations pooled? Max, average and Lp pooling of one, two or three axes as operators."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import pooling, pooling_taps
from mezzotint.kernels.geometry import effective_kernel, pads_per_axis, surely
from mezzotint.ops.conv_shape import (
    AXES,
    Padding,
    check_lengths,
    check_output_grad,
    per_axis,
    resolve_padding,
    spatial_output,
)
from mezzotint.ops.convolution import spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.pool_layout import checked_rank, of_ranks, samples_first

WINDOW = ("kernel_size", "stride", "padding", "ceil_mode")


def _with_window(definition: OpDef) -> OpDef:
    return (
        definition.attr("kernel_size: list(int) >= 1", "sizes of the window, an entry an axis")
        .attr("stride: list(int) >= 1", "step of the window, an entry an axis")
        .attr("padding: list(int) >= 0", "(before, after) of each axis: nothing for a maximum, zeros for a mean")
        .attr("ceil_mode: bool = False", "whether a last window may stick out at the end")
    )


def _pooled(x: TensorSpec, attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Shape of the pooled ``x``."""
    rank = checked_rank(x.shape)
    kernel, stride, padding = attrs["kernel_size"], attrs["stride"], attrs.get("padding", [0] * (2 * rank))
    dilation = attrs.get("dilation", [1] * rank)
    check_lengths(rank, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)
    for axis, (before, after) in enumerate(pads_per_axis(padding)):
        half = effective_kernel(kernel[axis], dilation[axis]) // 2
        if surely(before > half) or surely(after > half):
            name = f"padding of the {AXES[rank][axis]}"
            received = f"{before} before and {after} after"
            raise ShapeError(message(name, received=received, allowed=f"at most {half}, half of the dilated window"))
    ceil = attrs["ceil_mode"]
    sizes = spatial_output(x.shape[2:], kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    return (*x.shape[:2], *sizes)


def _max_rule(inputs: Specs, attrs: Mapping[str, Any]) -> tuple[TensorSpec, TensorSpec]:
    x = spec(inputs, "x")
    shape = _pooled(x, attrs)
    return TensorSpec(shape, x.dtype), TensorSpec(shape, torch.int64)


def _one_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    return TensorSpec(_pooled(x, attrs), x.dtype)


def _max_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    gy, indices = spec(inputs, "gy"), spec(inputs, "indices")
    check_output_grad(indices.shape, gy.shape)
    check_lengths(len(gy.shape) - 2, input_size=attrs["input_size"])
    return TensorSpec((*gy.shape[:2], *attrs["input_size"]), gy.dtype)


def _avg_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    gy = spec(inputs, "gy")
    check_lengths(len(gy.shape) - 2, input_size=attrs["input_size"])
    made = TensorSpec((*gy.shape[:2], *attrs["input_size"]), gy.dtype)
    check_output_grad(_pooled(made, attrs), gy.shape)
    return made


def max_gradient(call: Call, gy: Tensor, *_: Tensor | None) -> dict[str, Tensor | None]:
    """Gradient of an operator that picks elements: the output gradient, put where they came from."""
    return {"x": max_pool_grad_op(gy, call["indices"], input_size=list(call["x"].shape[2:]))}


def _max_grad_gradient(call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
    indices = call["indices"]
    return {"gy": ggx.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)}


def _average(call: Call) -> dict[str, Any]:
    return {name: call[name] for name in (*WINDOW, "count_include_pad", "divisor")}


def _avg_gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    return {"x": avg_pool_grad_op(gy, input_size=list(call["x"].shape[2:]), **_average(call))}


def _avg_grad_gradient(call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
    return {"gy": avg_pool_op(ggx, **_average(call))}


def _lp_gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    """``x^(p-1)`` times the transposed window sum of ``gy y^(1-p)``; 0 where a window is all zeros."""
    x, y, norm = call["x"], call["y"], call["norm"]
    empty = y == 0
    share = torch.where(empty, 0, gy * torch.where(empty, 1, y).pow(1 - norm))
    kernel = call["kernel_size"]
    attrs = {"kernel_size": kernel, "stride": call["stride"], "ceil_mode": call["ceil_mode"]}
    spread = avg_pool_grad_op(
        share,
        input_size=list(x.shape[2:]),
        padding=[0] * (2 * len(kernel)),
        count_include_pad=True,
        divisor=0,
        **attrs,
    )
    return {"x": x.pow(norm - 1) * spread * math.prod(kernel)}


max_pool_op: Operator = (
    _with_window(
        OpDef("max_pool").attr("dilation: list(int) >= 1", "distance of the window's elements, an entry an axis")
    )
    .input("x: T", "activations [N, C, ...] with one, two or three further axes")
    .output("y: T", "[N, C, ...], the largest of each window; NaN counts as largest")
    .output("indices: int64", "[N, C, ...], its flat position among the further axes of x")
    .attr("T: floattype")
    .keeps("indices")
    .samples("x")
    .shape_rule(_max_rule)
    .gradient(max_gradient)
    .doc("Maximum of each window.")
    .register()
)
max_pool_grad_op: Operator = (
    OpDef("max_pool_grad")
    .input("gy: T", "output gradient [N, C, ...]")
    .input("indices: int64", "[N, C, ...], where each came from")
    .output("gx: T", "[N, C, ...]")
    .attr("T: floattype")
    .attr("input_size: list(int) >= 1", "sizes of the input behind N and C")
    .samples("gy", "indices")
    .shape_rule(_max_grad_rule)
    .gradient(_max_grad_gradient)
    .doc("Gradient of max_pool and adaptive_max_pool: output gradients, added up where the maxima came from.")
    .register()
)
avg_pool_op: Operator = (
    _with_window(OpDef("avg_pool"))
    .input("x: T", "activations [N, C, ...] with one, two or three further axes")
    .output("y: T", "[N, C, ...]")
    .attr("T: floattype")
    .attr("count_include_pad: bool = True", "whether the padding counts among a window's elements")
    .attr("divisor: int = 0", "what sums are divided by; 0: the elements of the window")
    .samples("x")
    .shape_rule(_one_rule)
    .gradient(_avg_gradient)
    .doc("Mean of each window.")
    .register()
)
avg_pool_grad_op: Operator = (
    _with_window(OpDef("avg_pool_grad").attr("input_size: list(int) >= 1", "sizes of the input behind N and C"))
    .input("gy: T", "output gradient [N, C, ...]")
    .output("gx: T", "[N, C, ...]")
    .attr("T: floattype")
    .attr("count_include_pad: bool = True", "as in avg_pool")
    .attr("divisor: int = 0", "as in avg_pool")
    .samples("gy")
    .shape_rule(_avg_grad_rule)
    .gradient(_avg_grad_gradient)
    .doc("Gradient of avg_pool.")
    .register()
)
lp_pool_op: Operator = (
    OpDef("lp_pool")
    .input("x: T", "activations [N, C, ...] with one, two or three further axes")
    .output("y: T", "[N, C, ...]")
    .attr("T: floattype")
    .attr("norm: float", "the power p")
    .attr("kernel_size: list(int) >= 1", "sizes of the window, an entry an axis")
    .attr("stride: list(int) >= 1", "step of the window, an entry an axis")
    .attr("ceil_mode: bool = False", "whether a last window may stick out; it is weighed up to a whole one")
    .keeps("y")
    .samples("x")
    .shape_rule(_one_rule)
    .gradient(_lp_gradient)
    .doc("The p-th root of the sum of p-th powers of each window.")
    .register()
)

max_pool_op.kernel(name="torch", priority=1, supports=pooling.maxima)(pooling.max_pool)
max_pool_op.kernel(name="taps")(pooling_taps.max_pool)
max_pool_op.kernel(name="reference", oracle=True)(pooling_taps.max_pool)
max_pool_grad_op.kernel(name="scatter_add")(pooling.max_pool_grad)
max_pool_grad_op.kernel(name="reference", oracle=True)(pooling_taps.max_pool_grad)
avg_pool_op.kernel(name="torch", priority=1, supports=pooling.averages)(pooling.avg_pool)
avg_pool_op.kernel(name="taps")(pooling_taps.summing_in_fp32(pooling_taps.avg_pool))
avg_pool_op.kernel(name="reference", oracle=True)(pooling_taps.avg_pool)
avg_pool_grad_op.kernel(name="torch", priority=1, supports=pooling.averages)(pooling.avg_pool_grad)
avg_pool_grad_op.kernel(name="taps")(pooling_taps.summing_in_fp32(pooling_taps.avg_pool_grad))
avg_pool_grad_op.kernel(name="reference", oracle=True)(pooling_taps.avg_pool_grad)
lp_pool_op.kernel(name="torch")(pooling.lp_pool)
lp_pool_op.kernel(name="reference", oracle=True)(pooling_taps.lp_pool)


def _window(x: Tensor, rank: int, given: tuple[Any, ...]) -> dict[str, Any]:
    """(kernel_size, stride, padding, dilation, ceil_mode) as a caller wrote them -> attributes of max_pool."""
    kernel_size, stride, padding, dilation, ceil_mode = given
    kernel, spread = per_axis("kernel_size", kernel_size, rank), per_axis("dilation", dilation, rank)
    steps = kernel if stride is None or stride == () else per_axis("stride", stride, rank)
    pads = resolve_padding(padding, x.shape[2:], kernel, steps, spread)
    return {
        "dilation": spread,
        "kernel_size": kernel,
        "stride": steps,
        "padding": list(pads),
        "ceil_mode": ceil_mode,
    }


def max_pool(
    x: Tensor,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    data_format: str | None = None,
    rank: int | None = None,
) -> Any:
    """Maximum of each window.

    Args:
        x: activations ``[N, C, ...]`` with one, two or three further axes; float. With ``rank`` also one without N.
        kernel_size: one number or one an axis.
        stride: step of the window; the window's size when it is ``None``.
        padding: ``"VALID"``, ``"SAME"``, an integer, one an axis, or ``[before, after]`` of each axis; at most half of
            the dilated window. Padding is never the maximum.
        dilation: distance of the window's elements.
        ceil_mode: whether a last window may stick out at the end.
        return_indices: whether to return also where each maximum came from.
        data_format: ``"NCHW"`` or ``"NHWC"`` (``"NCW"``, ``"NCDHW"``, ...): where the channels are.
        rank: number of axes that are pooled; those behind N and C when it is ``None``.

    Returns:
        ``y [N, C, ...]``; with ``return_indices`` ``(y, indices)``: int64 flat positions among the further axes.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (kernel_size, stride, padding, dilation, ceil_mode)
    run = max_pool_op.find((x,), given) if data_format is None and (rank is None or rank == x.dim() - 2) else None
    if run is None:
        call = lambda t, axes: max_pool_op.resolved((t,), given, _window(t, axes, given))  # noqa: E731
        y, indices = samples_first("max_pool", x, rank, data_format, call)
    else:
        y, indices = run(x)
    return (y, indices) if return_indices else y


def avg_pool(
    x: Tensor,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    data_format: str | None = None,
    rank: int | None = None,
) -> Tensor:
    """Mean of each window.

    Args:
        x, kernel_size, stride, padding, ceil_mode, data_format, rank: as for :func:`max_pool`; padding is zeros.
        count_include_pad: whether the padding counts among the elements of a window. TensorFlow's pooling does not
            count it.
        divisor_override: what sums are divided by instead of the number of elements; not 0.

    Returns:
        ``y [N, C, ...]`` of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    if divisor_override == 0:
        raise ShapeError(message("divisor_override", received=0, allowed="an integer that is not 0, or None"))
    given = (kernel_size, stride, padding, 1, ceil_mode)
    further = {"count_include_pad": count_include_pad, "divisor": divisor_override or 0}
    known = (given, count_include_pad, divisor_override)
    run = avg_pool_op.find((x,), known) if data_format is None and (rank is None or rank == x.dim() - 2) else None
    if run is not None:
        return run(x)  # type: ignore[no-any-return]

    def call(t: Tensor, axes: int) -> Tensor:
        attrs = {**_window(t, axes, given), **further}
        del attrs["dilation"]
        y: Tensor = avg_pool_op.resolved((t,), known, attrs)
        return y

    pooled: Tensor = samples_first("avg_pool", x, rank, data_format, call)
    return pooled


def lp_pool(
    x: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
    data_format: str | None = None,
    rank: int | None = None,
) -> Tensor:
    """``(sum of x^p)^(1/p)`` of each window, with ``p = norm_type``.

    Args:
        x, kernel_size, stride, ceil_mode, data_format, rank: as for :func:`max_pool`.
        norm_type: the power, not 0. As in PyTorch, negative sums have no root (NaN), and a window that sticks out in
            ``ceil_mode`` is weighed up to a whole one. The gradient of a window of zeros is 0 (PyTorch's is NaN).

    Raises:
        ShapeError: arguments that do not go together.
    """
    if norm_type == 0:
        raise ShapeError(message("norm_type", received=norm_type, allowed="a number that is not 0"))
    given = (kernel_size, stride, 0, 1, ceil_mode)
    known = (given, norm_type)
    run = lp_pool_op.find((x,), known) if data_format is None and (rank is None or rank == x.dim() - 2) else None
    if run is not None:
        return run(x)  # type: ignore[no-any-return]

    def call(t: Tensor, axes: int) -> Tensor:
        window = _window(t, axes, given)
        attrs = {name: window[name] for name in ("kernel_size", "stride", "ceil_mode")}
        y: Tensor = lp_pool_op.resolved((t,), known, {"norm": float(norm_type), **attrs})
        return y

    pooled: Tensor = samples_first("lp_pool", x, rank, data_format, call)
    return pooled


max_pool1d, max_pool2d, max_pool3d = of_ranks(max_pool)
avg_pool1d, avg_pool2d, avg_pool3d = of_ranks(avg_pool)
lp_pool1d, lp_pool2d, lp_pool3d = of_ranks(lp_pool)
