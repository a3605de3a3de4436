"""What is the gradient of a convolution's weight in the native layout? At the nonzeros alone, or everywhere."""

from __future__ import annotations

import math

from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.native import require, threads
from mezzotint.kernels.native_layout import ConvGeometry, NativeTensor, with_halo
from mezzotint.kernels.passes import argument, result


def conv2d_weight_grad(x: NativeTensor, gy: NativeTensor, indices: Tensor, geometry: ConvGeometry) -> Tensor:
    """float32 ``[nnz]``: the gradient of the values."""
    require()
    gvalues = result(indices.numel())
    padded = with_halo(x, geometry.padding)
    native.extension().conv2d_weight_grad_packed(
        padded.code,
        gy.code,
        argument(indices),
        argument(gvalues),
        geometry.code,
        threads(),
    )
    return gvalues


def conv2d_dense_grad(x: NativeTensor, gy: NativeTensor, geometry: ConvGeometry, *, paired: bool = False) -> Tensor:
    """float32 ``geometry.weight_shape``: the gradient of every weight, present or missing.

    Args:
        paired: neighbouring columns of windows of three may share products (Winograd's F(3, 2)), which takes two
            thirds of the time and rounds BF16 activations once more: 0.3 % of the gradient's root mean square.
    """
    require()
    gradient = result(math.prod(geometry.weight_shape))
    padded = with_halo(x, geometry.padding)
    native.extension().conv2d_dense_grad_packed(
        padded.code, gy.code, argument(gradient), geometry.code, paired, threads()
    )
    return gradient.view(geometry.weight_shape)
