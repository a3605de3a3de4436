"""What does each operator take and give? Made by `make docs` from the declarations; do not edit by hand."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

def adaptive_avg_pool(
    x: Tensor,
    /,
    *,
    output_size: Sequence[int],
) -> Tensor:
    """Mean of windows that share out the axes evenly; one window an axis is the global mean."""

def adaptive_avg_pool_grad(
    gy: Tensor,
    /,
    *,
    input_size: Sequence[int],
) -> Tensor:
    """Gradient of adaptive_avg_pool."""

def adaptive_max_pool(
    x: Tensor,
    /,
    *,
    output_size: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Maximum of windows that share out the axes evenly; one window an axis is the global maximum."""

def avg_pool(
    x: Tensor,
    /,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool = ...,
    count_include_pad: bool = ...,
    divisor: int = ...,
) -> Tensor:
    """Mean of each window."""

def avg_pool_grad(
    gy: Tensor,
    /,
    *,
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool = ...,
    count_include_pad: bool = ...,
    divisor: int = ...,
) -> Tensor:
    """Gradient of avg_pool."""

def batch_norm_inference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    /,
    *,
    eps: float = ...,
    activation: Literal["none", "relu", "relu6", "elu", "leaky_relu"] = ...,
    slope: float = ...,
) -> Tensor:
    """Batch normalisation by given statistics, and an activation."""

def batch_norm_training(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    /,
    *,
    eps: float = ...,
    activation: Literal["none", "relu", "relu6", "elu", "leaky_relu"] = ...,
    slope: float = ...,
    stats: torch.dtype = ...,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation by the batch's own statistics, and an activation."""

def batch_norm_training_grad(
    gy: Tensor,
    x: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None = None,
    /,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of batch_norm_training for activations, weight and bias."""

def conv1d(
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
    """Dense 1-D cross-correlation of NCW activations, accumulated in at least FP32."""

def conv1d_input_grad(
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
    """Gradient of conv1d for its input."""

def conv1d_weight_grad(
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
    """Gradient of conv1d for its whole weight."""

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

def conv2d_bn_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    eps: float = ...,
    activation: Literal["none", "relu", "relu6", "elu", "leaky_relu"] = ...,
    slope: float = ...,
) -> Tensor:
    """2-D cross-correlation, bias, batch normalisation by given statistics, and an activation."""

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

def conv3d(
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
    """Dense 3-D cross-correlation of NCDHW activations, accumulated in at least FP32."""

def conv3d_input_grad(
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
    """Gradient of conv3d for its input."""

def conv3d_weight_grad(
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
    """Gradient of conv3d for its whole weight."""

def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    output_padding: Sequence[int] = ...,
) -> Tensor:
    """Dense transposed 1-D convolution: the input gradient of conv1d as a layer of its own."""

def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    output_padding: Sequence[int] = ...,
) -> Tensor:
    """Dense transposed 2-D convolution: the input gradient of conv2d as a layer of its own."""

def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    output_padding: Sequence[int] = ...,
) -> Tensor:
    """Dense transposed 3-D convolution: the input gradient of conv3d as a layer of its own."""

def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
) -> Tensor:
    """Depthwise 2-D cross-correlation of NCHW activations: a channel's outputs read that channel alone."""

def lp_pool(
    x: Tensor,
    /,
    *,
    norm: float,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    ceil_mode: bool = ...,
) -> Tensor:
    """The p-th root of the sum of p-th powers of each window."""

def max_pool(
    x: Tensor,
    /,
    *,
    dilation: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool = ...,
) -> tuple[Tensor, Tensor]:
    """Maximum of each window."""

def max_pool_grad(
    gy: Tensor,
    indices: Tensor,
    /,
    *,
    input_size: Sequence[int],
) -> Tensor:
    """Gradient of max_pool and adaptive_max_pool: output gradients, added up where the maxima came from."""

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

def sparse_conv_transpose2d(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    weight_shape: Sequence[int],
    stride: Sequence[int] = ...,
    padding: Sequence[int] = ...,
    dilation: Sequence[int] = ...,
    groups: int = ...,
    output_padding: Sequence[int] = ...,
) -> Tensor:
    """Transposed 2-D convolution of NCHW activations with a sparse weight; no dense weight is kept."""

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
