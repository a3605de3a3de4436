"""How is it told that a network does not take what it is given? Its own words, the likely mistake, the user's line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import torch
from torch import Tensor, nn

import mezzotint
from mezzotint.deploy.arrays import pixels_last
from mezzotint.deploy.description import trial_shapes
from mezzotint.errors import InputError, ShapeError, first_line, message

#: What PyTorch and our operators raise for inputs that do not fit.
OF_INPUTS: Final = (RuntimeError, ValueError, TypeError, IndexError)
_NOT_THE_USERS: Final = tuple(str(Path(module.__file__ or "").parent) for module in (torch, mezzotint))


def users_line(error: BaseException) -> str:
    """`` (net.py, line 12, in forward)``: the last line of the user's own code on the way to ``error``, or nothing."""
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith((*_NOT_THE_USERS, "<")):
            found = f" ({code.co_filename}, line {trace.tb_lineno}, in {code.co_name})"
        trace = trace.tb_next
    return found


def refused_shape(shape: Sequence[int | None], error: BaseException) -> InputError:
    """The error for a described ``input_shape`` that the network did not take, as ``error`` tells."""
    fix = f"It says: {first_line(error)}{users_line(error)}."
    if len(shape) == 4 and shape[0] == 1:
        fix += f" Leave the batch out: input_shape={tuple(shape[1:])}."
    elif pixels_last((1, *(size or 0 for size in shape))):
        fix += f" Channels come first: input_shape={(shape[2], *shape[:2])}."
    allowed = "the sizes of one input without the batch, as the network takes it"
    return InputError(message("input_shape", received=tuple(shape), allowed=allowed, fix=fix))


def check_shape(model: nn.Module, shape: Sequence[int | None]) -> None:
    """Run the network on inputs of zeros, of two sizes where a size is free.

    Raises:
        InputError: it does not take them.
    """
    try:
        for sizes in dict.fromkeys(trial_shapes(shape)):
            with torch.no_grad():
                model(torch.zeros(2, *sizes))
    except OF_INPUTS as error:
        raise refused_shape(shape, error) from error


def refused_inputs(names: Sequence[str], tensors: Sequence[Tensor], error: BaseException) -> ShapeError:
    """The error for arrays that the network did not take, as ``error`` tells."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    batches = {shape[0] for shape in shapes if shape} - {1}
    told = ", ".join(f"{name!r} {list(shape)}" for name, shape in zip(names, shapes, strict=True))
    if len(batches) > 1:
        sizes = ", ".join(str(shape[0]) for shape in shapes if shape)
        fix = f"Their batches differ: {sizes}. It says: {first_line(error)}."
    elif any(pixels_last(shape) for shape in shapes):
        fix = f"It says: {first_line(error)}. If the channels are last, array.transpose(0, 3, 1, 2) brings them first."
    elif len(shapes) == 1 and len(shapes[0]) == 3:
        fix = f"It says: {first_line(error)}. The first axis is the batch: array[None] makes a batch of one."
    else:
        fix = f"It says: {first_line(error)}."
    return ShapeError(message("inputs", received=told, allowed="shapes that the network's forward takes", fix=fix))
