"""Which weights of a layer exist? An immutable set of positions, held as 4 bytes of index per nonzero."""

from __future__ import annotations

import hashlib
import math
from typing import Final

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.ops.sparse_family import transposed_order

INDEX_LIMIT: Final = 2**31
"""Indices are int32, so a dense weight has fewer elements than this."""


class Pattern:
    """The positions of a sparse weight's nonzeros: validated once, never changed afterwards.

    A position is a flat index into the row-major dense weight ``[O, I/groups, kh, kw]`` (convolution) or ``[O, I]``
    (linear). The pattern alone says which weights are active; a weight whose value is 0.0 is as active as any other.

    Two patterns are equal when their shapes and positions are, on whatever device they lie; the hash follows the
    content, so that patterns can be compared between processes by :meth:`digest`.
    """

    __slots__ = ("__weakref__", "_digest", "_indices", "_shape", "_transposed")

    _indices: Tensor
    _shape: tuple[int, ...]
    _transposed: Tensor | None
    _digest: str | None

    def __init__(self, indices: Tensor, shape: tuple[int, ...] | torch.Size) -> None:
        """The pattern of the flat positions ``indices`` (integers ``[nnz]``, strictly ascending) in ``shape``.

        The indices are copied. They are read once for the check, which waits for the device.

        Raises:
            ShapeError: the indices are not integers, not one axis, not strictly ascending or out of range.
        """
        checked = _checked_shape(tuple(shape))
        if indices.dtype.is_floating_point or indices.dtype.is_complex or indices.dtype == torch.bool:
            raise ShapeError(message("indices", received=f"dtype {indices.dtype}", allowed="an integer dtype"))
        if indices.dim() != 1:
            raise ShapeError(message("indices", received=f"shape {tuple(indices.shape)}", allowed="one axis, [nnz]"))
        _check_positions(indices, math.prod(checked))
        self._fill(indices.detach().to(torch.int32, copy=True).contiguous(), checked)

    @classmethod
    def from_indices(cls, indices: Tensor, shape: tuple[int, ...] | torch.Size) -> Pattern:
        """The same as calling the class: positions ``[nnz]`` in a dense weight of ``shape``, checked and copied."""
        return cls(indices, shape)

    @classmethod
    def from_mask(cls, mask: Tensor) -> Pattern:
        """The pattern of the True entries of ``mask``, a bool tensor ``[O, I/groups, kh, kw]`` or ``[O, I]``.

        Raises:
            ShapeError: ``mask`` is not bool, has another number of axes, or has 2**31 elements or more.
        """
        if mask.dtype != torch.bool:
            raise ShapeError(message("mask", received=f"dtype {mask.dtype}", allowed="torch.bool, True = active"))
        shape = _checked_shape(tuple(mask.shape))
        positions = mask.detach().reshape(-1).nonzero().view(-1)
        return cls._trusted(positions.to(torch.int32), shape)

    @classmethod
    def _trusted(cls, indices: Tensor, shape: tuple[int, ...]) -> Pattern:
        """Without checks or copies, for positions that are known to be right."""
        pattern = cls.__new__(cls)
        pattern._fill(indices, shape)
        return pattern

    def _fill(self, indices: Tensor, shape: tuple[int, ...]) -> None:
        self._indices, self._shape = _ordinary(indices), shape
        self._transposed, self._digest = None, None

    @property
    def indices(self) -> Tensor:
        """int32 ``[nnz]``: the nonzeros' flat positions, strictly ascending. Not to be written to."""
        return self._indices

    @property
    def transposed(self) -> Tensor:
        """int32 ``[nnz]``: the permutation of 0..nnz-1 that sorts the nonzeros by (input channel, output, ky, kx).

        The input channel counts inside its group. Made on first use and kept: the input gradient reads it.
        """
        if self._transposed is not None:
            return self._transposed
        order = transposed_order(self._indices, self._shape)
        if type(order) is Tensor:  # while torch.export or torch.compile traces, it is a stand-in that must not be kept
            order = self._transposed = _ordinary(order)
        return order

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense weight."""
        return self._shape

    @property
    def numel(self) -> int:
        """Number of elements of the dense weight."""
        return math.prod(self._shape)

    @property
    def nnz(self) -> int:
        """Number of active weights."""
        return self._indices.numel()

    @property
    def density(self) -> float:
        """nnz / numel."""
        return self.nnz / self.numel

    @property
    def device(self) -> torch.device:
        """Where the indices lie."""
        return self._indices.device

    def to_mask(self) -> Tensor:
        """A bool tensor of the dense weight's shape, True at the active weights, on the pattern's device."""
        mask = torch.zeros(self.numel, dtype=torch.bool, device=self.device)
        mask[self._indices.long()] = True
        return mask.view(self._shape)

    def to(self, device: torch.device | str) -> Pattern:
        """The same pattern on ``device``; itself when it is there already."""
        target = torch.empty(0, device=device).device  # "cuda" -> "cuda:0"
        if target == self.device:
            return self
        moved = Pattern._trusted(self._indices.to(target), self._shape)
        moved._transposed = None if self._transposed is None else _ordinary(self._transposed.to(target))
        moved._digest = self._digest
        return moved

    def digest(self) -> str:
        """SHA-256, in hex, of shape and positions: equal on every machine and device for equal patterns."""
        if self._digest is None:
            content = hashlib.sha256(repr(self._shape).encode())
            content.update(self._indices.cpu().numpy().astype("<i4", copy=False).tobytes())
            self._digest = content.hexdigest()
        return self._digest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pattern):
            return NotImplemented
        if self is other:
            return True
        if self._shape != other._shape or self.nnz != other.nnz:
            return False
        return self.digest() == other.digest() if self.device != other.device else self._same_positions(other)

    def _same_positions(self, other: Pattern) -> bool:
        return torch.equal(self._indices, other._indices)

    def __hash__(self) -> int:
        return hash(self.digest())

    def __copy__(self) -> Pattern:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Pattern:
        return self  # immutable, so that copies of a layer may share it

    def __reduce__(self) -> tuple[type[Pattern], tuple[Tensor, tuple[int, ...]]]:
        return Pattern, (self._indices, self._shape)

    def __repr__(self) -> str:
        return f"Pattern(shape={self._shape}, nnz={self.nnz}, density={self.density:.4g}, device='{self.device}')"


def _ordinary(kept: Tensor) -> Tensor:
    """What was made under ``torch.inference_mode``, as a tensor that a graph of autograd may hold, too."""
    if torch.compiler.is_compiling() or not kept.is_inference():  # torch.compile cannot follow the question
        return kept
    with torch.inference_mode(False):
        return kept.clone()


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    allowed = "[O, I/groups, kh, kw] or [O, I], every axis at least 1, fewer than 2**31 elements"
    if len(shape) not in (2, 4) or min(shape) < 1 or math.prod(shape) >= INDEX_LIMIT:
        raise ShapeError(message("shape of the dense weight", received=str(list(shape)), allowed=allowed))
    return tuple(int(axis) for axis in shape)


def _check_positions(indices: Tensor, numel: int) -> None:
    if indices.numel() == 0:
        return
    wide = indices.long()
    if not bool((wide[1:] > wide[:-1]).all()):
        at = int((wide[1:] <= wide[:-1]).nonzero()[0]) + 1
        raise ShapeError(
            message(
                "indices",
                received=f"{int(wide[at])} after {int(wide[at - 1])} at place {at}",
                allowed="strictly ascending positions",
                fix="Sort them and drop duplicates (torch.unique does both).",
            )
        )
    for end in (int(wide[0]), int(wide[-1])):
        if not 0 <= end < numel:
            raise ShapeError(message("indices", received=f"position {end}", allowed=f"0 to {numel - 1}"))
