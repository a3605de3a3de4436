"""What does a model call, in which order, and on what? An ``fx`` graph of its modules, with shapes and types.

``torch.fx.symbolic_trace`` is used and not ``torch.export``: it leaves modules whole, so that a sparse layer is one
node with its pattern at hand, and it knows no fixed batch size. It also lets much pass in silence that a graph cannot
say (drawn numbers, attributes that are written, regions without gradients); those models are refused here.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.errors import first_line
from mezzotint.lowering.effects import Untouched, Untraceable, modes_of_call
from mezzotint.sparse import SparseLayer

#: While one thread traces, ``fx`` has replaced ``nn.Module.__call__`` for all.
_TRACING: Final = threading.RLock()


class DefaultsTracer(fx.Tracer):
    """Arguments of ``forward`` that may be left out are what they are by default: no stand-in is for them."""

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """As of any tracer, but for those arguments."""
        function, arguments = super().create_args_for_root(root_fn, is_module, concrete_args)
        return function, [self._default_of(one) for one in arguments]

    def _default_of(self, argument: Any) -> Any:
        """Instead of a stand-in that has one."""
        if not isinstance(argument, fx.Proxy) or not argument.node.args:
            return argument
        self.graph.erase_node(argument.node)
        return argument.node.args[0]


class _Tracer(DefaultsTracer):
    #: Read anew at each call, as parameters are; and what a forward writes into them is part of the graph.
    proxy_buffer_attributes = True

    def __init__(self, inputs: Sequence[Any] | None = None) -> None:
        super().__init__()
        self._inputs, self._thread, self._modes = inputs, threading.get_ident(), modes_of_call()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Sparse layers are whole, and so is what carries hooks: it runs as it was, hooks included."""
        return isinstance(m, SparseLayer) or has_hooks(m) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """A stand-in for each tensor and number; arguments that are not given have their own defaults."""
        if self._inputs is None:
            return super().create_args_for_root(root_fn, is_module, concrete_args)
        names = _names(MethodType(root_fn, self.root), len(self._inputs))
        values = [
            self.create_proxy("placeholder", name, (), {}) if stands_in(value) else value
            for name, value in zip(names, self._inputs, strict=True)
        ]
        return root_fn, [self.root, *values]

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """As of any tracer, where the call's own modes hold."""
        if modes_of_call() != self._modes:
            raise Untraceable("a part of its forward turns gradients or autocast on or off, which no graph keeps")
        return super().create_node(*args, **kwargs)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Other threads, which run other models meanwhile, are none of its business."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Likewise."""
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _names(method: Callable[..., Any], count: int) -> list[str]:
    """Of the first ``count`` positional arguments."""
    parameters = inspect.signature(method).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*named[:count], *(f"input{place}" for place in range(len(named), count))]


def traced(model: nn.Module, inputs: Sequence[Any] | None = None, *, whole: bool = True) -> fx.GraphModule:
    """A graph module that shares the submodules of ``model``; its inputs are the tensors and numbers of ``inputs``.

    Args:
        inputs: positional arguments of a call. All else (None, True, a word) is part of the graph, as is the default of
            what is not given. None: a tensor for each argument without default.
        whole: whether it is to replace the model, hooks included, and not the model's ``forward`` alone.

    Raises:
        Untraceable: with the reason.
    """
    if whole and has_hooks(model):
        raise Untraceable("the model itself carries forward hooks")
    if has_own_forward(model):
        raise Untraceable("somebody has given this very object a forward of its own")
    tracer = _Tracer(inputs)
    try:
        if isinstance(model, fx.GraphModule) and _is_traced(model, tracer) and _only_tensors(inputs or ()):
            return fx.GraphModule(model, copy.deepcopy(model.graph), type(model).__name__)
        with _TRACING, Untouched(model):
            graph = tracer.trace(model)
            for node in graph.nodes:
                if isinstance(node.type, str):
                    node.type = None  # an annotation that is not evaluated: PyTorch could not pickle the graph
            return fx.GraphModule(model, graph, type(model).__name__)
    except Untraceable:
        raise
    except Exception as error:  # tracing runs the user's code on stand-ins, and anything may come of that
        raise Untraceable(f"torch.fx cannot trace it: {first_line(error)}") from error


def _only_tensors(inputs: Sequence[Any]) -> bool:
    return all(isinstance(x, Tensor) for x in inputs)


def stands_in(x: object) -> bool:
    """Whether something stands in for an argument while a forward is traced: a tensor, or a number that may change."""
    return isinstance(x, Tensor) or type(x) in (int, float)


def _is_traced(model: fx.GraphModule, tracer: _Tracer) -> bool:
    """Whether a graph's own nodes are what tracing would find: it calls nothing that would be looked into."""
    called = [str(node.target) for node in model.graph.nodes if node.op == "call_module"]
    return all(tracer.is_leaf_module(model.get_submodule(name), name) for name in called)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling ``module`` runs hooks, around its forward or its backward pass."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def has_own_forward(module: nn.Module) -> bool:
    """Whether this very object has another ``forward`` than its class; what leads it natively does not count."""
    own = vars(module).get("forward")
    return own is not None and not getattr(own, "leads_natively", False)


def record_shapes(graph_module: fx.GraphModule, inputs: Sequence[Any]) -> Any:
    """Run the graph once on ``inputs`` and note in each node's ``meta`` what comes out; returns its result.

    ``meta["tensors"]``: whether any tensor does. For a node that yields a tensor also ``meta["shape"]`` (a tuple),
    ``meta["dtype"]`` and ``meta["device"]`` (its type).
    """
    copies = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
    with torch.no_grad():
        return _Recorder(graph_module).run(*copies)


class _Recorder(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["tensors"] = any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result))
        if isinstance(result, Tensor):
            n.meta["shape"], n.meta["dtype"] = tuple(result.shape), result.dtype
            n.meta["device"] = result.device.type
        return result
