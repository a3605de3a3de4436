"""How does a plan become a module that runs? The graph is written anew: steps as modules, converters at the borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from mezzotint.lowering.native_steps import (
    FromNative,
    NativeConv,
    NativeGlobalAverage,
    NativeMaxPool,
    NativePointwise,
    ToNative,
)
from mezzotint.lowering.plan import Plan, Step, conv_layer
from mezzotint.lowering.pooling import window_at
from mezzotint.lowering.regraph import root_of
from mezzotint.lowering.roles import Role

#: Submodule of the rewritten model that holds the steps.
HOLDER = "native_layout"


def rewrite(graph_module: fx.GraphModule, plan: Plan) -> fx.GraphModule:
    """A graph module that computes what ``graph_module`` does, the steps of ``plan`` in the native layout."""
    return _Writer(graph_module, plan).write()


class _Writer:
    def __init__(self, graph_module: fx.GraphModule, plan: Plan) -> None:
        self.old, self.plan = graph_module, plan
        self.graph = fx.Graph()
        self.holder = nn.Module()
        self.plain: dict[fx.Node, fx.Node] = {}
        self.native: dict[fx.Node, fx.Node] = {}

    def write(self) -> fx.GraphModule:
        results = {step.result: step for step in self.plan.steps}
        inside = {node for step in self.plan.steps for node in step.nodes}
        for node in self.old.graph.nodes:
            if node in results:
                self.native[node] = self._step(results[node])
            elif node not in inside:
                self.plain[node] = self.graph.node_copy(node, self._plain)
        root = root_of(self.old, HOLDER, self.holder)
        root.training = False  # of the root alone: what a user left in training mode inside stays so
        return fx.GraphModule(root, self.graph, type(self.old).__name__)

    def _step(self, step: Step) -> fx.Node:
        norm = None if step.norm is None else self.old.get_submodule(str(step.norm.target))
        halo = self.plan.halos[step.result]
        batch_norm = norm if isinstance(norm, nn.BatchNorm2d) else None
        module: nn.Module
        if step.pool is Role.MAX_POOL:
            module = NativeMaxPool(window_at(step.nodes[0], self.old), halo)
        elif step.pool is Role.GLOBAL_AVERAGE:
            module = NativeGlobalAverage(halo)
        elif step.conv is not None:
            layer = conv_layer(self.old.get_submodule(str(step.conv.target)))
            module = NativeConv(layer, batch_norm, step.relu, halo)
        else:
            module = NativePointwise(batch_norm, step.relu, halo)
        inputs = [self._native(step.source), *([] if step.residual is None else [self._native(step.residual)])]
        return self._call(step.nodes[0].name, module.eval, tuple(inputs))

    def _native(self, node: fx.Node) -> fx.Node:
        """The native form of an old node's tensor, converted at most once, right behind the node itself."""
        if node not in self.native:
            halo = self.plan.halos[node]
            with self.graph.inserting_after(self.plain[node]):
                self.native[node] = self._call(f"enter_{node.name}", ToNative(halo).eval, (self.plain[node],))
        return self.native[node]

    def _plain(self, node: fx.Node) -> fx.Node:
        """The ordinary form of an old node's tensor, converted at most once."""
        if node not in self.plain:
            self.plain[node] = self._call(f"leave_{node.name}", FromNative().eval, (self.native[node],))
        return self.plain[node]

    def _call(self, name: str, made: Callable[[], nn.Module], inputs: tuple[Any, ...]) -> fx.Node:
        self.holder.add_module(name, made())
        return self.graph.call_module(f"{HOLDER}.{name}", inputs)
