"""Which activations does the engine compute while a sum is still in registers? A curve, and then bounds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import fx, nn

from mezzotint.deploy.rounding import rounded
from mezzotint.lowering.roles import RELU


class Curve(IntEnum):
    """As ``Curve`` in ``csrc/core/activation.hpp``."""

    NONE = 0
    LEAKY_RELU = 1
    SIGMOID = 2
    SILU = 3
    HARD_SIGMOID = 4
    HARD_SWISH = 5
    MISH = 6


@dataclass(frozen=True)
class Activation:
    """``clamp(curve(x), low, high)``, then the nearest multiple of ``step`` unless that is 0.

    ``slope`` is that of a leaky ReLU below zero.
    """

    curve: Curve = Curve.NONE
    slope: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0

    @property
    def code(self) -> tuple[int, float, float, float, float]:
        """What the extension takes for it."""
        return int(self.curve), self.slope, self.low, self.high, self.step

    @property
    def is_never_negative(self) -> bool:
        """Whether no result is below zero."""
        return self.low >= 0 or self.curve in (Curve.SIGMOID, Curve.HARD_SIGMOID)

    def then(self, other: Activation) -> Activation | None:
        """Both, one after the other; None: they are not one."""
        if self == IDENTITY or other == IDENTITY:
            return other if self == IDENTITY else self
        if self.step or other.curve is not Curve.NONE:
            return None
        low, high = (min(max(bound, other.low), other.high) for bound in (self.low, self.high))
        return replace(self, low=low, high=high, step=other.step)


#: The kernels round what is below.
_WHOLE: Final = 1 << 22
#: The numbers as they are.
IDENTITY: Final = Activation()
_RELU: Final = Activation(low=0.0)
_RELU6: Final = Activation(low=0.0, high=6.0)


def of_module(module: nn.Module) -> Activation | None:
    """The activation that a module of exactly one of the known classes is; None: it is none of them."""
    make = _MODULES.get(type(module))
    return None if make is None else make(module)


def of_call(node: fx.Node) -> Activation | None:
    """The activation that a function or method is; None: none of the known ones, or a leaky ReLU of unknown slope."""
    if node.target in _LEAKY:
        given = dict(zip(("negative_slope", "inplace"), node.args[1:], strict=False)) | dict(node.kwargs)
        slope = given.get("negative_slope", 0.01)
        return Activation(Curve.LEAKY_RELU, float(slope)) if isinstance(slope, int | float) else None
    if node.target is rounded:
        return _rounding(*node.args[1:])
    return _CALLS.get(node.target)


def _rounding(step: Any, least: Any, most: Any) -> Activation | None:
    known = isinstance(step, float) and isinstance(least, int) and isinstance(most, int)
    if not known or max(-least, most) > _WHOLE:
        return None
    return Activation(low=least * step, high=most * step, step=step)


def join_products(graph_module: fx.GraphModule) -> None:
    """Write ``x * sigmoid(x)`` as SiLU, ``x * hardsigmoid(x)`` as hard swish, ``x * tanh(softplus(x))`` as Mish.

    So they are written in ONNX files. Shapes that are recorded stay so.
    """
    for node in list(graph_module.graph.nodes):
        if node.op in ("call_function", "call_method") and node.target in PRODUCTS and len(node.args) == 2:
            for x, gate in (node.args, node.args[::-1]):
                whole = _whole(graph_module, x, gate)
                if whole is not None:
                    with graph_module.graph.inserting_before(node):
                        made = graph_module.graph.call_function(whole, (x,))
                    made.meta = dict(node.meta)
                    node.replace_all_uses_with(made)
                    _erase(node, gate)
                    break
    graph_module.recompile()


def _erase(node: fx.Node, *following: fx.Node) -> None:
    """Take a node that nobody reads out of the graph, and then what it alone has read."""
    reads = node.all_input_nodes
    node.graph.erase_node(node)
    for read in reads:
        if read in following and not read.users:
            _erase(read, *read.all_input_nodes)


def _whole(graph_module: fx.GraphModule, x: Any, gate: Any) -> Callable[..., Any] | None:
    """The function of ``x`` that its product with ``gate`` is."""
    if not isinstance(x, fx.Node) or not isinstance(gate, fx.Node) or x is gate or not gate.all_input_nodes:
        return None
    module = graph_module.get_submodule(str(gate.target)) if gate.op == "call_module" else None
    curve = of_module(module) if module is not None else of_call(gate)
    if gate.args[0] is x and curve is not None:
        return {Curve.SIGMOID: F.silu, Curve.HARD_SIGMOID: F.hardswish}.get(curve.curve)
    soft = gate.args[0]
    tangent = type(module) is nn.Tanh or (module is None and gate.target in _TANH)
    if tangent and isinstance(soft, fx.Node) and soft.all_input_nodes == [x] and _is_softplus(graph_module, soft):
        return F.mish
    return None


def _is_softplus(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = graph_module.get_submodule(str(node.target))
        return type(module) is nn.Softplus and module.beta == 1 and module.threshold >= 20
    return node.target is F.softplus and len(node.args) == 1 and not node.kwargs


def _hardtanh(module: nn.Module) -> Activation:
    return Activation(low=float(getattr(module, "min_val", -1)), high=float(getattr(module, "max_val", 1)))


def _leaky(module: nn.Module) -> Activation:
    return Activation(Curve.LEAKY_RELU, float(getattr(module, "negative_slope", 0.01)))


#: Ways to multiply two tensors.
PRODUCTS: Final[frozenset[Any]] = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_LEAKY: Final[frozenset[Any]] = frozenset({F.leaky_relu, F.leaky_relu_})
_TANH: Final[frozenset[Any]] = frozenset({torch.tanh, F.tanh, "tanh"})
_CALLS: Final[dict[Any, Activation]] = {
    **dict.fromkeys(RELU, _RELU),
    F.relu6: _RELU6,
    **dict.fromkeys((torch.sigmoid, torch.sigmoid_, F.sigmoid, "sigmoid", "sigmoid_"), Activation(Curve.SIGMOID)),
    F.silu: Activation(Curve.SILU),
    F.hardsigmoid: Activation(Curve.HARD_SIGMOID),
    F.hardswish: Activation(Curve.HARD_SWISH),
    F.mish: Activation(Curve.MISH),
}
_MODULES: Final[dict[type[nn.Module], Callable[[nn.Module], Activation]]] = {
    nn.ReLU: lambda _: _RELU,
    nn.ReLU6: _hardtanh,
    nn.Hardtanh: _hardtanh,
    nn.LeakyReLU: _leaky,
    nn.Sigmoid: lambda _: Activation(Curve.SIGMOID),
    nn.SiLU: lambda _: Activation(Curve.SILU),
    nn.Hardsigmoid: lambda _: Activation(Curve.HARD_SIGMOID),
    nn.Hardswish: lambda _: Activation(Curve.HARD_SWISH),
    nn.Mish: lambda _: Activation(Curve.MISH),
}
