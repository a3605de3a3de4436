"""What runs in a session? The network's graph, its native parts as one call each, the rest as PyTorch's nodes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.activation import join_products
from mezzotint.deploy.engine.batches import Batches
from mezzotint.deploy.engine.compile import Compiled, Source, check_float32, compile_abreast, compile_steps
from mezzotint.deploy.engine.plan_file import PlanFile, fingerprint
from mezzotint.deploy.engine.profile import watcher
from mezzotint.deploy.engine.shapes import note_shapes
from mezzotint.deploy.engine.steps import EngineStep, drop_idle, make_steps
from mezzotint.deploy.engine.straight import StraightCall, is_straight
from mezzotint.deploy.engine.tune import apply, fits, tune, tune_abreast
from mezzotint.kernels import native
from mezzotint.kernels.native_program import GROUP, LANES, Choice, Summing
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.attach import detach
from mezzotint.lowering.effects import Untraceable
from mezzotint.lowering.explain import title
from mezzotint.lowering.plan import Plan
from mezzotint.lowering.regraph import with_segments
from mezzotint.lowering.rehearsal import RehearsalFails, rehearse_snapshot
from mezzotint.lowering.segments import Segment
from mezzotint.lowering.trace import traced

_log = logging.getLogger(__name__)
#: Images that go through a network together: a larger batch is done in rounds, so that activations stay in the caches.
IMAGES = 4
_KERNELS: Final = {
    Summing.PAIRS: "pairs of nonzeros",
    Summing.GROUPS: f"{GROUP} output channels at once, all weights",
    Summing.LANES: f"{LANES} output channels side by side, all weights",
    Summing.WINDOWS: "three columns at once",
    Summing.MATRICES: "all weights, on the matrix unit",
}
#: Programs that are kept, the newest ones.
_SIZES_KEPT = 8


class EngineModel(nn.Module):
    """A network for inference: snapshot of ``model``, which must be in evaluation mode and is changed.

    Args:
        model: the network.
        dtype: float32 or bfloat16, of activations and weights in the native parts.
        threads: of a call; None: PyTorch's number at the time of the call.
        plan: file in which the measured choices of kernels are kept.
        results: type of what native parts make.

    The first call, or :meth:`plan`, decides for the shapes that it sees; other batches and image sizes work too.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        threads: int | None = None,
        plan: Path | None = None,
        results: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.training = False
        self._plan_path = plan
        self.plan_file: PlanFile | None = None
        self.dtype, self.threads, self.results = dtype, threads, results
        self._name = type(model).__name__
        self._reason: str | None = None
        self._lock = threading.Lock()
        self._steps: Plan | None = None
        self._native: fx.GraphModule | None = None
        self.segments: list[NativeSegment] = []
        self._is_straight = False
        self.plain: nn.Module = detach(model).requires_grad_(False)
        self._foreign = () if _is_known(model) else (self.plain,)  # no submodule: those of the graph are the same ones
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
                for forward in self._foreign:
                    # Inputs that it does not take are told of below.
                    with suppress(RehearsalFails), torch.autocast("cpu", enabled=False):
                        rehearse_snapshot(forward, self.plain, inputs)
                note_shapes(self.plain, inputs)
                make_pure(self.plain)
                join_products(self.plain)
                drop_idle(self.plain)
                self._steps = make_steps(self.plain)
                if self._plan_path is not None:
                    threads = self.threads or torch.get_num_threads()
                    self.plan_file = PlanFile(self._plan_path, fingerprint(self.plain), self.dtype, threads)
                self._native = self._rewritten(self.plain, self._steps)
            except Untraceable as reason:
                self._refuse(str(reason))

    @property
    def convolutions(self) -> frozenset[str]:
        """Names of the convolutions in native parts; none before anything was planned."""
        steps = [] if self._steps is None else [cast(EngineStep, step) for step in self._steps.steps]
        whole = [*steps, *(step.addend for step in steps if step.addend is not None)]
        return frozenset(str(step.conv.target) for step in whole if step.conv is not None)

    def straight_call(self, threads: Callable[[], int], batch: int | None) -> StraightCall | None:
        """A shorter way to call what is planned, where that is one native program; arguments as of the class."""
        return StraightCall(self.segments[0].compiled, threads, batch) if self._is_straight else None

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
        self.plain = self._foreign[0] if self._foreign else self.plain
        _log.warning("%s runs in PyTorch alone, because %s.", self._name, reason)

    def _rewritten(self, graph_module: fx.GraphModule, plan: Plan) -> fx.GraphModule:
        def make(number: int, segment: Segment) -> nn.Module:
            self.segments.append(NativeSegment(number, segment, graph_module, self))
            return self.segments[-1]

        found = with_segments(graph_module, plan, "native_programs", make)
        found.training = False
        self._is_straight = len(self.segments) == 1 and is_straight(found.graph, self.segments[0].outputs)
        return found


