"""Where does a network's time go? Every node of a graph, timed and counted on real tensors, with the kernel it ran."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from mezzotint.errors import InputError, message
from mezzotint.kernels.decision import Decision
from mezzotint.ops.graph import Edge, Graph, Node, edges_in
from mezzotint.ops.graph_check import stand_ins
from mezzotint.ops.graph_operator import Declaration, declaration
from mezzotint.ops.graph_run import Executor
from mezzotint.ops.opdef import TensorSpec

#: Told as the kernel of PyTorch's own operators, which choose inside.
TORCH: Final = "torch"

#: Tells the time in seconds. Tests put a clock of their own here.
clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, kw_only=True)
class NodeProfile:
    """One node, measured and counted.

    Attributes:
        name, operator, module: of the node.
        shape: of its first output.
        seconds: median of the repeats.
        bytes_in: of the tensors that it reads, weights included, each once; bytes_out: of those that it makes.
        flops: floating-point operations (a multiply-add is two) of the dense computation; 0 for operators that are not
            made of multiply-adds.
        effective_flops: those on active weights: flops times density.
        nnz, density: of its weight; ``None`` where the operator declares none.
        kernel: that ran; ``"torch"`` for PyTorch's own operators.
        reason: the launcher's sentence why.
    """

    name: str
    operator: str
    module: str
    shape: tuple[int, ...]
    seconds: float
    bytes_in: int
    bytes_out: int
    flops: int
    effective_flops: int
    nnz: int | None
    density: float | None
    kernel: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A graph's nodes, measured one after the other.

    Attributes:
        graph: name.
        nodes: the computed nodes in running order.
        repeats: timed runs, after one that is not.
        threads: that every operator could use.
        peak_bytes: see :class:`mezzotint.ops.graph_run.Execution`.
    """

    graph: str
    nodes: tuple[NodeProfile, ...]
    repeats: int
    threads: int
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """The sum over all nodes."""
        return sum(node.seconds for node in self.nodes)

    def __getitem__(self, name: str) -> NodeProfile:
        """The node called ``name``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise InputError(f"{self.graph}: no computed node {name!r}.")

    def to_text(self, top: int | None = None) -> str:
        """A table, in running order; with ``top`` the slowest ones first, and no more of them."""
        from mezzotint.ops.graph_table import profile_text

        return profile_text(self, top)

    def to_json(self) -> str:
        """The whole profile as a JSON document."""
        return json.dumps({"format": "mezzotint-profile", "version": 1, **asdict(self)}, indent=1)


def profile(graph: Graph, inputs: Sequence[Any], repeats: int = 5) -> Profile:
    """Run ``graph`` once to warm up and choose kernels, then ``repeats`` times with a clock around every node.

    Nodes run one after the other under ``torch.no_grad``, so that each has the whole machine: what is measured is
    inference in the plain layout. The launcher's policy decides kernels as in any run.

    Raises:
        InputError: ``repeats`` below 1, and as :meth:`mezzotint.ops.graph.Graph.run`.
    """
    if repeats < 1:
        raise InputError(message("repeats", received=repeats, allowed="1 or more"))
    executor = _Timed(graph)
    with torch.no_grad():
        warm = executor.run(*inputs)
        chosen = dict(executor.decisions)
        samples: dict[str, list[float]] = {name: [] for name in warm.ran}
        for _ in range(repeats):
            executor.run(*inputs)
            for name, seconds in executor.seconds.items():
                samples[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    specs = {node[number]: spec for node in graph.nodes for number, spec in enumerate(node.outputs)}
    fake = FakeTensorMode()
    nodes = tuple(
        _profiled(node, specs, medians[node.name], chosen.get(node.name), fake)
        for node in executor.order
        if node.name in medians
    )
    return Profile(
        graph=graph.name,
        nodes=nodes,
        repeats=repeats,
        threads=torch.get_num_threads(),
        peak_bytes=warm.peak_bytes,
    )


class _Timed(Executor):
    """An executor that notes each node's time, and on its first run the launcher's decisions."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.seconds: dict[str, float] = {}
        self.decisions: dict[str, Decision] = {}
        self._warm = False

    def run(self, *inputs: Any, **options: Any) -> Any:
        made = super().run(*inputs, **options)
        self._warm = True
        return made

    def _call(self, node: Node, declared: Declaration, arguments: Mapping[str, Any]) -> Any:
        if not self._warm and declared.ours is not None:
            rest = dict(arguments)
            tensors = [rest.pop(argument.name) for argument in declared.ours.definition.inputs]
            self.decisions[node.name] = declared.ours.decision(*tensors, **rest)
        start = clock()
        made = super()._call(node, declared, arguments)
        if _on_a_gpu(made):
            torch.cuda.synchronize()
        self.seconds[node.name] = clock() - start
        return made


def _on_a_gpu(made: Any) -> bool:
    return any(isinstance(item, torch.Tensor) and item.is_cuda for item in pytree.tree_leaves(made))


def _profiled(
    node: Node, specs: Mapping[Edge, TensorSpec], seconds: float, decision: Decision | None, fake: FakeTensorMode
) -> NodeProfile:
    declared = declaration(node.operator)
    nnz, numel = weight_counts(node, declared, specs)
    density = None if nnz is None or not numel else nnz / numel
    flops = _flops(node, declared, specs, numel, fake)
    return NodeProfile(
        name=node.name,
        operator=node.operator,
        module=node.module,
        shape=tuple(node.outputs[0].shape) if node.outputs else (),
        seconds=seconds,
        bytes_in=sum(spec_bytes(specs[edge]) for edge in dict.fromkeys(node.inputs)),
        bytes_out=sum(spec_bytes(spec) for spec in node.outputs),
        flops=flops,
        effective_flops=flops if density is None else round(flops * density),
        nnz=nnz,
        density=density,
        kernel=TORCH if decision is None else decision.kernel.name,
        reason="PyTorch chooses inside" if decision is None else decision.reason,
    )


def spec_bytes(spec: TensorSpec) -> int:
    """Bytes of a tensor, its elements stored once each."""
    return int(math.prod(spec.shape)) * spec.dtype.itemsize


def weight_counts(node: Node, declared: Declaration, specs: Mapping[Edge, TensorSpec]) -> tuple[int | None, int]:
    """(active weights, weights of the dense twin) of a node whose operator declares its density; else (None, 0)."""
    density_of = None if declared.ours is None else declared.ours.definition.density_of
    if density_of is None:
        return None, 0
    values, weight_shape = density_of
    edge = next(edges_in(node.arguments.get(values)), None)
    return (None if edge is None else specs[edge].shape[0]), math.prod(node.arguments[weight_shape])


def _flops(
    node: Node, declared: Declaration, specs: Mapping[Edge, TensorSpec], numel: int, fake: FakeTensorMode
) -> int:
    """Of the dense computation; see :class:`NodeProfile`."""
    if declared.ours is None:
        with torch.no_grad(), fake, FlopCounterMode(display=False) as counter:
            declared.call(**declared.complete(stand_ins(node, specs)))
        return int(counter.get_total_flops())
    shape = node.arguments.get("weight_shape")
    if not numel:
        weight = node.arguments.get("weight")
        shape = list(specs[weight].shape) if isinstance(weight, Edge) else shape
    if not shape:
        return 0
    # Every weight is used once for each position of the output, or of its gradient: its elements, channels aside.
    positions = node.arguments.get("gy")
    output = specs[positions] if isinstance(positions, Edge) else node.outputs[0]
    return int(2 * math.prod(shape) * (math.prod(output.shape) // shape[0] if shape[0] else 0))
