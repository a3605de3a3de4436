"""How is a product with a sparse matrix done? ``sparse_linear`` and its two gradients as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, dense, gather, native, reference
from mezzotint.ops.conv_shape import check_output_grad, differ
from mezzotint.ops.convolution import check_bias, spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Operator
from mezzotint.ops.pattern_like import KNOWN, check_pattern
from mezzotint.ops.sparse_family import (
    GATHER,
    NATIVE,
    Directions,
    check_nonzeros,
    sampled,
    with_dense_weight,
    with_scratch_weight,
)

_WEIGHT_SHAPE = ("weight_shape: list(int) >= 1", "[O, I] of the dense weight")


def _check_features(features: Any, weight_shape: Sequence[Any]) -> None:
    if len(weight_shape) != 2:
        raise ShapeError(message("weight_shape", received=list(weight_shape), allowed="two numbers [O, I]"))
    if differ(features, weight_shape[1]):
        raise ShapeError(
            message("input features", received=features, allowed=f"{weight_shape[1]}, the weight's columns")
        )


def _check_matrix(name: str, found: TensorSpec) -> None:
    if len(found.shape) != 2:
        raise ShapeError(message(f"{name} shape", received=list(found.shape), allowed="two dimensions [N, features]"))


def _output_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    _check_matrix("x", x)
    _check_features(x.shape[1], attrs["weight_shape"])
    check_nonzeros(inputs, "values", "transposed")
    check_bias(inputs["bias"], attrs["weight_shape"][0])
    return TensorSpec((x.shape[0], attrs["weight_shape"][0]), x.dtype)


def _input_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    gy = spec(inputs, "gy")
    _check_matrix("gy", gy)
    check_nonzeros(inputs, "values", "transposed")
    rows, columns = attrs["weight_shape"]
    check_output_grad((gy.shape[0], rows), gy.shape)
    return TensorSpec((gy.shape[0], columns), gy.dtype)


def _weight_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x, gy = spec(inputs, "x"), spec(inputs, "gy")
    _check_matrix("x", x)
    _check_features(x.shape[1], attrs["weight_shape"])
    check_nonzeros(inputs)
    check_output_grad((x.shape[0], attrs["weight_shape"][0]), gy.shape)
    return TensorSpec(spec(inputs, "indices").shape, attrs["out_dtype"])


_directions = Directions(shared=lambda call: {"weight_shape": call["weight_shape"]}, input_size=lambda x: {})

op: Operator = (
    OpDef("sparse_linear")
    .input("x: T", "activations [N, I]")
    .input("values: V", "[nnz], in row-major order of the mask; FP32 masters or of type T")
    .input("indices: int32", "[nnz], ascending flat positions in the dense weight")
    .input("transposed: int32?", "[nnz], the order by input feature; only the input gradient reads it")
    .input("bias: B?", "[O]")
    .output("y: T", "[N, O]")
    .attr("T: floattype", "type of the activations; the values are rounded to it, sums are FP32")
    .attr("V: floattype", "type of the values and of their gradient")
    .attr("B: floattype", "type of the bias")
    .attr(*_WEIGHT_SHAPE)
    .autocast("x")
    .samples("x")
    .density("indices", "weight_shape")
    .shape_rule(_output_rule)
    .gradient(_directions.of_output)
    .doc("Product of activations with a sparse matrix, plus bias; no dense weight is kept.")
    .register()
)
input_grad_op: Operator = (
    OpDef("sparse_linear_input_grad")
    .input("gy: T", "output gradient [N, O]")
    .input("values: V", "[nnz]")
    .input("indices: int32", "[nnz]")
    .input("transposed: int32", "[nnz], the order by input feature")
    .output("gx: T", "[N, I]")
    .attr("T: floattype")
    .attr("V: floattype")
    .attr(*_WEIGHT_SHAPE)
    .density("indices", "weight_shape")
    .samples("gy")
    .shape_rule(_input_grad_rule)
    .gradient(_directions.of_input_grad)
    .doc("Gradient of sparse_linear for its input.")
    .register()
)
weight_grad_op: Operator = (
    OpDef("sparse_linear_weight_grad")
    .input("x: T", "activations [N, I]")
    .input("gy: T", "output gradient [N, O]")
    .input("indices: int32", "[nnz]")
    .output("gv: out_dtype", "[nnz]")
    .attr("T: floattype")
    .attr(*_WEIGHT_SHAPE)
    .attr("out_dtype: floattype = float32", "type of the gradient; FP32 keeps the accumulated precision")
    .density("indices", "weight_shape")
    .shape_rule(_weight_grad_rule)
    .gradient(_directions.of_weight_grad)
    .doc("Gradient of sparse_linear for its values, sampled at the nonzeros.")
    .register()
)
_directions.output, _directions.input_grad, _directions.weight_grad = op, input_grad_op, weight_grad_op


@op.kernel(**NATIVE, cost=cost.native)
def _native(
    y: Tensor, x: Tensor, values: Tensor, indices: Tensor, transposed: Tensor | None, bias: Tensor | None, **attrs: Any
) -> None:
    native.linear_output(x, values, indices, bias, y, **attrs)


@input_grad_op.kernel(**NATIVE, cost=cost.native)
def _native_input_grad(
    gx: Tensor, gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, **attrs: Any
) -> None:
    native.linear_input_grad(gy, values, indices, transposed, gx, **attrs)


@weight_grad_op.kernel(**NATIVE, cost=cost.native)
def _native_weight_grad(
    gv: Tensor, x: Tensor, gy: Tensor, indices: Tensor, *, out_dtype: torch.dtype, **attrs: Any
) -> None:
    native.linear_weight_grad(x, gy, indices, gv, **attrs)


op.kernel(name="scatter", cost=cost.dense)(with_scratch_weight(dense.linear))
input_grad_op.kernel(name="scatter", cost=cost.dense)(with_scratch_weight(dense.linear_input_grad))
weight_grad_op.kernel(name="scatter", cost=cost.dense)(sampled(dense.linear_weight_grad))
op.kernel(**GATHER)(gather.linear_output)
input_grad_op.kernel(**GATHER)(gather.linear_input_grad)
weight_grad_op.kernel(**GATHER)(gather.linear_weight_grad)
op.kernel(name="reference", oracle=True)(with_dense_weight(reference.linear))
input_grad_op.kernel(name="reference", oracle=True)(with_dense_weight(reference.linear_input_grad))
weight_grad_op.kernel(name="reference", oracle=True)(sampled(reference.linear_weight_grad))


def sparse_linear(x: Tensor, values: Tensor, pattern: object, bias: Tensor | None = None) -> Tensor:
    """``y = x W^T + bias`` with a sparse ``W``.

    Args:
        x: activations ``[..., I]``; float.
        values: ``[nnz]``, in row-major order of the mask; float32 masters, or the type of ``x``.
        pattern: a :class:`mezzotint.Pattern` of shape ``[O, I]``.
        bias: ``[O]`` or ``None``.

    Returns:
        ``[..., O]`` of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    if type(pattern) in KNOWN:
        known: Any = pattern
        inputs = (x, values, known.indices, known.transposed if x.requires_grad else None, bias)
        run = op.find(inputs, known.shape)
        if run is not None:
            return run(*inputs)  # type: ignore[no-any-return]
    checked = check_pattern(pattern, values, rank=2)
    if x.dim() < 1:
        raise ShapeError(message("x shape", received=list(x.shape), allowed="at least one dimension [..., I]"))
    rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    # The transposed order is there where the input gradient may ask for it: a first layer never pays for it.
    inputs = (rows, values, checked.indices, checked.transposed if x.requires_grad else None, bias)
    y: Tensor = op.resolved(inputs, checked.shape, {"weight_shape": list(checked.shape)})
    return y if x.dim() == 2 else y.reshape(*x.shape[:-1], checked.shape[0])
