"""What is known of an input or output of a network? Name, shape, type."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An input or output of a session.

    Attributes:
        name: of the forward's parameter; an output's key, or ``output``, or ``output_0`` ...
        shape: sizes, None for the batch and for what is not known; None when not even the rank is known.
        dtype: of the array, such as ``"float32"``.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
