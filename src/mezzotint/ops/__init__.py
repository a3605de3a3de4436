"""Which operators does mezzotint have, and how does one add another? Declarations, registry, calls, graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mezzotint.kernels import launch
from mezzotint.ops.convolution import conv1d, conv2d, conv2d_weight_grad, conv3d
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.registry import REGISTRY
from mezzotint.ops.sparse_convolution import sparse_conv2d
from mezzotint.ops.sparse_product import sparse_linear

if TYPE_CHECKING:
    from mezzotint.ops.graph import Graph

__all__ = [
    "Call",
    "OpDef",
    "Operator",
    "TensorSpec",
    "capture",
    "conv1d",
    "conv2d",
    "conv2d_weight_grad",
    "conv3d",
    "describe",
    "explain",
    "get",
    "names",
    "sparse_conv2d",
    "sparse_linear",
]


def get(name: str) -> Operator:
    """The registered operator ``name``."""
    return REGISTRY.get(name)


def names() -> list[str]:
    """The names of all registered operators, sorted."""
    return REGISTRY.names()


def describe(name: str) -> str:
    """The reference text of operator ``name``."""
    return REGISTRY.get(name).describe()


def explain(op: str | None = None) -> str:
    """Which kernels were chosen so far, and why; all operators, or one of them."""
    lines = launch.explanations(op)
    return lines or "no decision yet: run a layer first; decisions are made at a problem's first call."


def capture(model: Any, example_input: Any) -> Graph:
    """The dataflow graph of ``model``: nodes are operators. See :mod:`mezzotint.ops.graph`."""
    from mezzotint.ops import graph

    return graph.capture(model, example_input)
