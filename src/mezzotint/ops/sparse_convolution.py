"""How is a convolution with a sparse weight done? ``sparse_conv2d`` and its two gradients as operators.

The weight is ``values [nnz]`` (FP32 masters, or the type of the activations) at ``indices [nnz]``. Kernels round the
values to the type of the activations (the working copy) and accumulate in FP32; the gradient of the values is of their
own type, so that FP32 masters get the accumulated FP32 gradient. The three directions are trilinear: each is the
gradient of the others, which gives second derivatives for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.kernels import cost, dense, gather, native, reference
from mezzotint.ops.conv_shape import Padding, check_output_grad, conv_output, per_axis, resolve_padding
from mezzotint.ops.convolution import check_bias, check_grad, geometry, input_grad_rule, spec, with_geometry
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Operator
from mezzotint.ops.pattern_like import KNOWN, check_pattern
from mezzotint.ops.sparse_family import (
    GATHER,
    NATIVE,
    Directions,
    check_images,
    check_nonzeros,
    sampled,
    with_dense_weight,
    with_scratch_weight,
)

_WEIGHT_SHAPE = ("weight_shape: list(int) >= 1", "[O, C / groups, kh, kw] of the dense weight")


def _output_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    check_nonzeros(inputs, "values", "transposed")
    check_bias(inputs["bias"], attrs["weight_shape"][0])
    return TensorSpec(conv_output(x.shape, attrs["weight_shape"], **geometry(attrs)), x.dtype)


def _input_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    check_nonzeros(inputs, "values", "transposed")
    return input_grad_rule(attrs["weight_shape"], spec(inputs, "gy"), attrs)


def _weight_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, gy = spec(inputs, "x"), spec(inputs, "gy")
    check_nonzeros(inputs)
    check_grad(gy, 2)
    check_output_grad(conv_output(x.shape, attrs["weight_shape"], **geometry(attrs)), gy.shape)
    return TensorSpec(spec(inputs, "indices").shape, attrs["out_dtype"])


_directions = Directions(
    shared=lambda call: {"weight_shape": call["weight_shape"], **geometry(call)},
    input_size=lambda x: {"input_size": list(x.shape[2:])},
)

op: Operator = (
    with_geometry(OpDef("sparse_conv2d").attr(*_WEIGHT_SHAPE))
    .input("x: T", "activations [N, C, H, W]")
    .input("values: V", "[nnz], in row-major order of the mask; FP32 masters or of type T")
    .input("indices: int32", "[nnz], ascending flat positions in the dense weight")
    .input("transposed: int32?", "[nnz], the order by input channel; only the input gradient reads it")
    .input("bias: B?", "[O]")
    .output("y: T", "[N, O, H', W']")
    .attr("T: floattype", "type of the activations; the values are rounded to it, sums are FP32")
    .attr("V: floattype", "type of the values and of their gradient")
    .attr("B: floattype", "type of the bias")
    .autocast("x")
    .samples("x")
    .density("indices", "weight_shape")
    .shape_rule(_output_rule)
    .gradient(_directions.of_output)
    .doc("2-D cross-correlation of NCHW activations with a sparse weight; no dense weight is kept.")
    .register()
)
input_grad_op: Operator = (
    with_geometry(
        OpDef("sparse_conv2d_input_grad").attr(*_WEIGHT_SHAPE).attr("input_size: list(int) >= 1", "(H, W) of the input")
    )
    .input("gy: T", "output gradient [N, O, H', W']")
    .input("values: V", "[nnz]")
    .input("indices: int32", "[nnz]")
    .input("transposed: int32", "[nnz], the order by input channel")
    .output("gx: T", "[N, C, H, W]")
    .attr("T: floattype")
    .attr("V: floattype")
    .density("indices", "weight_shape")
    .samples("gy")
    .shape_rule(_input_grad_rule)
    .gradient(_directions.of_input_grad)
    .doc("Gradient of sparse_conv2d for its input.")
    .register()
)
weight_grad_op: Operator = (
    with_geometry(OpDef("sparse_conv2d_weight_grad").attr(*_WEIGHT_SHAPE))
    .input("x: T", "activations [N, C, H, W]")
    .input("gy: T", "output gradient [N, O, H', W']")
    .input("indices: int32", "[nnz]")
    .output("gv: out_dtype", "[nnz]")
    .attr("T: floattype")
    .attr("out_dtype: floattype = float32", "type of the gradient; FP32 keeps the accumulated precision")
    .density("indices", "weight_shape")
    .shape_rule(_weight_grad_rule)
    .gradient(_directions.of_weight_grad)
    .doc("Gradient of sparse_conv2d for its values: a dense weight gradient sampled at the nonzeros, never made whole.")
    .register()
)
_directions.output, _directions.input_grad, _directions.weight_grad = op, input_grad_op, weight_grad_op


@op.kernel(**NATIVE, cost=cost.native)
def _native(
    y: Tensor, x: Tensor, values: Tensor, indices: Tensor, transposed: Tensor | None, bias: Tensor | None, **attrs: Any
) -> None:
    native.conv2d_output(x, values, indices, bias, y, **attrs)


@input_grad_op.kernel(**NATIVE, cost=cost.native)
def _native_input_grad(
    gx: Tensor,
    gy: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    *,
    input_size: Sequence[int],
    **attrs: Any,
) -> None:
    native.conv2d_input_grad(gy, values, indices, transposed, gx, **attrs)


@weight_grad_op.kernel(**NATIVE, cost=cost.native)
def _native_weight_grad(
    gv: Tensor, x: Tensor, gy: Tensor, indices: Tensor, *, out_dtype: torch.dtype, **attrs: Any
) -> None:
    native.conv2d_weight_grad(x, gy, indices, gv, **attrs)


op.kernel(name="scatter", cost=cost.dense)(with_scratch_weight(dense.conv))
input_grad_op.kernel(name="scatter", cost=cost.dense)(with_scratch_weight(dense.conv_input_grad))
weight_grad_op.kernel(name="scatter", cost=cost.dense)(sampled(dense.conv_weight_grad))
input_grad_op.kernel(name="scatter_channels_last", cost=cost.dense, priority=-1, supports=dense.pays_in_channels_last)(
    with_scratch_weight(dense.in_channels_last(dense.conv_input_grad))
)
op.kernel(**GATHER)(gather.conv2d_output)
input_grad_op.kernel(**GATHER)(gather.conv2d_input_grad)
weight_grad_op.kernel(**GATHER)(gather.conv2d_weight_grad)
op.kernel(name="reference", oracle=True)(with_dense_weight(reference.conv))
input_grad_op.kernel(name="reference", oracle=True)(with_dense_weight(reference.conv_input_grad))
weight_grad_op.kernel(name="reference", oracle=True)(sampled(reference.conv_weight_grad))


def sparse_conv2d(
    x: Tensor,
    values: Tensor,
    pattern: object,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = (1, 1),
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """2-D convolution with a sparse weight.

    Args:
        x: activations ``[N, C, H, W]``, or without N, any strides; float.
        values: ``[nnz]``, in row-major order of the mask; float32 masters, or the type of ``x``.
        pattern: a :class:`mezzotint.Pattern` of shape ``[O, C / groups, kh, kw]``.
        bias: ``[O]`` or ``None``.
        stride, padding, dilation, groups: as for :func:`mezzotint.ops.conv2d`.

    Returns:
        ``[N, O, H', W']`` of the type of ``x``. Under ``torch.autocast`` ``x`` is cast, the values are not: the kernel
        rounds them, and their gradient keeps their type.

    Raises:
        ShapeError: arguments that do not go together.
    """
    if type(pattern) in KNOWN:
        known: Any = pattern
        inputs = (x, values, known.indices, known.transposed if x.requires_grad else None, bias)
        run = op.find(inputs, (known.shape, stride, padding, dilation, groups))
        if run is not None:
            return run(*inputs)  # type: ignore[no-any-return]
    checked = check_pattern(pattern, values, rank=4)
    check_images(x)
    if x.dim() == 3:
        return sparse_conv2d(
            x[None], values, pattern, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
        )[0]
    steps, spread = per_axis("stride", stride, 2), per_axis("dilation", dilation, 2)
    pads = resolve_padding(padding, x.shape[2:], checked.shape[2:], steps, spread)
    # The transposed order is there where the input gradient may ask for it: a first layer never pays for it.
    inputs = (x, values, checked.indices, checked.transposed if x.requires_grad else None, bias)
    attrs = {
        "weight_shape": list(checked.shape),
        "stride": steps,
        "padding": list(pads),
        "dilation": spread,
        "groups": groups,
    }
    y: Tensor = op.resolved(inputs, (checked.shape, stride, padding, dilation, groups), attrs)
    return y
