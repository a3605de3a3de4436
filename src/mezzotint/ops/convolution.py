"""How is a dense 2-D convolution done? ``conv2d`` and its two gradients as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, dense, reference
from mezzotint.ops.conv_shape import Padding, conv2d_output, pair, resolve_padding
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator

GEOMETRY = ("stride", "padding", "dilation", "groups")


def with_geometry(definition: OpDef) -> OpDef:
    """Add the attributes that every convolution has."""
    return (
        definition.attr("stride: list(int) >= 1 = [1, 1]", "step of the kernel (height, width)")
        .attr("padding: list(int) >= 0 = [0, 0, 0, 0]", "zeros around the input (top, bottom, left, right)")
        .attr("dilation: list(int) >= 1 = [1, 1]", "distance of the taps (height, width)")
        .attr("groups: int >= 1 = 1", "independent channel groups")
    )


def geometry(source: Mapping[str, Any] | Call) -> dict[str, Any]:
    """The convolution attributes of a call, to be handed on."""
    return {name: source[name] for name in GEOMETRY}


def _spec(inputs: Specs, name: str) -> TensorSpec:
    spec = inputs[name]
    if spec is None:
        raise ShapeError(message(name, received=None, allowed="a tensor"))
    return spec


def _output_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, weight = _spec(inputs, "x"), _spec(inputs, "weight")
    check_bias(inputs.get("bias"), weight.shape[0])
    return TensorSpec(conv2d_output(x.shape, weight.shape, **geometry(attrs)), x.dtype)


def input_grad_rule(weight_shape: Sequence[Any], gy: TensorSpec, attrs: Mapping[str, Any]) -> TensorSpec:
    """Shape of the input gradient; the output gradient must be what a convolution of that input gives."""
    height, width = attrs["input_size"]
    shape = (gy.shape[0], weight_shape[1] * attrs["groups"], height, width)
    check_output_grad(conv2d_output(shape, weight_shape, **geometry(attrs)), gy.shape)
    return TensorSpec(shape, gy.dtype)


def check_output_grad(expected: Sequence[Any], received: Sequence[Any]) -> None:
    """The output gradient must have the output's shape."""
    if tuple(expected) != tuple(received):
        raise ShapeError(message("output gradient", received=list(received), allowed=f"the output's {list(expected)}"))


def check_bias(bias: TensorSpec | None, channels: Any) -> None:
    """A bias has one number an output channel."""
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ShapeError(
            message("bias shape", received=list(bias.shape), allowed=f"[{channels}], one an output channel")
        )


def _weight_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, gy = _spec(inputs, "x"), _spec(inputs, "gy")
    check_output_grad(conv2d_output(x.shape, attrs["weight_shape"], **geometry(attrs)), gy.shape)
    return TensorSpec(tuple(attrs["weight_shape"]), attrs["out_dtype"])


def _gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    x, weight, bias = call["x"], call["weight"], call["bias"]
    found: dict[str, Tensor | None] = {}
    if call.needs("x"):
        found["x"] = input_grad_op(gy, weight, input_size=list(x.shape[2:]), **geometry(call))
    if call.needs("weight"):
        found["weight"] = weight_grad_op(
            x, gy, weight_shape=list(weight.shape), out_dtype=weight.dtype, **geometry(call)
        )
    if call.needs("bias"):
        found["bias"] = bias_grad(gy, bias.dtype)
    return found


