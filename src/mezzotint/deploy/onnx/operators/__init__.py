"""Which operators of ONNX can be run? One table; a file for each family, a function for each operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.operators import (
    activation,
    arithmetic,
    convolution,
    indexing,
    linear,
    normalisation,
    pooling,
    quantised,
    reduction,
    resize,
    shaping,
)
from mezzotint.deploy.onnx.value import Value

__all__ = ["OPERATORS", "Handler"]

Handler = Callable[[Call], Value | Sequence[Value]]
"""A node -> its result, or its results in order."""

OPERATORS: Final[dict[str, Handler]] = {
    **convolution.OPERATORS,
    **pooling.OPERATORS,
    **linear.OPERATORS,
    **normalisation.OPERATORS,
    **activation.OPERATORS,
    **arithmetic.OPERATORS,
    **reduction.OPERATORS,
    **shaping.OPERATORS,
    **indexing.OPERATORS,
    **resize.OPERATORS,
    **quantised.OPERATORS,
}
"""Name -> how its nodes are translated."""
