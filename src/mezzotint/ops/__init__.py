"""Which operators does mezzotint have, and how does one add another? Declarations, registry, calls, graph."""

from __future__ import annotations

from mezzotint.kernels import launch
from mezzotint.ops.annotated import Attr, Input, Output, declare
from mezzotint.ops.convolution import conv2d, conv2d_weight_grad
from mezzotint.ops.graph import Graph, capture
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.registry import REGISTRY
from mezzotint.ops.selfcheck import selfcheck
from mezzotint.ops.sparse_convolution import sparse_conv2d
from mezzotint.ops.sparse_product import sparse_linear

__all__ = [
    "Attr",
    "Call",
    "Graph",
    "Input",
    "OpDef",
    "Operator",
    "Output",
    "TensorSpec",
    "capture",
    "conv2d",
    "conv2d_weight_grad",
    "declare",
    "describe",
    "explain",
    "get",
    "load_plugins",
    "names",
    "selfcheck",
    "sparse_conv2d",
    "sparse_linear",
]


def get(name: str) -> Operator:
    """The registered operator ``name``; a package's own is ``"acme::name"``."""
    return REGISTRY.get(name)


def names() -> list[str]:
    """The names of all registered operators, sorted."""
    return REGISTRY.names()


def load_plugins() -> None:
    """Load the operators and kernels of installed packages now. See :mod:`mezzotint.ops.plugins`."""
    REGISTRY.load_plugins()


def describe(name: str) -> str:
    """The reference text of operator ``name``."""
    return REGISTRY.get(name).describe()


def explain(op: str | None = None) -> str:
    """Which kernels were chosen so far, and why; all operators, or one of them."""
    lines = launch.explanations(op)
    return lines or "no decision yet: run a layer first; decisions are made at a problem's first call."
