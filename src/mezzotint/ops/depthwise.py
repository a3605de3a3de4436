"""How is a depthwise convolution done? ``depthwise_conv2d``: each channel has ``multiplier`` filters of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import dense, reference
from mezzotint.ops.conv_shape import Padding, conv_output, differ, per_axis, resolve_padding
from mezzotint.ops.convolution import FAMILIES, bias_grad, check_bias, in_format, like_format, spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator


def _grouped(call: Mapping[str, Any] | Call, channels: int) -> dict[str, Any]:
    return {**{name: call[name] for name in ("stride", "padding", "dilation")}, "groups": channels}


def _output_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, weight = spec(inputs, "x"), spec(inputs, "weight")
    if len(weight.shape) != 4 or differ(weight.shape[1], 1):
        received = list(weight.shape)
        raise ShapeError(message("weight shape", received=received, allowed="[C multiplier, 1, kh, kw]"))
    if len(x.shape) != 4:
        raise ShapeError(message("x shape", received=list(x.shape), allowed="four dimensions [N, C, H, W]"))
    shape = conv_output(x.shape, weight.shape, **_grouped(attrs, x.shape[1]))
    check_bias(inputs["bias"], weight.shape[0])
    return TensorSpec(shape, x.dtype)


def _gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    x, weight, family = call["x"], call["weight"], FAMILIES[2]
    attrs = _grouped(call, x.shape[1])
    found: dict[str, Tensor | None] = {}
    if call.needs("x"):
        found["x"] = family.input_grad(gy, weight, input_size=list(x.shape[2:]), **attrs)
    if call.needs("weight"):
        found["weight"] = family.weight_grad(x, gy, weight_shape=list(weight.shape), out_dtype=weight.dtype, **attrs)
    if call.needs("bias"):
        found["bias"] = bias_grad(gy, call["bias"].dtype)
    return found


op: Operator = (
    OpDef("depthwise_conv2d")
    .input("x: T", "activations [N, C, H, W]")
    .input("weight: T", "[C multiplier, 1, kh, kw]; output c multiplier + m comes of channel c")
    .input("bias: B?", "[C multiplier]")
    .output("y: T", "[N, C multiplier, H', W']")
    .attr("T: floattype", "type of the activations and the weight")
    .attr("B: floattype", "type of the bias")
    .attr("stride: list(int) >= 1 = [1, 1]", "step of the kernel (height, width)")
    .attr("padding: list(int) >= 0 = [0, 0, 0, 0]", "zeros around the input (top, bottom, left, right)")
    .attr("dilation: list(int) >= 1 = [1, 1]", "distance of the taps (height, width)")
    .autocast("x", "weight")
    .samples("x")
    .shape_rule(_output_rule)
    .gradient(_gradient)
    .doc("Depthwise 2-D cross-correlation of NCHW activations: a channel's outputs read that channel alone.")
    .register()
)


@op.kernel(name="torch")
def _torch(x: Tensor, weight: Tensor, bias: Tensor | None, **attrs: Any) -> Tensor:
    return dense.conv(x, weight, bias, groups=x.shape[1], **attrs)


@op.kernel(name="reference", oracle=True)
def _reference(x: Tensor, weight: Tensor, bias: Tensor | None, **attrs: Any) -> Tensor:
    return reference.conv(x, weight, bias, groups=x.shape[1], **attrs)


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """Depthwise 2-D convolution: every channel is convolved on its own, with ``multiplier`` filters.

    Args:
        x: activations, ``[N, C, H, W]`` (``"NCHW"``) or ``[N, H, W, C]`` (``"NHWC"``), or without N; float.
        weight: ``[C multiplier, 1, kh, kw]`` of the same type, as ``torch.nn.Conv2d`` with ``groups=C`` has it.
        bias: ``[C multiplier]`` or ``None``.
        stride, padding, dilation: as for :func:`mezzotint.ops.conv2d`.
        data_format: ``"NCHW"`` or ``"NHWC"``, for ``x`` and the result.

    Returns:
        ``[N, C multiplier, H', W']`` (or NHWC), of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, dilation, data_format)
    run = op.find((x, weight, bias), given)
    if run is not None:
        return run(x, weight, bias)  # type: ignore[no-any-return]
    plain = in_format("depthwise_conv2d", x, weight, data_format, 2)
    if plain is not x:
        y = depthwise_conv2d(plain, weight, bias, stride=stride, padding=padding, dilation=dilation)
        return like_format(y, x, data_format, 2)
    steps, spread = per_axis("stride", stride, 2), per_axis("dilation", dilation, 2)
    pads = resolve_padding(padding, x.shape[2:], weight.shape[2:], steps, spread)
    attrs = {"stride": steps, "padding": list(pads), "dilation": spread}
    resolved: Tensor = op.resolved((x, weight, bias), given, attrs)
    return resolved
