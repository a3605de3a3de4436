"""What may enter the native layout, and in which type? Checked where a region begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import native, native_layout
from mezzotint.kernels.native_layout import lanes_of
from mezzotint.sparse import SparseConv2d

#: Density above which a matrix unit, which multiplies zeros as well, is faster with cells that are half empty than
#: vectors are with full ones of FP32. WRN-28-2, a batch of 16, a Xeon with AMX.
HALF_EMPTY_ON_UNIT = 0.17


def native_type(inputs: Sequence[Tensor]) -> torch.dtype:
    """The type that a segment computes in: that of the autocast region, or else that of its inputs."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return inputs[0].dtype


def cell_type(layers: Iterable[SparseConv2d], batch: int, dtype: torch.dtype) -> torch.dtype:
    """The type of the cells in which a segment with the sparse ``layers`` computes ``batch`` images of ``dtype``.

    Where they would leave half of a 16-bit cell empty, the same memory holds them in FP32, which takes 0.6 to 0.9 times
    as long and rounds nothing on the way.
    """
    if dtype not in native_layout.DTYPES or batch > lanes_of(torch.float32):
        return dtype
    if dtype == torch.bfloat16 and native.has_matrix_unit():
        counts = [(layer.nnz, layer.pattern.numel) for layer in layers]
        if sum(nnz for nnz, _ in counts) > HALF_EMPTY_ON_UNIT * sum(numel for _, numel in counts):
            return dtype
    return torch.float32


def checked_activations(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in the type ``dtype``.

    Raises:
        ShapeError: it is no batch of images, or the type has no native layout.
    """
    if x.dim() != 4 or x.dtype not in native_layout.DTYPES or dtype not in native_layout.DTYPES:
        raise ShapeError(
            message(
                "activations in the native layout",
                received=f"{x.dtype} {list(x.shape)}",
                allowed="float32, bfloat16 or float16 batches of images [N, C, H, W]",
                fix="Lower the model anew for other inputs.",
            )
        )
    return x.to(dtype)
