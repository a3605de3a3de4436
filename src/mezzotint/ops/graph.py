"""What does a network compute, as a graph of operators? Nodes, their checks, their order, and a plain executor.

A node is one operator: it takes 0 or more tensors along edges and yields 0 or more tensors. A graph is pure dataflow:
whatever order respects its edges gives the same result. :func:`capture` makes one from a model; by hand, one writes the
nodes down::

    graph = Graph(
        nodes=(
            Node(name="x", operator="input", outputs=(TensorSpec((2, 3), torch.float32),)),
            Node(name="y", operator="aten.relu", arguments={"self": Edge("x")}, call=torch.ops.aten.relu.default),
        ),
        outputs=Edge("y"),
    )
    graph.run(torch.randn(2, 3))
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, ShapeError, message, suggest
from mezzotint.ops.opdef import TensorSpec

INPUT: Final = "input"
"""Operator of the nodes that stand for the arguments of :meth:`Graph.run`, in order."""
WEIGHT: Final = "weight"
"""Operator of the nodes that hold a parameter, a buffer or a constant tensor."""


@dataclass(frozen=True)
class Edge:
    """The tensor that an argument reads: output number ``output`` of the node called ``node``."""

    node: str
    output: int = 0


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator of a graph.

    Attributes:
        name: unique in its graph.
        operator: name of one of our operators (``"sparse_conv2d"``), of one of PyTorch's (``"aten.relu"``), ``"input"``
            or ``"weight"``.
        arguments: argument name -> an :class:`Edge`, a list that may hold edges, or any other value (an attribute).
        outputs: shape and dtype of each tensor that comes out.
        module: dotted path of the module it was called in; empty for the model itself.
        call: computes the outputs from the arguments by name; None for an input.
    """

    name: str
    operator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[TensorSpec, ...] = ()
    module: str = ""
    call: Callable[..., Any] | None = None

    @property
    def inputs(self) -> tuple[Edge, ...]:
        """All edges among the arguments, in order."""
        return tuple(_edges(self.arguments))