def _is_known(model: nn.Module) -> bool:
    """Whether it is a graph already, or a network of ours: it computes what ``torch.fx`` sees of it."""
    return isinstance(model, fx.GraphModule) or type(model).__module__.partition(".")[0] == "mezzotint"


class NativeSegment(nn.Module):
    """Steps that hand native tensors to each other; compiled for each size of the inputs, at the first such call."""

    def __init__(self, number: int, segment: Segment, modules: nn.Module, owner: EngineModel) -> None:
        super().__init__()
        self.training = False
        self._number, self._segment = number, segment
        self._source, self._owner = [modules], [owner]  # in lists: neither is a child of this module
        self._lock = threading.Lock()
        self.compiled: dict[tuple[tuple[int, ...], ...], Batches] = {}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """float32 tensors to new tensors."""
        batch = max(x.shape[0] for x in inputs)
        programs = self._compiled_for(tuple(tuple(x.shape[1:]) for x in inputs))
        compiled = programs.alone
        # A parameter [1, C, H, W] that is added or multiplied has no batch of its own.
        arrays = [check_float32(x.expand(batch, *x.shape[1:])) for x in inputs]
        results = tuple(torch.empty(batch, *shape) for shape in compiled.outputs)
        watched = watcher()
        if batch and watched is None:
            programs.run(arrays, results, batch, self._threads())
        elif batch and watched is not None:
            times = compiled.program.profile(arrays, results, batch, self._threads())
            watched += [
                (what, self._kernel(compiled, at), seen)
                for at, (what, (seen, _)) in enumerate(zip(compiled.steps, times, strict=True))
            ]
        return tuple(result.to(self._owner[0].results) for result in results)

    @property
    def outputs(self) -> int:
        """How many tensors it makes."""
        return len(self._segment.outputs)

    def explain(self) -> list[str]:
        """One line a step of the newest program."""
        if not self.compiled:
            return ["  not compiled yet"]
        programs = next(reversed(self.compiled.values()))
        compiled, abreast = programs.alone, programs.abreast
        found = []
        for at, what in enumerate(compiled.steps):
            reason = ", the fastest of those measured" if compiled.program.choice(at)[1] else ""
            found.append(f"  {what.name}: {self._kernel(compiled, at)}{reason}")
        if abreast is not None:
            found.append(f"  batches of {IMAGES * self._threads()} and more: up to {abreast.images} images abreast")
        return found

    def _kernel(self, compiled: Compiled, step: int) -> str:
        what, (summing, tile, parts) = compiled.steps[step], compiled.program.choice(step)
        if not tile:
            return what.kernel
        if what.is_linear:
            return f"{what.kernel}: {'nonzeros alone' if summing == Summing.PAIRS else 'all weights'}"
        kernel = _KERNELS[summing]
        kernel += f", input channels in {parts} parts" if parts > 1 else ""
        return f"{what.kernel}: {kernel}, {tile} cells at once"

    def _threads(self) -> int:
        return self._owner[0].threads or torch.get_num_threads()

    def _compiled_for(self, shapes: tuple[tuple[int, ...], ...]) -> Batches:
        found = self.compiled.get(shapes)
        if found is None:
            with self._lock:
                found = self.compiled.get(shapes)
                if found is None:
                    found = self._compile(shapes)
                    if len(self.compiled) >= _SIZES_KEPT:
                        del self.compiled[next(iter(self.compiled))]
                    self.compiled[shapes] = found
        return found

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> Batches:
        segment = self._segment
        steps = [cast(EngineStep, step) for step in segment.steps]
        inputs = list(zip(segment.inputs, shapes, strict=True))
        source = Source(steps, self._source[0], inputs, segment.outputs, self._owner[0].dtype)
        key = f"program {self._number}, inputs " + ", ".join("x".join(map(str, shape)) for shape in shapes)
        alone = compile_steps(source, IMAGES)
        self._choose(alone, key, lambda: tune(alone, shapes, self._threads()))

        def make() -> Compiled | None:
            abreast = compile_abreast(source)
            if abreast is not None:
                self._choose(abreast, f"{key}, images abreast", lambda: tune_abreast(abreast, shapes, alone))
            return abreast

        return Batches(alone, make, IMAGES)

    def _choose(self, compiled: Compiled, key: str, measure: Callable[[], list[Choice | None]]) -> None:
        """Take the kernels that the plan file knows, or measure, and tell it."""
        plan_file = self._owner[0].plan_file
        known = None if plan_file is None else plan_file.get(key)
        if known is not None and fits(compiled, known):
            apply(compiled, known)
            return
        chosen = measure()
        if plan_file is not None:
            plan_file.put(key, chosen)