def bias_grad(gy: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum of the output gradient over everything but channels, accumulated in at least FP32."""
    axes = [axis for axis in range(gy.dim()) if axis != 1]
    return gy.sum(axes, dtype=torch.promote_types(gy.dtype, torch.float32)).to(dtype)


def _input_grad_gradient(call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
    """``gx`` is linear in ``gy`` and in the weight: its gradients are the two other directions."""
    found: dict[str, Tensor | None] = {}
    if call.needs("gy"):
        found["gy"] = op(ggx, call["weight"], None, **geometry(call))
    if call.needs("weight"):
        weight = call["weight"]
        found["weight"] = weight_grad_op(
            ggx, call["gy"], weight_shape=list(weight.shape), out_dtype=weight.dtype, **geometry(call)
        )
    return found


def _weight_grad_gradient(call: Call, ggw: Tensor) -> dict[str, Tensor | None]:
    x, gy = call["x"], call["gy"]
    found: dict[str, Tensor | None] = {}
    weight = ggw.to(x.dtype)
    if call.needs("x"):
        found["x"] = input_grad_op(gy, weight, input_size=list(x.shape[2:]), **geometry(call))
    if call.needs("gy"):
        found["gy"] = op(x, weight, None, **geometry(call))
    return found


op: Operator = (
    with_geometry(OpDef("conv2d"))
    .input("x: T", "activations [N, C, H, W]")
    .input("weight: T", "[O, C / groups, kh, kw]")
    .input("bias: B?", "[O]")
    .output("y: T", "[N, O, H', W']")
    .attr("T: floattype", "type of the activations and the weight")
    .attr("B: floattype", "type of the bias")
    .autocast("x", "weight")
    .shape_rule(_output_rule)
    .gradient(_gradient)
    .doc("Dense 2-D cross-correlation of NCHW activations, accumulated in at least FP32.")
    .register()
)
input_grad_op: Operator = (
    with_geometry(
        OpDef("conv2d_input_grad").attr("T: floattype").attr("input_size: list(int) >= 1", "(H, W) of the input")
    )
    .input("gy: T", "output gradient [N, O, H', W']")
    .input("weight: T", "[O, C / groups, kh, kw]")
    .output("gx: T", "[N, C, H, W]")
    .shape_rule(lambda inputs, attrs: input_grad_rule(_spec(inputs, "weight").shape, _spec(inputs, "gy"), attrs))
    .gradient(_input_grad_gradient)
    .doc("Gradient of conv2d for its input.")
    .register()
)
weight_grad_op: Operator = (
    with_geometry(
        OpDef("conv2d_weight_grad").attr("T: floattype").attr("weight_shape: list(int) >= 1", "[O, C / groups, kh, kw]")
    )
    .input("x: T", "activations [N, C, H, W]")
    .input("gy: T", "output gradient [N, O, H', W']")
    .output("gw: out_dtype", "[O, C / groups, kh, kw]")
    .attr("out_dtype: floattype = float32", "type of the gradient; FP32 keeps the accumulated precision")
    .shape_rule(_weight_grad_rule)
    .gradient(_weight_grad_gradient)
    .doc("Gradient of conv2d for its whole weight.")
    .register()
)

op.kernel(name="torch", cost=cost.dense)(dense.conv2d)
input_grad_op.kernel(name="torch", cost=cost.dense)(dense.conv2d_input_grad)
weight_grad_op.kernel(name="torch", cost=cost.dense)(dense.conv2d_weight_grad)
op.kernel(name="reference", oracle=True)(reference.conv2d)
input_grad_op.kernel(name="reference", oracle=True)(reference.conv2d_input_grad)
weight_grad_op.kernel(name="reference", oracle=True)(reference.conv2d_weight_grad)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = (1, 1),
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """Dense 2-D convolution (cross-correlation).

    Args:
        x: activations, ``[N, C, H, W]`` (``"NCHW"``) or ``[N, H, W, C]`` (``"NHWC"``); float.
        weight: ``[O, C / groups, kh, kw]`` of the same type.
        bias: ``[O]`` or ``None``.
        stride, dilation: positive, one number or (height, width).
        padding: ``"VALID"``, ``"SAME"`` (output ``ceil(size / stride)``, odd remainder at the end), an integer,
            ``(vertical, horizontal)`` or ``[[top, bottom], [left, right]]``.
        groups: divides both channel counts.
        data_format: ``"NCHW"`` or ``"NHWC"``, for ``x`` and the result.

    Returns:
        ``[N, O, H', W']`` (or NHWC), of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    if data_format not in ("NCHW", "NHWC"):
        raise ShapeError(message("data_format", received=data_format, allowed='"NCHW" or "NHWC"'))
    if x.dim() != 4 or weight.dim() != 4:
        received = f"x {list(x.shape)}, weight {list(weight.shape)}"
        raise ShapeError(message("conv2d shapes", received=received, allowed="four dimensions each"))
    steps, spread = pair("stride", stride), pair("dilation", dilation)
    nchw = x.permute(0, 3, 1, 2) if data_format == "NHWC" else x
    pads = resolve_padding(padding, nchw.shape[2:], weight.shape[2:], steps, spread)
    y: Tensor = op(nchw, weight, bias, stride=list(steps), padding=list(pads), dilation=list(spread), groups=groups)
    return y.permute(0, 2, 3, 1) if data_format == "NHWC" else y


def conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = (1, 1),
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """The whole FP32 weight gradient ``[O, C / groups, kh, kw]`` of :func:`conv2d`, as the dense window needs it."""
    steps, spread = pair("stride", stride), pair("dilation", dilation)
    pads = resolve_padding(padding, x.shape[2:], weight_shape[2:], steps, spread)
    out_dtype = torch.promote_types(x.dtype, torch.float32)
    gw: Tensor = weight_grad_op(
        x,
        gy.to(x.dtype),
        weight_shape=list(weight_shape),
        stride=list(steps),
        padding=list(pads),
        dilation=list(spread),
        groups=groups,
        out_dtype=out_dtype,
    )
    return gw
