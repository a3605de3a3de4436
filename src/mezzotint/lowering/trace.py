"""What does a model call, in which order, and on what? An ``fx`` graph of its modules, with shapes and types.

``torch.fx.symbolic_trace`` is used and not ``torch.export``: it leaves modules whole, so that a sparse layer is one
node with its pattern at hand, and it knows no fixed batch size.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.errors import first_line
from mezzotint.sparse import SparseLayer


class Untraceable(Exception):
    """The model cannot be traced; the message is the reason, without a full stop. Never leaves this room."""


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        """Sparse layers are whole, and so is what carries hooks: it runs as it was, hooks included."""
        return (
            isinstance(module, SparseLayer)
            or has_hooks(module)
            or super().is_leaf_module(module, module_qualified_name)
        )


def traced(model: nn.Module, *, whole: bool = True) -> fx.GraphModule:
    """A graph module that shares the submodules of ``model``.

    Args:
        whole: whether it is to replace the model, hooks included, and not the model's ``forward`` alone.

    Raises:
        Untraceable: with the reason.
    """
    if whole and has_hooks(model):
        raise Untraceable("the model itself carries forward hooks")
    tracer = _Tracer()
    try:
        if isinstance(model, fx.GraphModule) and _is_traced(model, tracer):
            return fx.GraphModule(model, copy.deepcopy(model.graph), type(model).__name__)
        graph = tracer.trace(model)
        for node in graph.nodes:
            if isinstance(node.type, str):
                node.type = None  # an annotation that is not evaluated: PyTorch could not pickle the graph
        return fx.GraphModule(model, graph, type(model).__name__)
    except Exception as error:  # tracing runs the user's code on stand-ins, and anything may come of that
        raise Untraceable(f"torch.fx cannot trace it: {first_line(error)}") from error


def _is_traced(model: fx.GraphModule, tracer: _Tracer) -> bool:
    """Whether a graph's own nodes are what tracing would find: it calls nothing that would be looked into."""
    called = [str(node.target) for node in model.graph.nodes if node.op == "call_module"]
    return all(tracer.is_leaf_module(model.get_submodule(name), name) for name in called)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling ``module`` runs hooks, around its forward or its backward pass."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def record_shapes(graph_module: fx.GraphModule, inputs: tuple[Any, ...]) -> None:
    """Run the graph once on ``inputs`` and note in each node's ``meta`` what comes out.

    ``meta["tensors"]``: whether any tensor does. For a node that yields a tensor also ``meta["shape"]`` (a tuple),
    ``meta["dtype"]`` and ``meta["device"]`` (its type).
    """
    copies = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
    with torch.no_grad():
        _Recorder(graph_module).run(*copies)


class _Recorder(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["tensors"] = any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result))
        if isinstance(result, Tensor):
            n.meta["shape"], n.meta["dtype"] = tuple(result.shape), result.dtype
            n.meta["device"] = result.device.type
        return result
