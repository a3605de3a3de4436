"""How do arrays become what a network takes, and what is told of those that do not fit? The mistake by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import InputError, ShapeError, first_line, message

Array = NDArray[Any]


def to_tensor(info: TensorInfo, value: ArrayLike, *, copies: bool, can_be_freed: bool = False) -> Tensor:
    """An array as the input ``info``.

    Args:
        info: of the input.
        value: what came; of a tensor that requires a gradient its numbers.
        copies: whether the memory is to be its own; otherwise it is the caller's where PyTorch can share it.
        can_be_freed: whether a fixed batch is so because a file says so, and a description frees it.

    Raises:
        InputError: it is no array, and does not become one.
        ShapeError: another type, or another shape; with what was probably meant.
    """
    array = _as_array(info, value)
    if str(array.dtype) != info.dtype:
        raise ShapeError(
            message(
                f"input {info.name!r} dtype",
                received=str(array.dtype),
                allowed=info.dtype,
                fix=f"Convert it with .astype(numpy.{info.dtype}); pixels also need the network's normalisation.",
            )
        )
    if info.shape is not None and not _fits(array.shape, info.shape):
        allowed = "[" + ", ".join("N" if size is None else str(size) for size in info.shape) + "]"
        fix = _hint(array.shape, info.shape, can_be_freed)
        raise ShapeError(message(f"input {info.name!r} shape", received=list(array.shape), allowed=allowed, fix=fix))
    # PyTorch refuses negative strides and warns about memory that may not be written.
    usable = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if usable and not copies else array.copy())


def to_array(tensor: Tensor, *, copies: bool) -> Array:
    """A result; 16-bit numbers become float32. ``copies``: whether its memory may be that of something else."""
    wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    array: Array = wide.numpy()
    return array.copy() if copies and wide is tensor else array


def pixels_last(shape: tuple[int, ...]) -> bool:
    """Whether a shape looks like that of images with their channels last: [N, H, W, 1, 3 or 4]."""
    return len(shape) == 4 and shape[3] in (1, 3, 4) and min(shape[1:3]) > 4


def _as_array(info: TensorInfo, value: ArrayLike) -> Array:
    try:
        return np.asarray(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"a {type(value).__name__} that becomes no array: {first_line(error)}"
        if isinstance(value, Tensor):
            fix = f"Convert it with .to('cpu', torch.{info.dtype})."
        else:
            fix = "Rows of numbers must be of one length."
        allowed = f"an array of {info.dtype}"
        raise InputError(message(f"input {info.name!r}", received=received, allowed=allowed, fix=fix)) from error


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(want in (None, have) for have, want in zip(shape, declared, strict=True))


def _hint(shape: tuple[int, ...], declared: tuple[int | None, ...], can_be_freed: bool) -> str:
    """What was probably meant."""
    one = declared[1:]
    if _fits(shape, one):
        return "The first axis is the batch: array[None] makes a batch of one."
    if len(shape) == len(declared) and _fits(shape[1:], one):
        images = declared[0]
        described = ", ".join(map(str, one)) + ("," if len(one) == 1 else "")
        free = f" Session(..., description=Description(input_shape=({described}))) frees it." if can_be_freed else ""
        return f"The file was written for a batch of {images}.{free}"
    if len(declared) == 4 and len(shape) == 4 and _fits((shape[3], *shape[1:3]), one):
        return "The channels come first: array.transpose(0, 3, 1, 2) brings them there."
    if len(declared) == 4 and len(shape) == 3 and _fits((shape[2], *shape[:2]), one):
        return "The channels come first, and a batch before them: array.transpose(2, 0, 1)[None]."
    if len(declared) == 4 and len(shape) == 4 and shape[1] == declared[1]:
        return (
            f"The images are of {shape[2]} x {shape[3]} pixels: resize them; if the network takes other sizes, too, "
            f"make the session with description=Description(input_shape={shape[1:]})."
        )
    return ""
