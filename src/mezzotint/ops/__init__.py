"""Which operators does mezzotint have, and how does one add another? Declarations, registry, calls, graph."""

from __future__ import annotations

from mezzotint.kernels import launch
from mezzotint.ops.adaptive_pooling import (
    adaptive_avg_pool,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    global_avg_pool,
    global_max_pool,
)
from mezzotint.ops.annotated import Attr, Input, Output, declare
from mezzotint.ops.batch_norm import batch_norm
from mezzotint.ops.convolution import conv1d, conv2d, conv2d_weight_grad, conv3d
from mezzotint.ops.depthwise import depthwise_conv2d
from mezzotint.ops.fused import conv2d_bn_act
from mezzotint.ops.graph import Graph, capture
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.pooling import (
    avg_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from mezzotint.ops.registry import REGISTRY
from mezzotint.ops.selfcheck import selfcheck
from mezzotint.ops.sparse_convolution import sparse_conv2d
from mezzotint.ops.sparse_product import sparse_linear
from mezzotint.ops.sparse_transposed import sparse_conv_transpose2d
from mezzotint.ops.transposed import conv_transpose1d, conv_transpose2d, conv_transpose3d

__all__ = [
    "Attr",
    "Call",
    "Graph",
    "Input",
    "OpDef",
    "Operator",
    "Output",
    "TensorSpec",
    "adaptive_avg_pool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "capture",
    "conv1d",
    "conv2d",
    "conv2d_bn_act",
    "conv2d_weight_grad",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "declare",
    "depthwise",
    "depthwise_conv2d",
    "describe",
    "explain",
    "get",
    "global_avg_pool",
    "global_max_pool",
    "load_plugins",
    "lp_pool",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "names",
    "selfcheck",
    "sparse_conv2d",
    "sparse_conv_transpose2d",
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
