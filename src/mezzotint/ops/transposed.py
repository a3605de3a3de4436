"""How is a transposed convolution done? ``conv_transpose1d``, ``2d``, ``3d`` and the sparse one as operators.

A transposed convolution is the input gradient of a convolution whose weight reads ``[C, O / groups, ...]``; its own
gradients are that convolution and its weight gradient, so that no further operators are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, dense, reference
from mezzotint.kernels.geometry import pads_per_axis, trailing
from mezzotint.ops.conv_shape import FORMATS, Padding, conv_transpose_output, per_axis, resolve_padding
from mezzotint.ops.convolution import (
    FAMILIES,
    KERNELS,
    OUTPUTS,
    SIZES,
    bias_grad,
    check_bias,
    geometry,
    in_format,
    like_format,
    spec,
    with_geometry,
)
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call


def with_output_padding(definition: OpDef, rank: int) -> OpDef:
    """Add the attributes of a transposed convolution."""
    return with_geometry(definition, rank).attr(
        f"output_padding: list(int) >= 0 = {[0] * rank}", "sizes that the end of the output is longer by; no zeros"
    )


def resolve_geometry(given: tuple[Any, ...], rank: int) -> dict[str, Any]:
    """(stride, padding, output_padding, dilation, groups) as a caller wrote them -> attributes."""
    stride, padding, output_padding, dilation, groups = given
    steps, spread = per_axis("stride", stride, rank), per_axis("dilation", dilation, rank)
    more = per_axis("output_padding", output_padding, rank, least=0)
    if isinstance(padding, str) and padding.upper() != "VALID":
        allowed = '"VALID", an integer, one an axis, or a pair [before, after] an axis'
        fix = "Which of several sizes SAME came from is not known: write the padding in numbers."
        raise ShapeError(message("padding of a transposed convolution", received=padding, allowed=allowed, fix=fix))
    pads = resolve_padding(padding, (1,) * rank, (1,) * rank, steps, spread)
    return {
        "stride": steps,
        "padding": list(pads),
        "output_padding": more,
        "dilation": spread,
        "groups": groups,
    }


def led_back(
    x_shape: Sequence[Any], weight_shape: Sequence[Any], attrs: Mapping[str, Any] | Call
) -> tuple[list[Any], dict[str, Any]]:
    """The convolution that leads exactly back: sizes of the part of the output that it reads, and its attributes.

    A longer end (``output_padding``) is less padding there; what is longer than the padding has the bias alone.
    """
    rank, more = len(x_shape) - 2, attrs["output_padding"]
    sides = zip(pads_per_axis(attrs["padding"]), more, strict=True)
    padding = [side for (before, after), longer in sides for side in (before, max(after - longer, 0))]
    exact = {**geometry(attrs), "padding": padding}
    shape = conv_transpose_output(x_shape, weight_shape, **exact, output_padding=[0] * rank, rank=rank)
    return list(shape[2:]), exact


def cropped(y: Tensor, size: Sequence[Any]) -> Tensor:
    """The first ``size`` entries of each axis behind N and C."""
    return y if tuple(y.shape[2:]) == tuple(size) else y[trailing(map(slice, size))]


class TransposedConvolution:
    """The operator of a dense transposed convolution of one rank."""

    def __init__(self, rank: int) -> None:
        self.rank, self._family = rank, FAMILIES[rank]
        name = f"conv_transpose{rank}d"
        self.output = (
            with_output_padding(OpDef(name), rank)
            .input("x: T", f"activations [N, C, {SIZES[rank]}]")
            .input("weight: T", f"[C, O / groups, {KERNELS[rank]}]")
            .input("bias: B?", "[O]")
            .output("y: T", f"[N, O, {OUTPUTS[rank]}]")
            .attr("T: floattype", "type of the activations and the weight")
            .attr("B: floattype", "type of the bias")
            .autocast("x", "weight")
            .samples("x")
            .shape_rule(self._output_rule)
            .gradient(self._gradient)
            .doc(f"Dense transposed {rank}-D convolution: the input gradient of conv{rank}d as a layer of its own.")
            .register()
        )
        self.find = self.output.find
        self.output.kernel(name="torch", cost=cost.dense)(dense.conv_transpose)
        self.output.kernel(name="reference", oracle=True)(reference.conv_transpose)

    def resolved(self, x: Tensor, weight: Tensor, bias: Tensor | None, given: tuple[Any, ...]) -> Tensor:
        """The public function where no plan is found.

        ``given`` is (stride, padding, output_padding, dilation, groups, data_format) as it came.
        """
        plain = in_format(f"conv_transpose{self.rank}d", x, weight, given[-1], self.rank)
        if plain is not x:
            y = self.resolved(plain, weight, bias, (*given[:-1], FORMATS[self.rank][0]))
            return like_format(y, x, given[-1], self.rank)
        resolved: Tensor = self.output.resolved((x, weight, bias), given, resolve_geometry(given[:-1], self.rank))
        return resolved

    def _output_rule(self, inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
        x, weight = spec(inputs, "x"), spec(inputs, "weight")
        shape = conv_transpose_output(
            x.shape, weight.shape, **geometry(attrs), output_padding=attrs["output_padding"], rank=self.rank
        )
        check_bias(inputs["bias"], shape[1])
        return TensorSpec(shape, x.dtype)

    def _gradient(self, call: Call, gy: Tensor) -> dict[str, Tensor | None]:
        weight = call["weight"]
        size, exact = led_back(call["x"].shape, weight.shape, call)
        inner = cropped(gy, size)
        found: dict[str, Tensor | None] = {}
        if call.needs("x"):
            found["x"] = self._family.output(inner, weight, None, **exact)
        if call.needs("weight"):
            found["weight"] = self._family.weight_grad(
                inner, call["x"], weight_shape=list(weight.shape), out_dtype=weight.dtype, **exact
            )
        if call.needs("bias"):
            found["bias"] = bias_grad(gy, call["bias"].dtype)
        return found


_1d, _2d, _3d = TransposedConvolution(1), TransposedConvolution(2), TransposedConvolution(3)


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCW",
) -> Tensor:
    """Dense transposed 1-D convolution; as :func:`conv_transpose2d` with one axis.

    Args:
        x: ``[N, C, L]`` (``"NCW"``), ``[N, L, C]`` (``"NWC"``), or without N; float.
        weight: ``[C, O / groups, k]`` of the same type.
        bias, stride, padding, output_padding, dilation, groups: as for :func:`conv_transpose2d`.
        data_format: ``"NCW"`` or ``"NWC"``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, output_padding, dilation, groups, data_format)
    run = _1d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _1d.resolved(x, weight, bias, given)
    return y


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """Dense transposed 2-D convolution (the input gradient of :func:`mezzotint.ops.conv2d`).

    Args:
        x: activations, ``[N, C, H, W]`` (``"NCHW"``) or ``[N, H, W, C]`` (``"NHWC"``), or without N; float.
        weight: ``[C, O / groups, kh, kw]`` of the same type.
        bias: ``[O]`` or ``None``.
        stride, dilation: positive, one number or (height, width).
        padding: what is cut off the result: ``"VALID"`` (nothing), an integer, ``(vertical, horizontal)`` or
            ``[[top, bottom], [left, right]]``.
        output_padding: rows and columns added at the end, fewer than the stride or the dilation: with a stride several
            input sizes of a convolution give one output size, this says which is meant.
        groups: divides both channel counts.
        data_format: ``"NCHW"`` or ``"NHWC"``, for ``x`` and the result.

    Returns:
        ``[N, O, H', W']`` (or NHWC) with ``H' = (H - 1) stride - top - bottom + (kh - 1) dilation + 1 +
        output_padding``, of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, output_padding, dilation, groups, data_format)
    run = _2d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _2d.resolved(x, weight, bias, given)
    return y


def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "NCDHW",
) -> Tensor:
    """Dense transposed 3-D convolution; as :func:`conv_transpose2d` with three axes.

    Args:
        x: ``[N, C, D, H, W]`` (``"NCDHW"``), ``[N, D, H, W, C]`` (``"NDHWC"``), or without N; float.
        weight: ``[C, O / groups, kd, kh, kw]`` of the same type.
        bias, stride, padding, output_padding, dilation, groups: as for :func:`conv_transpose2d`.
        data_format: ``"NCDHW"`` or ``"NDHWC"``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, output_padding, dilation, groups, data_format)
    run = _3d.find((x, weight, bias), given)
    y: Tensor = run(x, weight, bias) if run else _3d.resolved(x, weight, bias, given)
    return y
