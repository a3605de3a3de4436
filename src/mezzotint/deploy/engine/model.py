"""What runs in a session? The network's graph, its native parts as one call each, the rest as PyTorch's nodes."""

from __future__ import annotations

import logging
import operator
import threading
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.compile import Compiled, check_float32, compile_steps
from mezzotint.deploy.engine.steps import EngineStep, drop_idle, make_steps
from mezzotint.deploy.engine.tune import tune
from mezzotint.kernels import native
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.attach import detach
from mezzotint.lowering.explain import title
from mezzotint.lowering.plan import Plan
from mezzotint.lowering.segments import Segment, schedule
from mezzotint.lowering.trace import Untraceable, record_shapes, traced

_log = logging.getLogger(__name__)


class EngineModel(nn.Module):
    """A network for inference: snapshot of ``model``, which must be in evaluation mode and is changed.

    Args:
        model: the network.
        dtype: float32 or bfloat16, of activations and weights in the native parts.
        threads: of a call; None: PyTorch's number at the time of the call.

    The first call, or :meth:`plan`, decides for the shapes that it sees; other batches and image sizes work too.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, threads: int | None = None) -> None:
        super().__init__()
        self.training = False
        self.dtype, self.threads = dtype, threads
        self._name = type(model).__name__
        self._reason: str | None = None
        self._lock = threading.Lock()
        self._steps: Plan | None = None
        self._native: fx.GraphModule | None = None
        self.segments: list[NativeSegment] = []
        self.plain: nn.Module = detach(model).requires_grad_(False)
        try:
            missing = native.unavailable()
            if missing is not None:
                raise Untraceable(missing)
            self.plain = traced(self.plain)
        except Untraceable as reason:
            self._refuse(str(reason))

    def forward(self, *inputs: Any) -> Any:
        """As the model's own forward, on float32 tensors."""
        if self._native is None and self._reason is None:
            self.plan(*inputs)
        return (self.plain if self._native is None else self._native)(*inputs)

    def plan(self, *inputs: Any) -> None:
        """Decide what is native, once."""
        with self._lock:
            if self._native is not None or not isinstance(self.plain, fx.GraphModule):
                return
            try:
                with torch.autocast("cpu", enabled=False):
                    record_shapes(self.plain, inputs)
                make_pure(self.plain)
                drop_idle(self.plain)
                self._steps = make_steps(self.plain)
                self._native = self._rewritten(self.plain, self._steps)
            except Untraceable as reason:
                self._refuse(str(reason))

    def explain(self) -> str:
        """One line a step: the kernel and why; and the nodes that PyTorch runs, with the reason."""
        if self._reason is not None:
            return f"{self._name}: runs in PyTorch, because {self._reason}."
        if self._steps is None or not isinstance(self.plain, fx.GraphModule):
            return f"{self._name}: not planned yet: run it once, or describe its input's shape."
        calls = [n for n in self.plain.graph.nodes if n.op in ("call_module", "call_function", "call_method")]
        inside = {node for step in self._steps.steps for node in step.nodes}
        lines = [f"{self._name}: {len(inside)} of {len(calls)} nodes in {len(self.segments)} native programs"]
        for segment in self.segments:
            lines += segment.explain()
        lines += [f"  {title(node)}: PyTorch: {self._steps.reasons[node]}" for node in calls if node not in inside]
        return "\n".join(lines)

    def _refuse(self, reason: str) -> None:
        self._reason = reason
        _log.warning("%s runs in PyTorch alone, because %s.", self._name, reason)

    def _rewritten(self, graph_module: fx.GraphModule, plan: Plan) -> fx.GraphModule:
        graph = fx.Graph()
        root = nn.Module()
        for name, child in graph_module.named_children():
            root.add_module(name, child)
        for store in (graph_module._parameters, graph_module._buffers):
            for name, tensor in store.items():
                setattr(root, name, tensor)
        holder = nn.Module()
        root.add_module("native_programs", holder)
        found: dict[fx.Node, fx.Node] = {}
        for item in schedule(graph_module.graph, plan).items:
            if isinstance(item, fx.Node):
                found[item] = graph.node_copy(item, found.__getitem__)
                continue
            segment = NativeSegment(item, graph_module, self.dtype, self)
            self.segments.append(segment)
            holder.add_module(f"program{len(self.segments)}", segment)
            name = f"native_programs.program{len(self.segments)}"
            results = graph.call_module(name, tuple(found[node] for node in item.inputs))
            for at, node in enumerate(item.outputs):
                found[node] = graph.call_function(operator.getitem, (results, at))
        root.training = False
        return fx.GraphModule(root, graph, self._name)


class NativeSegment(nn.Module):
    """Steps that hand native tensors to each other; compiled for each size of the inputs, at the first such call."""

    def __init__(self, segment: Segment, modules: nn.Module, dtype: torch.dtype, owner: EngineModel) -> None:
        super().__init__()
        self.training = False
        self._segment, self._dtype = segment, dtype
        self._source = [modules]  # in a list: the modules are no children of this one
        self._owner = [owner]
        self._lock = threading.Lock()
        self.compiled: dict[tuple[tuple[int, ...], ...], Compiled] = {}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """float32 tensors to new float32 tensors."""
        arrays = [check_float32(x) for x in inputs]
        compiled = self._compiled_for(tuple(tuple(x.shape[1:]) for x in arrays))
        batch = arrays[0].shape[0]
        results = tuple(torch.empty(batch, *shape) for shape in compiled.outputs)
        threads = self._owner[0].threads or torch.get_num_threads()
        compiled.program.run(arrays, results, batch, threads)
        return results

    def explain(self) -> list[str]:
        """One line a step of the first program."""
        if not self.compiled:
            return ["  not compiled yet"]
        compiled = next(iter(self.compiled.values()))
        return [
            f"  {what.name}: {what.kernel}" + (f", {tile} cells at once" if tile else "")
            for at, what in enumerate(compiled.steps)
            for tile in [compiled.program.tile(at)]
        ]

    def _compiled_for(self, shapes: tuple[tuple[int, ...], ...]) -> Compiled:
        found = self.compiled.get(shapes)
        if found is None:
            with self._lock:
                found = self.compiled.get(shapes)
                if found is None:
                    found = self._compile(shapes)
                    self.compiled[shapes] = found
        return found

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> Compiled:
        segment = self._segment
        steps = [cast(EngineStep, step) for step in segment.steps]
        inputs = list(zip(segment.inputs, shapes, strict=True))
        compiled = compile_steps(steps, self._source[0], inputs, segment.outputs, self._dtype, images=1)
        tune(compiled, self._owner[0].threads or torch.get_num_threads())
        return compiled
