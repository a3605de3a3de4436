"""What may enter the native layout, and in which type? Checked where a region begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import native_layout


def native_type(inputs: Sequence[Tensor]) -> torch.dtype:
    """The type that a segment computes in: that of the autocast region, or else that of its inputs."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return inputs[0].dtype


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
