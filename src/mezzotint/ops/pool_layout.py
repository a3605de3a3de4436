"""In which layout do activations come to a pooling? With or without a batch, channels first or last, any rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels.geometry import surely
from mezzotint.ops.conv_shape import FORMATS


def checked_rank(shape: Sequence[Any]) -> int:
    """Number of axes behind N and C, none of which may be empty."""
    rank = len(shape) - 2
    if rank not in FORMATS:
        raise ShapeError(
            message("x shape", received=list(shape), allowed="[N, C, ...] with one, two or three further axes")
        )
    if any(size is not None and surely(size < 1) for size in shape[1:]):
        raise ShapeError(message("x shape", received=list(shape), allowed="no empty axis but the batch"))
    return rank


def samples_first(
    name: str, x: Tensor, rank: int | None, data_format: str | None, call: Callable[[Tensor, int], Any]
) -> Any:
    """``call(x, rank)`` with ``x`` as ``[N, C, ...]``; its results in the layout in which ``x`` came."""
    axes = x.dim() - 2 if rank is None else rank
    if axes not in FORMATS or x.dim() not in (axes + 1, axes + 2):
        allowed = f"{rank + 2} dimensions, or {rank + 1} without N" if rank else "three to five dimensions [N, C, ...]"
        raise ShapeError(message(f"{name}: x shape", received=list(x.shape), allowed=allowed))
    first, last = FORMATS[axes]
    if data_format not in (None, first, last):
        raise ShapeError(message(f"{name}: data_format", received=data_format, allowed=f'"{first}" or "{last}"'))
    if x.dim() == axes + 1:
        return _each(lambda y: y.squeeze(0), samples_first(name, x.unsqueeze(0), axes, data_format, call))
    if data_format == last:
        return _each(lambda y: y.movedim(1, -1), call(x.movedim(-1, 1), axes))
    return call(x, axes)


def of_ranks(pool: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """``pool`` for one, two and three axes: a sample may then come without its batch."""
    ranked = []
    for rank in (1, 2, 3):
        function = update_wrapper(partial(pool, rank=rank), pool)
        function.__name__ = f"{pool.__name__}{rank}d"
        function.__doc__ = f"As :func:`{pool.__name__}` with ``rank={rank}``."
        ranked.append(function)
    return ranked[0], ranked[1], ranked[2]


def _each(change: Callable[[Tensor], Tensor], result: Any) -> Any:
    return tuple(map(change, result)) if isinstance(result, tuple) else change(result)
