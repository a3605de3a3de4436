"""Which nodes of a traced model could work in the native layout, and why can the others not?"""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import fx, nn

from mezzotint.lowering import pooling
from mezzotint.lowering.batch_norm import uses_batch
from mezzotint.lowering.trace import has_hooks, has_own_forward
from mezzotint.lowering.weights import Weights
from mezzotint.sparse import SparseConv2d


class Role(Enum):
    """What a node does that the native layout knows how to do."""

    CONV = "sparse convolution"
    DENSE_CONV = "dense convolution"
    NORM = "batch norm"
    RELU = "ReLU"
    ADD = "add"
    MAX_POOL = "max pooling"
    GLOBAL_AVERAGE = "global average pooling"


CONVOLUTIONS: Final = frozenset({Role.CONV, Role.DENSE_CONV})
#: A dense convolution of more input channels a group is left to oneDNN, which has no equal at it.
_FEW_CHANNELS: Final = 4

#: Ways to call a function, as ``fx`` finds them.
RELU: Final[frozenset[Any]] = frozenset({F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"})
ADD: Final[frozenset[Any]] = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})


#: Types of activations that have a native layout.
_TYPES: Final = frozenset({torch.float32, torch.bfloat16, torch.float16})
MAX_POOL: Final[frozenset[Any]] = frozenset({F.max_pool2d, torch.max_pool2d})
ADAPTIVE_AVERAGE: Final[frozenset[Any]] = frozenset({F.adaptive_avg_pool2d, torch._C._nn.adaptive_avg_pool2d})


def role_of(node: fx.Node, graph_module: fx.GraphModule, *, folds: bool) -> Role | str:
    """The role of ``node``, whose shape must be recorded, or why it has none; ``folds`` as in ``make_plan``."""
    if node.op == "call_module":
        module = graph_module.get_submodule(str(node.target))
        if folds and isinstance(module, nn.BatchNorm2d) and uses_batch(module):
            return "it uses the statistics of the batch"
        return _module_role(node, module)
    if node.op not in ("call_function", "call_method"):
        return "it computes nothing"
    if node.target in RELU:
        return _checked(Role.RELU, node)
    if node.target in ADD:
        return _add_role(node)
    if node.target in MAX_POOL or node.target in ADAPTIVE_AVERAGE:
        refusal = pooling.refuse(node)
        role = Role.MAX_POOL if node.target in MAX_POOL else Role.GLOBAL_AVERAGE
        return refusal or _checked(role, node)
    return f"the native layout has no {_called(node)}"


def tensor_inputs(node: fx.Node, role: Role) -> list[fx.Node]:
    """The nodes that a node of ``role`` reads: one, or the two that are added."""
    given = [*node.args, *node.kwargs.values()]
    return [value for value in given if isinstance(value, fx.Node)][: 2 if role is Role.ADD else 1]


def _module_role(node: fx.Node, module: nn.Module) -> Role | str:
    if has_hooks(module):
        return "it carries forward hooks"
    if has_own_forward(module):
        return "its forward was replaced"
    # A subclass may override forward, so only these very classes are known.
    for kind, (role, refusal) in _MODULES.items():
        if type(module) is kind:
            return refusal(module) or _checked(role, node)
    return f"the native layout has no {type(module).__name__}"


def _refuse_conv(layer: nn.Module) -> str | None:
    if not isinstance(layer, (SparseConv2d, nn.Conv2d)):
        return "it is no convolution"
    if isinstance(layer, nn.Conv2d) and layer.in_channels // layer.groups > _FEW_CHANNELS:
        return f"it is dense, and has more than {_FEW_CHANNELS} input channels"
    if layer.padding_mode != "zeros":
        return f"its padding mode is {layer.padding_mode!r}; the native halo holds zeros"
    tensors = [Weights(layer).parameter, *([] if layer.bias is None else [layer.bias])]
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        return "its weights are not float32 on the CPU"
    return None


def _refuse_norm(norm: nn.Module) -> str | None:
    tensors = [*norm.parameters(), *norm.buffers()]
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in tensors):
        return "its parameters are not float32"
    return None


def _refuse_nothing(module: nn.Module) -> str | None:
    return None


_MODULES: Final[dict[type[nn.Module], tuple[Role, Callable[[nn.Module], str | None]]]] = {
    SparseConv2d: (Role.CONV, _refuse_conv),
    nn.Conv2d: (Role.DENSE_CONV, _refuse_conv),
    nn.BatchNorm2d: (Role.NORM, _refuse_norm),
    nn.ReLU: (Role.RELU, _refuse_nothing),
    nn.MaxPool2d: (Role.MAX_POOL, pooling.refuse_max_pool),
    nn.AdaptiveAvgPool2d: (Role.GLOBAL_AVERAGE, pooling.refuse_average),
}


def _add_role(node: fx.Node) -> Role | str:
    operands = tensor_inputs(node, Role.ADD)
    if len(operands) != 2 or len(node.args) != 2 or node.kwargs:
        return "it is more than the sum of two tensors"
    if operands[0].meta.get("shape") != operands[1].meta.get("shape"):
        return "it adds tensors of different shapes"
    return _checked(Role.ADD, node)


def _checked(role: Role, node: fx.Node) -> Role | str:
    for read in tensor_inputs(node, role):
        if len(read.meta.get("shape", ())) != 4:
            return "it does not work on batches of images [N, C, H, W]"
        if read.meta["dtype"] not in _TYPES or read.meta["device"] != "cpu":
            return "it does not work on float32 or 16-bit activations on the CPU"
    return role


def _called(node: fx.Node) -> str:
    return str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
