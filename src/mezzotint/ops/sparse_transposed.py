"""How is a transposed convolution with a sparse weight done? ``sparse_conv_transpose2d`` as an operator.

Kernels that read the nonzeros alone are those of the input gradient. Its gradients are ``sparse_conv2d`` and its weight
gradient: the same trilinear form, seen from another side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mezzotint.kernels import cost, dense, gather, native, reference
from mezzotint.ops.conv_shape import Padding, conv_transpose_output
from mezzotint.ops.convolution import bias_grad, check_bias, geometry, spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.pattern_like import KNOWN, check_pattern
from mezzotint.ops.sparse_convolution import op as convolution
from mezzotint.ops.sparse_convolution import weight_grad_op
from mezzotint.ops.sparse_family import (
    GATHER,
    NATIVE,
    check_images,
    check_nonzeros,
    with_dense_weight,
    with_scratch_weight,
)
from mezzotint.ops.transposed import cropped, led_back, resolve_geometry, with_output_padding

_GIVEN = ("stride", "padding", "output_padding", "dilation", "groups")


def _output_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    check_nonzeros(inputs, "values", "transposed")
    shape = conv_transpose_output(
        x.shape, attrs["weight_shape"], **geometry(attrs), output_padding=attrs["output_padding"]
    )
    check_bias(inputs["bias"], shape[1])
    return TensorSpec(shape, x.dtype)


def _gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    values, indices = call["values"], call["indices"]
    size, exact = led_back(call["x"].shape, call["weight_shape"], call)
    inner, shared = cropped(gy, size), {"weight_shape": call["weight_shape"], **exact}
    found: dict[str, Tensor | None] = {}
    if call.needs("x"):
        found["x"] = convolution(inner, values, indices, call["transposed"], None, **shared)
    if call.needs("values"):
        found["values"] = weight_grad_op(inner, call["x"], indices, **shared, out_dtype=values.dtype)
    if call.needs("bias"):
        found["bias"] = bias_grad(gy, call["bias"].dtype)
    return found


op: Operator = (
    with_output_padding(
        OpDef("sparse_conv_transpose2d").attr("weight_shape: list(int) >= 1", "[C, O / groups, kh, kw]"), 2
    )
    .input("x: T", "activations [N, C, H, W]")
    .input("values: V", "[nnz], in row-major order of the mask; FP32 masters or of type T")
    .input("indices: int32", "[nnz], ascending flat positions in the dense weight")
    .input("transposed: int32", "[nnz], the order by output channel")
    .input("bias: B?", "[O]")
    .output("y: T", "[N, O, H', W']")
    .attr("T: floattype", "type of the activations; the values are rounded to it, sums are FP32")
    .attr("V: floattype", "type of the values and of their gradient")
    .attr("B: floattype", "type of the bias")
    .autocast("x")
    .samples("x")
    .density("indices", "weight_shape")
    .shape_rule(_output_rule)
    .gradient(_gradient)
    .doc("Transposed 2-D convolution of NCHW activations with a sparse weight; no dense weight is kept.")
    .register()
)


def _biased(compute: Callable[..., None]) -> Callable[..., None]:
    """A kernel of the input gradient as one of this operator: the bias is added to what it computes."""

    def fill(
        y: Tensor, x: Tensor, values: Tensor, indices: Tensor, order: Tensor, bias: Tensor | None, **attrs: Any
    ) -> None:
        del attrs["output_padding"]
        compute(y, x, values, indices, order, **attrs)
        if bias is not None:
            y += bias.to(y.dtype).view(-1, 1, 1)

    return fill


def _native(y: Tensor, x: Tensor, values: Tensor, indices: Tensor, order: Tensor, **attrs: Any) -> None:
    native.conv2d_input_grad(x, values, indices, order, y, **attrs)


def _gather(y: Tensor, x: Tensor, values: Tensor, indices: Tensor, order: Tensor, **attrs: Any) -> None:
    gather.conv2d_input_grad(y, x, values, indices, order, input_size=list(y.shape[2:]), **attrs)


op.kernel(**NATIVE, cost=cost.native)(_biased(_native))
op.kernel(**GATHER)(_biased(_gather))
op.kernel(name="scatter", cost=cost.dense)(with_scratch_weight(dense.conv_transpose))
op.kernel(name="reference", oracle=True)(with_dense_weight(reference.conv_transpose))


def sparse_conv_transpose2d(
    x: Tensor,
    values: Tensor,
    pattern: object,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Transposed 2-D convolution with a sparse weight.

    Args:
        x: activations ``[N, C, H, W]``, or without N, any strides; float.
        values: ``[nnz]``, in row-major order of the mask; float32 masters, or the type of ``x``.
        pattern: a :class:`mezzotint.Pattern` of shape ``[C, O / groups, kh, kw]``.
        bias: ``[O]`` or ``None``.
        stride, padding, output_padding, dilation, groups: as for :func:`mezzotint.ops.conv_transpose2d`.

    Returns:
        ``[N, O, H', W']`` of the type of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    given = (stride, padding, output_padding, dilation, groups)
    if type(pattern) in KNOWN:
        known: Any = pattern
        inputs = (x, values, known.indices, known.transposed, bias)
        run = op.find(inputs, (known.shape, given))
        if run is not None:
            return run(*inputs)  # type: ignore[no-any-return]
    checked = check_pattern(pattern, values, rank=4)
    check_images(x)
    if x.dim() == 3:
        geometry_given: dict[str, Any] = dict(zip(_GIVEN, given, strict=True))
        return sparse_conv_transpose2d(x[None], values, pattern, bias, **geometry_given)[0]
    inputs = (x, values, checked.indices, checked.transposed, bias)
    attrs = {"weight_shape": list(checked.shape), **resolve_geometry(given, 2)}
    y: Tensor = op.resolved(inputs, (checked.shape, given), attrs)
    return y
