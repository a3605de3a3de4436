"""What does a network compute, as a graph of operators? Nodes, edges, and how a graph is built, asked, run and drawn.

A node is one operator: it takes 0 or more tensors along edges and yields 0 or more tensors. A graph is pure dataflow:
whatever order respects its edges gives the same result. :func:`capture` makes one from a model; by hand, one adds node
after node, and each is checked against its operator's declaration at once::

    graph = Graph(name="tiny")
    x = graph.input("x", (2, 3), torch.float32)
    halves = graph.add("aten.split.Tensor", x, {"split_size": 1}, name="halves")
    y = graph.add("aten.relu", halves[1], name="y")
    graph.returns(y)
    graph.run(torch.randn(2, 3))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from mezzotint.errors import InputError, ShapeError, message, suggest
from mezzotint.ops.opdef import TensorSpec

if TYPE_CHECKING:
    from mezzotint.ops.graph_profile import Profile
    from mezzotint.ops.graph_run import Execution, Watch

INPUT: Final = "input"
"""Operator of the nodes that stand for the arguments of :meth:`Graph.run`, in order."""
WEIGHT: Final = "weight"
"""Operator of the nodes that hold a parameter, a buffer or a constant tensor."""
SOURCES: Final = (INPUT, WEIGHT)


@dataclass(frozen=True)
class Edge:
    """The tensor that an argument reads: output number ``output`` of the node called ``node``."""

    node: str
    output: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.output}"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator of a graph. Nodes are equal when all but their values are.

    Attributes:
        name: unique in its graph.
        operator: name of one of our operators (``"sparse_conv2d"``), of one of PyTorch's (``"aten.relu"``), ``"input"``
            or ``"weight"``.
        arguments: argument name -> an :class:`Edge`, a list that may hold edges, or any other value (an attribute).
        outputs: shape and dtype of each tensor that comes out.
        module: dotted path of the module it was called in; empty for the model itself.
        value: the tensor of a weight; ``None`` where it is not known (a graph read from JSON) and for all else.
    """

    name: str
    operator: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[TensorSpec, ...] = ()
    module: str = ""
    value: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def inputs(self) -> tuple[Edge, ...]:
        """All edges among the arguments, in order."""
        return tuple(edges_in(self.arguments))

    @property
    def attributes(self) -> dict[str, Any]:
        """The arguments that hold no edge."""
        return {name: value for name, value in self.arguments.items() if not any(edges_in(value))}

    def __getitem__(self, output: int) -> Edge:
        """The edge that leads from output number ``output``."""
        return Edge(self.name, output)


Source = Node | Edge | str
"""What :meth:`Graph.add` reads: an edge, a node (its output 0), or a name (``"conv1"``, ``"halves:1"``)."""


