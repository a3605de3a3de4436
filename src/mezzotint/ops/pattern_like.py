"""What must a sparsity pattern offer to the operators? Index arrays; who makes them is not the operators' concern."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message


class PatternLike(Protocol):
    """Index arrays of a sparse weight; :class:`mezzotint.Pattern` is one.

    ``indices`` int32 ``[nnz]``: strictly ascending flat positions in the row-major dense weight. ``transposed`` int32
    ``[nnz]``: the permutation that sorts the nonzeros by (input channel inside the group, output channel, ky, kx).
    """

    @property
    def indices(self) -> Tensor: ...

    @property
    def transposed(self) -> Tensor: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_pattern(candidate: object, values: Tensor, rank: int) -> PatternLike:
    """``candidate`` as a :class:`PatternLike` of ``rank`` axes whose nnz is the length of ``values``."""
    if not _is_pattern(candidate):
        raise ShapeError(
            message(
                "pattern",
                received=type(candidate).__name__,
                allowed="a mezzotint.Pattern",
                fix="Make one with Pattern.from_mask(mask).",
            )
        )
    pattern = cast(PatternLike, candidate)
    if len(pattern.shape) != rank:
        raise ShapeError(message("pattern shape", received=list(pattern.shape), allowed=f"{rank} dimensions"))
    nnz = pattern.indices.shape[0]
    if values.dim() != 1 or values.shape[0] != nnz:
        raise ShapeError(
            message(
                "values shape", received=list(values.shape), allowed=f"[{nnz}], one number a nonzero of the pattern"
            )
        )
    return pattern


#: Classes of which every instance is a :class:`PatternLike`: a call like one before need not ask again.
KNOWN: set[type] = set()


def _is_pattern(candidate: object) -> bool:
    kind = type(candidate)
    if not _offers_index_arrays(kind):
        return _offers_index_arrays(candidate)
    if not torch.compiler.is_dynamo_compiling():
        KNOWN.add(kind)
    return True


def _offers_index_arrays(owner: object) -> bool:
    """Asked of the class first: asked of an instance, it would call the property, and so make the order."""
    return all(hasattr(owner, name) for name in ("indices", "transposed", "shape"))
