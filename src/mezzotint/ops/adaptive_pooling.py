"""How are activations pooled to a given size? Adaptive and global average and maximum as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import pooling, pooling_taps
from mezzotint.ops.conv_shape import check_lengths, check_output_grad
from mezzotint.ops.convolution import spec
from mezzotint.ops.opdef import OpDef, Specs, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.pool_layout import checked_rank, of_ranks, samples_first
from mezzotint.ops.pooling import max_gradient

_SIZE = ("output_size: list(int) >= 0", "sizes of the output behind N and C")


def _shape(x: TensorSpec, attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    check_lengths(checked_rank(x.shape), output_size=attrs["output_size"])
    return (*x.shape[:2], *attrs["output_size"])


def _avg_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    x = spec(inputs, "x")
    return TensorSpec(_shape(x, attrs), x.dtype)


def _max_rule(inputs: Specs, attrs: Mapping[str, Any]) -> tuple[TensorSpec, TensorSpec]:
    x = spec(inputs, "x")
    shape = _shape(x, attrs)
    return TensorSpec(shape, x.dtype), TensorSpec(shape, torch.int64)


def _avg_grad_rule(inputs: Specs, attrs: Mapping[str, Any]) -> TensorSpec:
    gy = spec(inputs, "gy")
    check_lengths(len(gy.shape) - 2, input_size=attrs["input_size"])
    made = TensorSpec((*gy.shape[:2], *attrs["input_size"]), gy.dtype)
    check_output_grad(_shape(made, {"output_size": gy.shape[2:]}), gy.shape)
    return made


def _avg_gradient(call: Call, gy: Tensor) -> dict[str, Tensor | None]:
    return {"x": avg_grad_op(gy, input_size=list(call["x"].shape[2:]))}


def _avg_grad_gradient(call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
    return {"gy": avg_op(ggx, output_size=list(call["gy"].shape[2:]))}


avg_op: Operator = (
    OpDef("adaptive_avg_pool")
    .input("x: T", "activations [N, C, ...] with one, two or three further axes")
    .output("y: T", "[N, C, *output_size]")
    .attr("T: floattype")
    .attr(*_SIZE)
    .samples("x")
    .shape_rule(_avg_rule)
    .gradient(_avg_gradient)
    .doc("Mean of windows that share out the axes evenly; one window an axis is the global mean.")
    .register()
)
avg_grad_op: Operator = (
    OpDef("adaptive_avg_pool_grad")
    .input("gy: T", "output gradient [N, C, ...]")
    .output("gx: T", "[N, C, *input_size]")
    .attr("T: floattype")
    .attr("input_size: list(int) >= 1", "sizes of the input behind N and C")
    .samples("gy")
    .shape_rule(_avg_grad_rule)
    .gradient(_avg_grad_gradient)
    .doc("Gradient of adaptive_avg_pool.")
    .register()
)
max_op: Operator = (
    OpDef("adaptive_max_pool")
    .input("x: T", "activations [N, C, ...] with one, two or three further axes")
    .output("y: T", "[N, C, *output_size]")
    .output("indices: int64", "[N, C, *output_size], flat position of each maximum among the further axes of x")
    .attr("T: floattype")
    .attr(*_SIZE)
    .keeps("indices")
    .samples("x")
    .shape_rule(_max_rule)
    .gradient(max_gradient)
    .doc("Maximum of windows that share out the axes evenly; one window an axis is the global maximum.")
    .register()
)

avg_op.kernel(name="torch")(pooling.adaptive_avg_pool)
avg_op.kernel(name="mean", priority=1, supports=pooling.global_only)(pooling.global_avg_pool)
avg_op.kernel(name="reference", oracle=True)(pooling_taps.adaptive_avg_pool)
avg_grad_op.kernel(name="torch")(pooling.adaptive_avg_pool_grad)
avg_grad_op.kernel(name="reference", oracle=True)(pooling_taps.adaptive_avg_pool_grad)
max_op.kernel(name="torch")(pooling.adaptive_max_pool)
max_op.kernel(name="reference", oracle=True)(pooling_taps.adaptive_max_pool)


def _sizes(output_size: int | Sequence[int | None] | None, x: Tensor, rank: int) -> list[int]:
    given = list(output_size) if isinstance(output_size, Sequence) else [output_size] * rank
    if len(given) != rank or not all(size is None or isinstance(size, (int, torch.SymInt)) for size in given):
        allowed = f"an integer or None (as in x), or {rank} of them"
        raise ShapeError(message("output_size", received=output_size, allowed=allowed))
    return [x.shape[2 + axis] if size is None else size for axis, size in enumerate(given)]


def adaptive_avg_pool(
    x: Tensor,
    output_size: int | Sequence[int | None] | None,
    *,
    data_format: str | None = None,
    rank: int | None = None,
) -> Tensor:
    """Mean of ``output_size`` windows an axis; window ``i`` of ``n`` is ``floor(i L / n)`` to ``ceil((i + 1) L / n)``.

    Args:
        x, data_format, rank: as for :func:`mezzotint.ops.max_pool`.
        output_size: one number or one an axis; ``None`` keeps the size of ``x``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    run = avg_op.find((x,), output_size) if data_format is None and (rank is None or rank == x.dim() - 2) else None
    if run is not None:
        return run(x)  # type: ignore[no-any-return]
    call = lambda t, axes: avg_op.resolved((t,), output_size, {"output_size": _sizes(output_size, t, axes)})  # noqa: E731
    pooled: Tensor = samples_first("adaptive_avg_pool", x, rank, data_format, call)
    return pooled


def adaptive_max_pool(
    x: Tensor,
    output_size: int | Sequence[int | None] | None,
    *,
    return_indices: bool = False,
    data_format: str | None = None,
    rank: int | None = None,
) -> Any:
    """Maximum of ``output_size`` windows an axis, as in :func:`adaptive_avg_pool`.

    Args:
        x, data_format, rank: as for :func:`mezzotint.ops.max_pool`.
        output_size: one number or one an axis; ``None`` keeps the size of ``x``.
        return_indices: whether to return also where each maximum came from.

    Returns:
        ``y``, or with ``return_indices`` the pair ``(y, indices)``.

    Raises:
        ShapeError: arguments that do not go together.
    """
    run = max_op.find((x,), output_size) if data_format is None and (rank is None or rank == x.dim() - 2) else None
    if run is None:
        call = lambda t, axes: max_op.resolved((t,), output_size, {"output_size": _sizes(output_size, t, axes)})  # noqa: E731
        y, indices = samples_first("adaptive_max_pool", x, rank, data_format, call)
    else:
        y, indices = run(x)
    return (y, indices) if return_indices else y


def global_avg_pool(x: Tensor, *, data_format: str | None = None) -> Tensor:
    """Mean of each channel: ``[N, C, ...]`` to ``[N, C, 1, ...]``; sums are at least FP32."""
    return adaptive_avg_pool(x, 1, data_format=data_format)


def global_max_pool(x: Tensor, *, data_format: str | None = None) -> Tensor:
    """Maximum of each channel: ``[N, C, ...]`` to ``[N, C, 1, ...]``."""
    pooled: Tensor = adaptive_max_pool(x, 1, data_format=data_format)
    return pooled


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = of_ranks(adaptive_avg_pool)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = of_ranks(adaptive_max_pool)