@dataclass(kw_only=True)
class Graph:
    """A dataflow graph of operators. Graphs are equal when name, nodes, order, outputs and modules are.

    Attributes:
        nodes: in any order.
        outputs: what :meth:`run` returns, with an :class:`Edge` in place of each tensor: one edge, or nested tuples,
            lists and dicts of edges and other values.
        name: what it is the graph of.
        modules: dotted path -> name of the module's class; empty where nothing is known.
    """

    nodes: tuple[Node, ...] = ()
    outputs: Any = None
    name: str = "graph"
    modules: Mapping[str, str] = field(default_factory=dict)

    # -- by hand ----------------------------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Node:
        """Add an argument of :meth:`run`: a tensor of exactly this shape and dtype."""
        return self._enter(Node(name=name, operator=INPUT, outputs=(TensorSpec(tuple(shape), dtype),)))

    def weight(self, name: str, value: Tensor, module: str = "") -> Node:
        """Add a tensor that the graph holds."""
        specs = (TensorSpec(tuple(value.shape), value.dtype),)
        return self._enter(Node(name=name, operator=WEIGHT, outputs=specs, module=module, value=value))

    def add(
        self,
        operator: str,
        inputs: Source | Sequence[Source | None] = (),
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        module: str = "",
    ) -> Node:
        """Add a node and check it against its operator's declaration.

        Args:
            operator: ``"sparse_conv2d"``, ``"aten.relu"``, ``"aten.add.Tensor"``.
            inputs: what its tensor arguments read, in declared order; ``None`` for an optional one that is absent. An
                operator whose one input is a list of tensors takes them all.
            attributes: its other arguments by name.
            name: a free one is made from the operator's when it is empty.
            module: dotted path for drawings and text.

        Returns:
            The node; ``node[1]`` is its second output.

        Raises:
            NotRegistered: there is no such operator.
            InputError: the name is taken, an input names no node or no output of it, the inputs are too few or too
                many, an attribute is unknown, missing or not allowed.
            ShapeError: dtypes or shapes do not go together.
        """
        from mezzotint.ops.graph_check import checked_node, free_name, placed

        edges = [None if source is None else as_edge(source) for source in _listed(inputs)]
        arguments = {**placed(operator, edges, name or operator), **plain_lists(dict(attributes or {}))}
        wanted = name or free_name(operator, {node.name for node in self.nodes})
        return self._enter(checked_node(self, Node(name=wanted, operator=operator, arguments=arguments, module=module)))

    def returns(self, outputs: Any) -> Graph:
        """Say what :meth:`run` returns: nodes or edges, nested in tuples, lists and dicts; returns the graph."""
        from torch.utils import _pytree as pytree

        self.outputs = pytree.tree_map(
            lambda leaf: as_edge(leaf) if isinstance(leaf, Node) else leaf,
            outputs,
            is_leaf=lambda leaf: isinstance(leaf, (Node, Edge)),
        )
        return self

    def _enter(self, node: Node) -> Node:
        if any(node.name == other.name for other in self.nodes):
            raise InputError(f"{self.name}: a node called {node.name!r} is there already; choose another name.")
        self.nodes = (*self.nodes, node)
        return node

    # -- asking -----------------------------------------------------------------------------------------------------

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

    def order(self) -> tuple[Node, ...]:
        """The nodes so that each stands behind those it reads; the given order is kept where it may be.

        Raises:
            InputError: two nodes of one name, an edge that leads nowhere, or nodes that read each other in a circle.
        """
        from mezzotint.ops.graph_check import topological_order

        return topological_order(self)

    def validate(self) -> Graph:
        """Check the graph as a whole and every node against its operator's declaration; returns the graph.

        Raises:
            NotRegistered: an operator that neither we nor PyTorch have.
            InputError: as :meth:`order`, or a node whose arguments are not those that its operator declares.
            ShapeError: a producer's dtype or shape that its consumer cannot take, or outputs other than the operator
                makes. Every message names the node at fault.
        """
        from mezzotint.ops.graph_check import validate

        validate(self)
        return self

    def weights(self) -> dict[str, Tensor]:
        """Node name -> value, for every weight whose value is known."""
        return {node.name: node.value for node in self.nodes if node.value is not None}

    def bind(self, values: Mapping[str, Tensor]) -> Graph:
        """The same graph with the values of its weights replaced by name: after reading it from JSON, say.

        Raises:
            InputError: no weight of that name.
            ShapeError: the value has another shape or dtype than the weight.
        """
        known = {node.name: node for node in self.nodes if node.operator == WEIGHT}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{self.name}: no weight {name!r}.{suggest(name, known)}")
            check_value(f"{self.name}: weight {name!r}", known[name].outputs, value)
        nodes = tuple(replace(node, value=values[node.name]) if node.name in values else node for node in self.nodes)
        return replace(self, nodes=nodes)

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, *inputs: Any, watch: Watch | None = None, threads: int = 1) -> Any:
        """Compute the outputs; see :class:`mezzotint.ops.graph_run.Executor`."""
        return self.execute(*inputs, watch=watch, threads=threads).outputs

    def execute(
        self,
        *inputs: Any,
        watch: Watch | None = None,
        until: str | None = None,
        fetch: Sequence[Source] = (),
        threads: int = 1,
    ) -> Execution:
        """Compute, and keep what is asked for; see :meth:`mezzotint.ops.graph_run.Executor.run`."""
        from mezzotint.ops.graph_run import Executor

        return Executor(self, threads=threads).run(*inputs, watch=watch, until=until, fetch=fetch)

    def profile(self, *inputs: Any, repeats: int = 5) -> Profile:
        """Time, bytes, operations, density and kernel of every node; see :mod:`mezzotint.ops.graph_profile`."""
        from mezzotint.ops.graph_profile import profile

        return profile(self, inputs, repeats)

    # -- writing it down --------------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """One line a node: outputs, operator, arguments, module."""
        from mezzotint.ops.graph_text import to_text

        return to_text(self)

    def to_json(self) -> str:
        """The graph as a JSON document, without the values of its weights; see :mod:`mezzotint.ops.graph_json`."""
        from mezzotint.ops.graph_json import to_json

        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Graph:
        """The graph that :meth:`to_json` wrote, validated; an :class:`InputError` says what is wrong with others."""
        from mezzotint.ops.graph_json import from_json

        return from_json(text)

    def to_dot(self, depth: int | None = None) -> str:
        """The graph for Graphviz, with a cluster for each module; ``depth`` as :meth:`to_svg`."""
        from mezzotint.ops.graph_text import to_dot

        return to_dot(self, depth)

    def to_svg(self, *, depth: int | None = None, colour: str = "kind", profile: Profile | None = None) -> str:
        """A self-contained drawing: operators from top to bottom, a box around each module, weights left out.

        Args:
            depth: modules that lie deeper than so many names are drawn as one card each; ``None``: none is.
            colour: of the cards: ``"kind"`` of operator, ``"density"``, ``"bytes"`` written, or ``"time"``.
            profile: needed for ``"time"``; where given, times are written on the cards.
        """
        from mezzotint.ops.graph_svg import to_svg

        return to_svg(self, depth=depth, colour=colour, profile=profile)


