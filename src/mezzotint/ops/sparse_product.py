"""How is a product with a sparse matrix done? ``sparse_linear`` and its two gradients as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, dense, native, reference
from mezzotint.kernels.reference import scatter
from mezzotint.ops.convolution import bias_grad, check_bias, check_output_grad
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.pattern_like import check_pattern, transposed_if_needed
from mezzotint.ops.sparse_convolution import NATIVE_DTYPES, check_nonzeros, native_supports, spec, transposed_order

_WEIGHT_SHAPE = ("weight_shape: list(int) >= 1", "[O, I] of the dense weight")


def _check_features(features: Any, weight_shape: Sequence[Any]) -> None:
    if len(weight_shape) != 2:
        raise ShapeError(message("weight_shape", received=list(weight_shape), allowed="two numbers [O, I]"))
    if features != weight_shape[1]:
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


def _transposed(call: Call) -> Tensor:
    if call.inputs.get("transposed") is not None:
        return call["transposed"]  # type: ignore[no-any-return]
    return transposed_order(call["indices"], call["weight_shape"])


def _gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    x, values, indices, shape = call["x"], call["values"], call["indices"], call["weight_shape"]
    found: dict[str, Tensor | None] = {}
    if call.needs("x"):
        found["x"] = input_grad_op(gy, values, indices, _transposed(call), weight_shape=shape)
    if call.needs("values"):
        found["values"] = weight_grad_op(x, gy, indices, weight_shape=shape, out_dtype=values.dtype)
    if call.needs("bias"):
        found["bias"] = bias_grad(gy, call["bias"].dtype)
    return found


def _input_grad_gradient(call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
    values, indices, shape = call["values"], call["indices"], call["weight_shape"]
    found: dict[str, Tensor | None] = {}
    if call.needs("gy"):
        found["gy"] = op(ggx, values, indices, call["transposed"], None, weight_shape=shape)
    if call.needs("values"):
        found["values"] = weight_grad_op(ggx, call["gy"], indices, weight_shape=shape, out_dtype=values.dtype)
    return found


def _weight_grad_gradient(call: Call, ggv: Tensor) -> dict[str, Tensor | None]:
    x, gy, indices, shape = call["x"], call["gy"], call["indices"], call["weight_shape"]
    found: dict[str, Tensor | None] = {}
    if call.needs("x"):
        found["x"] = input_grad_op(gy, ggv, indices, _transposed(call), weight_shape=shape)
    if call.needs("gy"):
        found["gy"] = op(x, ggv, indices, None, None, weight_shape=shape)
    return found


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
    .density("indices", "weight_shape")
    .shape_rule(_output_rule)
    .gradient(_gradient)
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
    .shape_rule(_input_grad_rule)
    .gradient(_input_grad_gradient)
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
    .gradient(_weight_grad_gradient)
    .doc("Gradient of sparse_linear for its values, sampled at the nonzeros.")
    .register()
)


@op.kernel(
    name="native", device="cpu", dtypes=NATIVE_DTYPES, priority=1, supports=native_supports, cost=cost.native, into=True
)
def _native(
    y: Tensor,
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None,
    bias: Tensor | None,
    *,
    weight_shape: Sequence[int],
) -> None:
    native.linear_output(x, values, indices, bias, y, weight_shape=weight_shape)


@input_grad_op.kernel(
    name="native", device="cpu", dtypes=NATIVE_DTYPES, priority=1, supports=native_supports, cost=cost.native, into=True
)
def _native_input_grad(
    gx: Tensor, gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, *, weight_shape: Sequence[int]
) -> None:
    native.linear_input_grad(gy, values, indices, transposed, gx, weight_shape=weight_shape)


@weight_grad_op.kernel(
    name="native", device="cpu", dtypes=NATIVE_DTYPES, priority=1, supports=native_supports, cost=cost.native, into=True
)
def _native_weight_grad(
    gv: Tensor, x: Tensor, gy: Tensor, indices: Tensor, *, weight_shape: Sequence[int], out_dtype: torch.dtype
) -> None:
    native.linear_weight_grad(x, gy, indices, gv, weight_shape=weight_shape)


@op.kernel(name="scatter", cost=cost.dense)
def _scatter(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None,
    bias: Tensor | None,
    *,
    weight_shape: Sequence[int],
) -> Tensor:
    return dense.linear(x, scatter(values, indices, weight_shape, x.dtype), bias)


@input_grad_op.kernel(name="scatter", cost=cost.dense)
def _scatter_input_grad(
    gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, *, weight_shape: Sequence[int]
) -> Tensor:
    return dense.linear_input_grad(gy, scatter(values, indices, weight_shape, gy.dtype))


@weight_grad_op.kernel(name="scatter", cost=cost.dense)
def _scatter_weight_grad(
    x: Tensor, gy: Tensor, indices: Tensor, *, weight_shape: Sequence[int], out_dtype: torch.dtype
) -> Tensor:
    return dense.linear_weight_grad(x, gy, out_dtype=out_dtype).flatten()[indices.long()]


@op.kernel(name="reference", oracle=True)
def _reference(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None,
    bias: Tensor | None,
    *,
    weight_shape: Sequence[int],
) -> Tensor:
    return reference.linear(x, scatter(values, indices, weight_shape, x.dtype), bias)


@input_grad_op.kernel(name="reference", oracle=True)
def _reference_input_grad(
    gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, *, weight_shape: Sequence[int]
) -> Tensor:
    return reference.linear_input_grad(gy, scatter(values, indices, weight_shape, gy.dtype))


@weight_grad_op.kernel(name="reference", oracle=True)
def _reference_weight_grad(
    x: Tensor, gy: Tensor, indices: Tensor, *, weight_shape: Sequence[int], out_dtype: torch.dtype
) -> Tensor:
    return reference.linear_weight_grad(x, gy).flatten()[indices.long()].to(out_dtype)


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
    checked = check_pattern(pattern, values, rank=2)
    if x.dim() < 1:
        raise ShapeError(message("x shape", received=list(x.shape), allowed="at least one dimension [..., I]"))
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = op(
        rows, values, checked.indices, transposed_if_needed(checked, x), bias, weight_shape=list(checked.shape)
    )
    return y.reshape(*x.shape[:-1], checked.shape[0])
