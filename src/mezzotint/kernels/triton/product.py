"""How do convolution kernels compute a product with a sparse matrix? Its batch is one image's one row of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mezzotint.kernels.triton.activations import conv2d_input_grad, conv2d_output
from mezzotint.kernels.triton.geometry import Ints
from mezzotint.kernels.triton.weight_grad import conv2d_weight_grad

_ONE_TAP: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}


def linear_output(
    y: Tensor,
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor | None,
    bias: Tensor | None,
    *,
    weight_shape: Ints,
) -> None:
    """Fill ``y [N, O]`` with ``x [N, I]`` times the transposed sparse weight ``[O, I]``, plus ``bias [O]``."""
    shape = (*weight_shape, 1, 1)
    conv2d_output(_image(y), _image(x), values, indices, transposed, bias, weight_shape=shape, **_ONE_TAP)


def linear_input_grad(
    gx: Tensor, gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, *, weight_shape: Ints
) -> None:
    """Fill ``gx [N, I]`` with ``gy [N, O]`` times the sparse weight."""
    attrs = {"weight_shape": (*weight_shape, 1, 1), "input_size": (1, gx.shape[0]), **_ONE_TAP}
    conv2d_input_grad(_image(gx), _image(gy), values, indices, transposed, **attrs)


def linear_weight_grad(
    gv: Tensor, x: Tensor, gy: Tensor, indices: Tensor, *, weight_shape: Ints, out_dtype: torch.dtype
) -> None:
    """Fill ``gv [nnz]`` with ``gy^T x`` at the nonzeros."""
    attrs = {"weight_shape": (*weight_shape, 1, 1), "out_dtype": out_dtype, **_ONE_TAP}
    conv2d_weight_grad(gv, _image(x), _image(gy), indices, **attrs)


def _image(matrix: Tensor) -> Tensor:
    """``matrix [N, F]`` seen as an image ``[1, F, 1, N]``; nothing is copied."""
    return matrix.t()[None, :, None, :]