def capture(model: Any, example_input: Any) -> Graph:
    """The dataflow graph of ``model`` at the shapes of ``example_input``, by ``torch.export``.

    ``torch.export`` sees what is really computed (operators, ours included, with shapes and types), also where a model
    is written with functions and operators of Python; ``torch.fx.symbolic_trace`` would stop at modules. In-place
    operators are turned into pure ones, so that the edges alone say what depends on what. The graph is validated.

    Args:
        model: any ``nn.Module`` that ``torch.export`` can follow: no branch may depend on the values of tensors. It is
            captured in its present mode; the new running statistics of a model in training mode are not part of the
            graph. A sparse model is captured as it computes in the plain layout (``mz.sparsify(..., layout="plain")``),
            and the graph's outputs are bit for bit those of that layout.
        example_input: a tensor, or a tuple of the model's positional arguments.

    Raises:
        InputError: the model is no module, or cannot be followed; the message says why and what to do.
    """
    from mezzotint.ops.graph_capture import capture_model

    return capture_model(model, example_input)


def edges_in(value: Any) -> Iterator[Edge]:
    """The edges in nested tuples, lists and mappings, in order."""
    if isinstance(value, Edge):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from edges_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from edges_in(item)


def as_edge(source: Source) -> Edge:
    """The edge that ``source`` means; see :data:`Source`."""
    if isinstance(source, Edge):
        return source
    if isinstance(source, Node):
        return Edge(source.name)
    name, colon, output = source.rpartition(":")
    return Edge(name, int(output)) if colon and output.isdecimal() else Edge(source)


def plain_lists(value: Any) -> Any:
    """``value`` with every sequence as a list, so that equal arguments compare equal wherever they come from."""
    if isinstance(value, Mapping):
        return {name: plain_lists(item) for name, item in value.items()}
    return [plain_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def check_value(where: str, specs: tuple[TensorSpec, ...], value: Any) -> None:
    """``value`` must be a tensor of the declared shape and dtype."""
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
                allowed=f"{expected}, as the graph was made for",
                fix="Capture the model anew for other shapes.",
            )
        )


def _listed(inputs: Source | Sequence[Source | None]) -> Sequence[Source | None]:
    return [inputs] if isinstance(inputs, (Node, Edge, str)) else inputs
