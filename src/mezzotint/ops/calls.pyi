"""What does each operator take and give? Made by `make docs` from the declarations; do not edit by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor

def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
) -> Tensor:
    """Dense 2-D cross-correlation of NCHW activations, accumulated in at least FP32."""

def conv2d_input_grad(
    gy: Tensor,
    weight: Tensor,
    /,
    *,
    input_size: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
) -> Tensor:
    """Gradient of conv2d for its input."""

def conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    /,
    *,
    weight_shape: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    out_dtype: torch.dtype = ...,
) -> Tensor:
    """Gradient of conv2d for its whole weight."""

def sparse_conv2d(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None = None,
    bias: Tensor | None = None,
    /,
    *,
    weight_shape: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
) -> Tensor:
    """2-D cross-correlation of NCHW activations with a sparse weight; no dense weight is kept."""

def sparse_conv2d_input_grad(
    gy: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    /,
    *,
    weight_shape: Sequence[int],
    input_size: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
) -> Tensor:
    """Gradient of sparse_conv2d for its input."""

def sparse_conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    indices: Tensor,
    /,
    *,
    weight_shape: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    out_dtype: torch.dtype = ...,
) -> Tensor:
    """Gradient of sparse_conv2d for its values: a dense weight gradient sampled at the nonzeros, never made whole."""

def sparse_linear(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None = None,
    bias: Tensor | None = None,
    /,
    *,
    weight_shape: Sequence[int],
) -> Tensor:
    """Product of activations with a sparse matrix, plus bias; no dense weight is kept."""

def sparse_linear_input_grad(
    gy: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    /,
    *,
    weight_shape: Sequence[int],
) -> Tensor:
    """Gradient of sparse_linear for its input."""

def sparse_linear_weight_grad(
    x: Tensor,
    gy: Tensor,
    indices: Tensor,
    /,
    *,
    weight_shape: Sequence[int],
    out_dtype: torch.dtype = ...,
) -> Tensor:
    """Gradient of sparse_linear for its values, sampled at the nonzeros."""
