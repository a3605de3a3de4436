"""How is a dense convolution done? ``conv1d``, ``conv2d``, ``conv3d`` and their gradients as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, dense, reference
from mezzotint.ops.conv_shape import (
    FORMATS,
    Padding,
    check_output_grad,
    conv_output,
    differ,
    per_axis,
    resolve_padding,
)
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call

GEOMETRY = ("stride", "padding", "dilation", "groups")
SIZES = {1: "L", 2: "H, W", 3: "D, H, W"}
"""How the sizes of activations are written, by rank."""
OUTPUTS = {1: "L'", 2: "H', W'", 3: "D', H', W'"}
KERNELS = {1: "k", 2: "kh, kw", 3: "kd, kh, kw"}
_SIDES = {1: "before, after", 2: "top, bottom, left, right", 3: "front, back, top, bottom, left, right"}
_ORDER = {1: "", 2: " (height, width)", 3: " (depth, height, width)"}


def with_geometry(definition: OpDef, rank: int = 2) -> OpDef:
    """Add the attributes that every convolution has."""
    ones, zeros = [1] * rank, [0] * (2 * rank)
    return (
        definition.attr(f"stride: list(int) >= 1 = {ones}", f"step of the kernel{_ORDER[rank]}")
        .attr(f"padding: list(int) >= 0 = {zeros}", f"zeros around the input ({_SIDES[rank]})")
        .attr(f"dilation: list(int) >= 1 = {ones}", f"distance of the taps{_ORDER[rank]}")
        .attr("groups: int >= 1 = 1", "independent channel groups")
    )


def geometry(source: Mapping[str, Any] | Call) -> dict[str, Any]:
    """The convolution attributes of a call, to be handed on."""
    return {name: source[name] for name in GEOMETRY}


def spec(inputs: Specs, name: str) -> TensorSpec:
    """The input ``name``, which must be there."""
    found = inputs[name]
    if found is None:
        raise ShapeError(message(name, received=None, allowed="a tensor"))
    return found


def input_grad_rule(weight_shape: Sequence[Any], gy: TensorSpec, attrs: Mapping[str, Any], rank: int = 2) -> TensorSpec:
    """Shape of the input gradient; the output gradient must be what a convolution of that input gives."""
    check_grad(gy, rank)
    if len(attrs["input_size"]) != rank:
        raise ShapeError(message("input_size", received=attrs["input_size"], allowed=f"{rank} size(s)"))
    if len(weight_shape) != rank + 2:
        raise ShapeError(message("weight shape", received=list(weight_shape), allowed=f"{rank + 2} dimensions"))
    shape = (gy.shape[0], weight_shape[1] * attrs["groups"], *attrs["input_size"])
    check_output_grad(conv_output(shape, weight_shape, **geometry(attrs), rank=rank), gy.shape)
    return TensorSpec(shape, gy.dtype)


def check_grad(gy: TensorSpec, rank: int) -> None:
    """An output gradient has batch, channels and ``rank`` further axes."""
    if len(gy.shape) != rank + 2:
        allowed = f"{rank + 2} dimensions [N, O, {OUTPUTS[rank]}]"
        raise ShapeError(message("output gradient", received=list(gy.shape), allowed=allowed))


def check_bias(bias: TensorSpec | None, channels: Any) -> None:
    """A bias has one number an output channel."""
    if bias is not None and (len(bias.shape) != 1 or differ(bias.shape[0], channels)):
        raise ShapeError(
            message("bias shape", received=list(bias.shape), allowed=f"[{channels}], one an output channel")
        )


def bias_grad(gy: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum of the output gradient over everything but channels, accumulated in at least FP32."""
    axes = [axis for axis in range(gy.dim()) if axis != 1]
    return gy.sum(axes, dtype=torch.promote_types(gy.dtype, torch.float32)).to(dtype)


def in_format(name: str, x: Tensor, weight: Tensor, data_format: str, rank: int) -> Tensor:
    """``x`` as ``[N, C, ...]``: channels moved to axis 1 as ``data_format`` says, one sample a batch of one."""
    if data_format not in FORMATS[rank]:
        first, last = FORMATS[rank]
        raise ShapeError(message(f"{name}: data_format", received=data_format, allowed=f'"{first}" or "{last}"'))
    if weight.dim() != rank + 2 or x.dim() not in (rank + 1, rank + 2):
        received = f"x {list(x.shape)}, weight {list(weight.shape)}"
        raise ShapeError(
            message(
                f"{name} shapes", received=received, allowed=f"{rank + 2} dimensions each; x may be without its batch"
            )
        )
    batched = x if x.dim() == rank + 2 else x.unsqueeze(0)
    return batched if data_format == FORMATS[rank][0] else batched.movedim(-1, 1)


