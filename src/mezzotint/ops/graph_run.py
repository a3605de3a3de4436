"""How is a graph run? A ready queue: a node starts when all that it reads is there, and what nobody needs is freed."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, message
from mezzotint.ops.graph import INPUT, SOURCES, WEIGHT, Edge, Graph, Node, Source, as_edge, check_value, edges_in
from mezzotint.ops.graph_operator import Declaration, declaration

Values = tuple[Any, ...]
Watch = Callable[[Node, Values], None]
"""Called after each computed node with the node and the tuple of its outputs."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a run gave.

    Attributes:
        outputs: of the graph, tensors in place of edges; ``None`` when the run ended at a node.
        tensors: what was fetched: edge -> tensor.
        ran: names of the nodes that were computed, in the order in which they ended.
        peak_bytes: the most bytes that computed tensors held at a time. Weights and inputs are not counted, nor views
            of them; scratch memory inside an operator is not seen.
    """

    outputs: Any
    tensors: Mapping[Edge, Tensor]
    ran: tuple[str, ...]
    peak_bytes: int

    def __getitem__(self, source: Source) -> Tensor:
        """The fetched tensor of a node (its output 0) or an edge."""
        edge = as_edge(source)
        if edge not in self.tensors:
            kept = ", ".join(map(str, self.tensors)) or "none"
            raise InputError(message("fetched tensor", received=str(edge), allowed=kept, fix="Name it in fetch=[...]."))
        return self.tensors[edge]


class Executor:
    """Runs a graph, any number of times.

    Each node has a count of the nodes that it still waits for; at zero it joins the queue of those that are ready, in
    which the earliest of the graph goes first. With one thread the result is bit for bit that of the model's own eager
    run, random numbers included; with more, independent branches run side by side, and nodes that draw random numbers
    still take turns in the order of the graph. The caller's grad, inference and autocast modes hold in every thread.

    Args:
        graph: it is ordered once, here, and must be valid.
        threads: nodes at a time, at least 1.
    """

    def __init__(self, graph: Graph, *, threads: int = 1) -> None:
        if threads < 1:
            raise InputError(message("threads", received=threads, allowed="1 or more"))
        self.graph, self.threads = graph, threads
        self.order = graph.order()
        self._calls = {node.name: declaration(node.operator) for node in self.order if node.operator not in SOURCES}
        self._after = _turns(
            [node for node in self.order if node.name in self._calls and self._calls[node.name].is_random]
        )

    def run(
        self, *inputs: Any, watch: Watch | None = None, until: str | None = None, fetch: Sequence[Source] = ()
    ) -> Execution:
        """Compute.

        Args:
            inputs: as the captured model takes them; nested tuples, lists and dicts count their tensors in order.
            watch: called after each computed node, one call at a time; what it raises ends the run.
            until: compute only what this node needs, and it; its outputs are fetched, the graph's are not made.
            fetch: nodes or edges whose tensors are kept.

        Raises:
            InputError: the number of inputs is not that of the input nodes, or a name that is not in the graph.
            ShapeError: an input has another shape or dtype than its node says.
        """
        wanted = [as_edge(source) for source in fetch]
        if until is not None:
            wanted += [self.graph[until][number] for number in range(len(self.graph[until].outputs))]
        for edge in wanted:
            if not 0 <= edge.output < len(self.graph[edge.node].outputs):
                width = len(self.graph[edge.node].outputs)
                raise InputError(message(f"output of {edge.node!r}", received=edge.output, allowed=f"0 to {width - 1}"))
        returned = None if until is not None else self.graph.outputs
        nodes = self.order if until is None else _needed(self.order, {until, *(edge.node for edge in wanted)})
        state = _State(nodes, self._after, returned, wanted)
        state.enter(self._bound(inputs))
        if self.threads == 1:
            self._run_here(state, watch)
        else:
            self._run_in_threads(state, watch)
        return Execution(
            outputs=filled(returned, state.values),
            tensors={edge: state.values[edge.node][edge.output] for edge in wanted},
            ran=tuple(state.ran),
            peak_bytes=state.memory.peak,
        )

    def _bound(self, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Input node name -> its value, checked."""
        given = pytree.tree_leaves(inputs)
        nodes = [node for node in self.graph.nodes if node.operator == INPUT]
        where = self.graph.name
        if len(given) != len(nodes):
            names = ", ".join(node.name for node in nodes) or "none"
            raise InputError(
                message(f"{where}: inputs", received=f"{len(given)} of them", allowed=f"{len(nodes)} ({names})")
            )
        for node, value in zip(nodes, given, strict=True):
            check_value(f"{where}: input {node.name!r}", node.outputs, value)
        return {node.name: value for node, value in zip(nodes, given, strict=True)}

    def _compute(self, node: Node, values: Mapping[str, Values]) -> Values:
        declared = self._calls[node.name]
        arguments = declared.complete({name: filled(value, values) for name, value in node.arguments.items()})
        try:
            result = self._call(node, declared, arguments)
        except Exception as error:  # an operator may fail in any way; say where, and let it be what it is
            error.add_note(f"in node {node.name!r} ({node.operator}) of {self.graph.name}")
            raise
        return tuple(result) if isinstance(result, (list, tuple)) else (result,)

    def _call(self, node: Node, declared: Declaration, arguments: Mapping[str, Any]) -> Any:
        return declared.call(**arguments)

    def _run_here(self, state: _State, watch: Watch | None) -> None:
        while (node := state.next()) is not None:
            state.finish(node, self._compute(node, state.values), watch)

    def _run_in_threads(self, state: _State, watch: Watch | None) -> None:
        modes = _Modes()
        running: dict[Future[Values], Node] = {}

        def job(node: Node, values: Mapping[str, Values]) -> Values:
            with modes.held():
                return self._compute(node, values)

        with ThreadPoolExecutor(self.threads, thread_name_prefix="mezzotint-graph") as pool:
            try:
                while True:
                    while len(running) < self.threads and (node := state.next()) is not None:
                        read = {edge.node: state.values[edge.node] for edge in node.inputs}
                        running[pool.submit(job, node, read)] = node
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        state.finish(running.pop(future), future.result(), watch)
            finally:
                for future in running:
                    future.cancel()