Watch = Callable[[Node, tuple[Any, ...]], None]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A dataflow graph of operators.

    Attributes:
        nodes: in any order.
        outputs: what :meth:`run` returns, with an :class:`Edge` in place of each tensor: one edge, or nested tuples,
            lists and dicts of edges and other values.
        name: what it is the graph of.
    """

    nodes: tuple[Node, ...]
    outputs: Any
    name: str = "graph"

    def __getitem__(self, name: str) -> Node:
        """The node called ``name``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise InputError(f"{self.name}: no node {name!r}.{suggest(name, (node.name for node in self.nodes))}")

    def readers(self) -> dict[str, tuple[str, ...]]:
        """Node name -> names of the nodes that read one of its outputs, each once."""
        found: dict[str, dict[str, None]] = {node.name: {} for node in self.nodes}
        for node in self.nodes:
            for edge in node.inputs:
                found[edge.node][node.name] = None
        return {name: tuple(readers) for name, readers in found.items()}

    def validate(self) -> None:
        """Check that names are unique, edges lead somewhere, callable nodes can be called and nothing is in a circle.

        Raises:
            InputError: naming the node at fault.
        """
        self.order()

    def order(self) -> tuple[Node, ...]:
        """The nodes so that each stands behind those it reads; the given order is kept where it may be.

        Raises:
            InputError: as :meth:`validate`.
        """
        self._check_names()
        self._check_edges()
        readers, pending = self.readers(), self._pending()
        by_name = {node.name: node for node in self.nodes}
        ready = deque(node.name for node in self.nodes if not pending[node.name])
        done: list[Node] = []
        while ready:
            node = by_name[ready.popleft()]
            done.append(node)
            for reader in readers[node.name]:
                pending[reader] -= 1
                if not pending[reader]:
                    ready.append(reader)
        if len(done) < len(self.nodes):
            circle = " -> ".join(self._circle({node.name for node in done}))
            raise InputError(f"{self.name}: the nodes {circle} read each other in a circle; a graph must have none.")
        return tuple(done)

    def run(self, *inputs: Any, watch: Watch | None = None) -> Any:
        """Compute the outputs: a node runs when all that it reads is there; tensors are freed when nobody needs them.

        Args:
            inputs: as the captured model takes them; nested tuples, lists and dicts count their tensors in order.
            watch: called after each node with the node and the tuple of its outputs.

        Returns:
            ``outputs`` with the computed tensors in place of the edges.

        Raises:
            InputError: the graph is not valid, or the number of inputs is not that of its input nodes.
            ShapeError: an input has another shape or dtype than its node says.
        """
        order = self.order()  # that of a ready queue: every argument is there when a node's turn comes
        values = self._bound(inputs)
        wanted = Counter(edge.node for node in self.nodes for edge in node.inputs)
        wanted.update(edge.node for edge in _edges(self.outputs))
        for node in order:
            if node.operator != INPUT:
                values[node.name] = _called(node, values)
            if watch is not None:
                watch(node, values[node.name])
            wanted.subtract(edge.node for edge in node.inputs)
            for name in {node.name, *(edge.node for edge in node.inputs)}:
                if not wanted[name]:
                    del values[name]
        return _filled(self.outputs, values)

    def to_text(self) -> str:
        """One line a node: outputs, operator, arguments, module."""
        from mezzotint.ops.graph_text import to_text

        return to_text(self)

    def to_json(self) -> str:
        """The graph as a JSON document (without the values of its weights)."""
        from mezzotint.ops.graph_text import to_json

        return to_json(self)

    def to_dot(self) -> str:
        """The graph for Graphviz, with a cluster for each module."""
        from mezzotint.ops.graph_text import to_dot

        return to_dot(self)

    def to_svg(self) -> str:
        """A self-contained drawing: operators from top to bottom, a box around each module, weights left out."""
        from mezzotint.ops.graph_svg import to_svg

        return to_svg(self)

    def _check_names(self) -> None:
        for name, times in Counter(node.name for node in self.nodes).items():
            if times > 1:
                raise InputError(f"{self.name}: {times} nodes are called {name!r}; every node needs a name of its own.")

    def _check_edges(self) -> None:
        widths = {node.name: len(node.outputs) for node in self.nodes}
        for node in self.nodes:
            if node.call is None and node.operator != INPUT:
                raise InputError(f"{self.name}: node {node.name!r} ({node.operator}) has nothing to call.")
            for edge in node.inputs:
                self._check_edge(f"node {node.name!r}", edge, widths)
        for edge in _edges(self.outputs):
            self._check_edge("the output", edge, widths)

    def _check_edge(self, reader: str, edge: Edge, widths: Mapping[str, int]) -> None:
        if edge.node not in widths:
            hint = suggest(edge.node, widths)
            raise InputError(f"{self.name}: {reader} reads {edge.node!r}, but there is no such node.{hint}")
        if widths[edge.node] and not 0 <= edge.output < widths[edge.node]:
            raise InputError(
                message(
                    f"{self.name}: {reader} reads an output of {edge.node!r}",
                    received=edge.output,
                    allowed=f"0 to {widths[edge.node] - 1}",
                )
            )

    def _pending(self) -> dict[str, int]:
        """Node name -> number of nodes that it reads."""
        return {node.name: len({edge.node for edge in node.inputs}) for node in self.nodes}

    def _circle(self, done: set[str]) -> list[str]:
        """A circle among the nodes that never became ready: each of them reads another such node."""
        stuck = {node.name: node for node in self.nodes if node.name not in done}
        path = [next(iter(stuck))]
        while True:
            read = next(edge.node for edge in stuck[path[-1]].inputs if edge.node in stuck)
            if read in path:
                return [read, *reversed(path[path.index(read) :])]
            path.append(read)

    def _bound(self, inputs: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
        """Input node name -> its value, checked."""
        given = pytree.tree_leaves(inputs)
        nodes = [node for node in self.nodes if node.operator == INPUT]
        if len(given) != len(nodes):
            names = ", ".join(node.name for node in nodes) or "none"
            raise InputError(
                message(f"{self.name}: inputs", received=f"{len(given)} of them", allowed=f"{len(nodes)} ({names})")
            )
        for node, value in zip(nodes, given, strict=True):
            _check_input(f"{self.name}: input {node.name!r}", node.outputs, value)
        return {node.name: (value,) for node, value in zip(nodes, given, strict=True)}


def capture(model: Any, example_input: Any) -> Graph:
    """The dataflow graph of ``model`` at the shapes of ``example_input``, by ``torch.export``.

    ``torch.export`` sees what is really computed (operators, ours included, with shapes and types), also where a model
    is written with functions and operators of Python; ``torch.fx.symbolic_trace`` would stop at modules. In-place
    operators are turned into pure ones, so that the edges alone say what depends on what.

    Args:
        model: any ``nn.Module`` that ``torch.export`` can follow: no branch may depend on the values of tensors. It is
            captured in its present mode; the new running statistics of a model in training mode are not part of the
            graph.
        example_input: a tensor, or a tuple of the model's positional arguments.

    Raises:
        InputError: the model is no module, or cannot be followed; the message says where.
    """
    from mezzotint.ops.graph_capture import capture_model

    return capture_model(model, example_input)


def _edges(value: Any) -> Iterator[Edge]:
    if isinstance(value, Edge):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _edges(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _edges(item)


def _filled(value: Any, values: Mapping[str, tuple[Any, ...]]) -> Any:
    """``value`` with tensors in place of edges."""
    return pytree.tree_map(
        lambda leaf: values[leaf.node][leaf.output] if isinstance(leaf, Edge) else leaf,
        value,
        is_leaf=lambda leaf: isinstance(leaf, Edge),
    )


def _called(node: Node, values: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    if node.call is None:
        raise InputError(f"node {node.name!r} ({node.operator}) has nothing to call.")
    result = node.call(**{name: _filled(value, values) for name, value in node.arguments.items()})
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def _check_input(where: str, specs: tuple[TensorSpec, ...], value: Any) -> None:
    if not specs:
        return
    expected = f"{specs[0].dtype} {list(specs[0].shape)}"
    if not isinstance(value, Tensor):
        raise ShapeError(message(where, received=type(value).__name__, allowed=f"a tensor, {expected}"))
    if tuple(value.shape) != specs[0].shape or value.dtype != specs[0].dtype:
        raise ShapeError(
            message(
                where,
                received=f"{value.dtype} {list(value.shape)}",
                allowed=f"{expected}, as it was captured",
                fix="Capture the model anew for other shapes.",
            )
        )