def like_format(y: Tensor, x: Tensor, data_format: str, rank: int) -> Tensor:
    """``y [N, O, ...]`` in the layout in which ``x`` came to :func:`in_format`."""
    placed = y if data_format == FORMATS[rank][0] else y.movedim(1, -1)
    return placed if x.dim() == rank + 2 else placed.squeeze(0)


class Convolution:
    """The three operators of a dense convolution of one rank, their shape rules and gradients.

    Output, input gradient and weight gradient are one trilinear form seen from three sides: each one's gradient is made
    of the other two.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        name, activations = f"conv{rank}d", f"activations [N, C, {SIZES[rank]}]"
        weight, gradient = f"[O, C / groups, {KERNELS[rank]}]", f"output gradient [N, O, {OUTPUTS[rank]}]"
        self.output = (
            with_geometry(OpDef(name), rank)
            .input("x: T", activations)
            .input("weight: T", weight)
            .input("bias: B?", "[O]")
            .output("y: T", f"[N, O, {OUTPUTS[rank]}]")
            .attr("T: floattype", "type of the activations and the weight")
            .attr("B: floattype", "type of the bias")
            .autocast("x", "weight")
            .samples("x")
            .shape_rule(self._output_rule)
            .gradient(self._gradient)
            .doc(f"Dense {rank}-D cross-correlation of {FORMATS[rank][0]} activations, accumulated in at least FP32.")
            .register()
        )
        self.find = self.output.find
        sizes = f"({SIZES[rank]}) of the input"
        self.input_grad = (
            with_geometry(
                OpDef(f"{name}_input_grad").attr("T: floattype").attr("input_size: list(int) >= 1", sizes), rank
            )
            .input("gy: T", gradient)
            .input("weight: T", weight)
            .output("gx: T", f"[N, C, {SIZES[rank]}]")
            .samples("gy")
            .shape_rule(self._input_grad_rule)
            .gradient(self._input_grad_gradient)
            .doc(f"Gradient of {name} for its input.")
            .register()
        )
        self.weight_grad = (
            with_geometry(
                OpDef(f"{name}_weight_grad").attr("T: floattype").attr("weight_shape: list(int) >= 1", weight), rank
            )
            .input("x: T", activations)
            .input("gy: T", gradient)
            .output("gw: out_dtype", weight)
            .attr("out_dtype: floattype = float32", "type of the gradient; FP32 keeps the accumulated precision")
            .shape_rule(self._weight_grad_rule)
            .gradient(self._weight_grad_gradient)
            .doc(f"Gradient of {name} for its whole weight.")
            .register()
        )
        self.output.kernel(name="torch", cost=cost.dense)(dense.conv)
        self.input_grad.kernel(name="torch", cost=cost.dense)(dense.conv_input_grad)
        self.weight_grad.kernel(name="torch", cost=cost.dense)(dense.conv_weight_grad)
        self.output.kernel(name="reference", oracle=True)(reference.conv)
        self.input_grad.kernel(name="reference", oracle=True)(reference.conv_input_grad)
        self.weight_grad.kernel(name="reference", oracle=True)(reference.conv_weight_grad)

    def resolved(self, x: Tensor, weight: Tensor, bias: Tensor | None, given: tuple[Any, ...]) -> Tensor:
        """The public function where no plan is found.

        ``given`` is (stride, padding, dilation, groups, data_format) as it came.
        """
        stride, padding, dilation, groups, data_format = given
        name = f"conv{self.rank}d"
        if (plain := in_format(name, x, weight, data_format, self.rank)) is not x:
            y = self.resolved(plain, weight, bias, (stride, padding, dilation, groups, FORMATS[self.rank][0]))
            return like_format(y, x, data_format, self.rank)
        steps, spread = per_axis("stride", stride, self.rank), per_axis("dilation", dilation, self.rank)
        pads = resolve_padding(padding, x.shape[2:], weight.shape[2:], steps, spread)
        attrs = {"stride": steps, "padding": list(pads), "dilation": spread, "groups": groups}
        resolved: Tensor = self.output.resolved((x, weight, bias), given, attrs)
        return resolved

    def _output_rule(self, inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
        x, weight = spec(inputs, "x"), spec(inputs, "weight")
        shape = conv_output(x.shape, weight.shape, **geometry(attrs), rank=self.rank)
        check_bias(inputs.get("bias"), weight.shape[0])
        return TensorSpec(shape, x.dtype)

    def _input_grad_rule(self, inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
        return input_grad_rule(spec(inputs, "weight").shape, spec(inputs, "gy"), attrs, self.rank)

    def _weight_grad_rule(self, inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
        x, gy = spec(inputs, "x"), spec(inputs, "gy")
        check_grad(gy, self.rank)
        check_output_grad(conv_output(x.shape, attrs["weight_shape"], **geometry(attrs), rank=self.rank), gy.shape)
        return TensorSpec(tuple(attrs["weight_shape"]), attrs["out_dtype"])

    def _gradient(self, call: Call, gy: Tensor) -> dict[str, Tensor | None]:
        found: dict[str, Tensor | None] = {}
        if call.needs("x"):
            found["x"] = self.input_grad(gy, call["weight"], input_size=list(call["x"].shape[2:]), **geometry(call))
        if call.needs("weight"):
            found["weight"] = self._toward_weight(call, call["x"], gy)
        if call.needs("bias"):
            found["bias"] = bias_grad(gy, call["bias"].dtype)
        return found

    def _input_grad_gradient(self, call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
        found: dict[str, Tensor | None] = {}
        if call.needs("gy"):
            found["gy"] = self.output(ggx, call["weight"], None, **geometry(call))
        if call.needs("weight"):
            found["weight"] = self._toward_weight(call, ggx, call["gy"])
        return found

    def _weight_grad_gradient(self, call: Call, ggw: Tensor) -> dict[str, Tensor | None]:
        x, gy = call["x"], call["gy"]
        found: dict[str, Tensor | None] = {}
        weight = ggw.to(x.dtype)
        if call.needs("x"):
            found["x"] = self.input_grad(gy, weight, input_size=list(x.shape[2:]), **geometry(call))
        if call.needs("gy"):
            found["gy"] = self.output(x, weight, None, **geometry(call))
        return found

    def _toward_weight(self, call: Call, x: Tensor, gy: Tensor) -> Tensor:
        weight = call["weight"]
        gw: Tensor = self.weight_grad(x, gy, weight_shape=list(weight.shape), out_dtype=weight.dtype, **geometry(call))
        return gw


_1d, _2d, _3d = Convolution(1), Convolution(2), Convolution(3)
FAMILIES = {1: _1d, 2: _2d, 3: _3d}
"""The dense convolutions by rank."""


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCW",
) -> Tensor:
    """Dense 1-D convolution (cross-correlation); as :func:`conv2d` with one axis.

    Args:
        x: activations ``[N, C, L]`` (``"NCW"``), ``[N, L, C]`` (``"NWC"``), or without N; float.
        weight: ``[O, C / groups, k]`` of the same type.
        bias: ``[O]`` or ``None``.
        stride, padding, dilation, groups: as for :func:`conv2d`.
        data_format: ``"NCW"`` or ``"NWC"``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, dilation, groups, data_format)
    run = _1d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _1d.resolved(x, weight, bias, given)
    return y


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
        x: activations, ``[N, C, H, W]`` (``"NCHW"``) or ``[N, H, W, C]`` (``"NHWC"``), or without N; float.
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
    given = (stride, padding, dilation, groups, data_format)
    run = _2d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _2d.resolved(x, weight, bias, given)
    return y


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCDHW",
) -> Tensor:
    """Dense 3-D convolution (cross-correlation); as :func:`conv2d` with three axes.

    Args:
        x: activations ``[N, C, D, H, W]`` (``"NCDHW"``), ``[N, D, H, W, C]`` (``"NDHWC"``), or without N; float.
        weight: ``[O, C / groups, kd, kh, kw]`` of the same type.
        bias: ``[O]`` or ``None``.
        stride, padding, dilation, groups: as for :func:`conv2d`.
        data_format: ``"NCDHW"`` or ``"NDHWC"``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, dilation, groups, data_format)
    run = _3d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _3d.resolved(x, weight, bias, given)
    return y


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
    steps, spread = per_axis("stride", stride, 2), per_axis("dilation", dilation, 2)
    pads = resolve_padding(padding, x.shape[2:], weight_shape[2:], steps, spread)
    gw: Tensor = _2d.weight_grad(
        x,
        gy.to(x.dtype),
        weight_shape=list(weight_shape),
        stride=steps,
        padding=list(pads),
        dilation=spread,
        groups=groups,
        out_dtype=torch.promote_types(x.dtype, torch.float32),
    )
    return gw