class _State:
    """Where a run stands: pending counts, ready queue, values that are still needed."""

    def __init__(self, nodes: Sequence[Node], after: Mapping[str, str], outputs: Any, wanted: Sequence[Edge]) -> None:
        self.nodes = nodes
        self.values: dict[str, Values] = {}
        self.ran: list[str] = []
        self.memory = _Memory()
        self._place = {node.name: number for number, node in enumerate(nodes)}
        self._readers: dict[str, list[str]] = {node.name: [] for node in nodes}
        self._pending: dict[str, int] = {}
        self._ready: list[int] = []
        self._watched: Watch | None = None
        for node in nodes:
            before = {edge.node for edge in node.inputs}
            if after.get(node.name) in self._place:
                before.add(after[node.name])
            for name in before:
                self._readers[name].append(node.name)
            self._pending[node.name] = len(before)
        self._uses = Counter(edge.node for node in nodes for edge in node.inputs)
        self._uses.update(edge.node for edge in [*edges_in(outputs), *wanted])

    def enter(self, inputs: Mapping[str, Any]) -> None:
        """Take the sources in; whatever waits for nothing is ready."""
        for node in self.nodes:
            if node.operator in SOURCES:
                self.memory.foreign(self._source(node, inputs))
            if not self._pending[node.name]:
                heapq.heappush(self._ready, self._place[node.name])
        self._inputs = inputs

    def next(self) -> Node | None:
        """The earliest node that is ready and must be computed; sources on the way are passed on."""
        while self._ready:
            node = self.nodes[heapq.heappop(self._ready)]
            if node.operator not in SOURCES:
                return node
            self.finish(node, (self._source(node, self._inputs),), None)
        return None

    def finish(self, node: Node, outputs: Values, watch: Watch | None) -> None:
        """Note what a node gave, free what it was the last to read, and let those go that waited for it."""
        self.values[node.name] = outputs
        self.memory.hold(outputs)
        if node.operator not in SOURCES:
            self.ran.append(node.name)
            if watch is not None:
                watch(node, outputs)
        self._uses.subtract(edge.node for edge in node.inputs)
        for name in {node.name, *(edge.node for edge in node.inputs)}:
            if not self._uses[name]:
                self.memory.release(self.values.pop(name))
        for reader in self._readers[node.name]:
            self._pending[reader] -= 1
            if not self._pending[reader]:
                heapq.heappush(self._ready, self._place[reader])

    def _source(self, node: Node, inputs: Mapping[str, Any]) -> Any:
        if node.operator == WEIGHT and node.value is None:
            raise InputError(
                f"the value of the weight {node.name!r} is not known. Give it: "
                f"graph = graph.bind({{{node.name!r}: tensor}})."
            )
        return inputs[node.name] if node.operator == INPUT else node.value


class _Memory:
    """Bytes of the storages that computed tensors hold; views share one."""

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0
        self._held: Counter[int] = Counter()
        self._foreign: set[int] = set()

    def foreign(self, value: Any) -> None:
        """What a source holds is not counted."""
        self._foreign.update(key for key, _ in _storages((value,)))

    def hold(self, values: Values) -> None:
        """Count the storages that were not held before."""
        for key, size in _storages(values):
            if key not in self._foreign:
                self._now += size if not self._held[key] else 0
                self._held[key] += 1
        self.peak = max(self.peak, self._now)

    def release(self, values: Values) -> None:
        """Count them no more."""
        for key, size in _storages(values):
            if key not in self._foreign:
                self._held[key] -= 1
                self._now -= size if not self._held[key] else 0


class _Modes:
    """The caller's thread-local modes, to be set in another thread."""

    def __init__(self) -> None:
        self._grad, self._inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self._casts = {
            device: torch.get_autocast_dtype(device) for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)
        }

    @contextmanager
    def held(self) -> Iterator[None]:
        """In them."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(self._inference))
            stack.enter_context(torch.set_grad_enabled(self._grad))
            for device, dtype in self._casts.items():
                stack.enter_context(torch.autocast(device, dtype=dtype))
            yield


def filled(value: Any, values: Mapping[str, Values]) -> Any:
    """``value`` with tensors in place of edges."""
    return pytree.tree_map(
        lambda leaf: values[leaf.node][leaf.output] if isinstance(leaf, Edge) else leaf,
        value,
        is_leaf=lambda leaf: isinstance(leaf, Edge),
    )


def _storages(values: Values) -> Iterator[tuple[int, int]]:
    for value in values:
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            yield storage._cdata, storage.nbytes()


def _turns(random: Sequence[Node]) -> dict[str, str]:
    """Node that draws random numbers -> the one whose turn is before it."""
    return {later.name: earlier.name for earlier, later in pairwise(random)}


def _needed(order: Sequence[Node], ends: set[str]) -> list[Node]:
    """The nodes on which ``ends`` depend, and they, and all inputs."""
    found = set(ends)
    for node in reversed(order):
        if node.name in found:
            found.update(edge.node for edge in node.inputs)
    return [node for node in order if node.name in found or node.operator == INPUT]
