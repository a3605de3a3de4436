"""How does a model become a graph? ``torch.export`` follows it; its nodes are turned into ours."""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, message
from mezzotint.ops.graph import INPUT, WEIGHT, Edge, Graph, Node
from mezzotint.ops.opdef import TensorSpec
from mezzotint.ops.operator import NAMESPACE


def capture_model(model: Any, example_input: Any) -> Graph:
    """See :func:`mezzotint.ops.graph.capture`."""
    if not isinstance(model, nn.Module):
        raise InputError(message("model", received=type(model).__name__, allowed="an nn.Module"))
    program = _exported(model, example_input)
    names = _Names(program)
    nodes = [*_sources(program, names), *_operators(program, names)]
    outputs = _outputs(program, names)
    return Graph(nodes=_needed(nodes, outputs), outputs=outputs, name=type(model).__name__)


def _exported(model: nn.Module, example_input: Any) -> ExportedProgram:
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    try:
        # Without no_grad layers would prepare for a backward pass that never comes. The warnings are torch's own.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            program: ExportedProgram = torch.export.export(model, arguments).run_decompositions({})
    except Exception as error:  # torch.export fails with errors of many types; all mean the same to the user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{type(model).__name__} cannot be captured: {reason} "
            "What a model computes must not depend on the values of tensors; see torch.export's documentation."
        ) from error
    return program


class _Names:
    """What each node of the exported program is called in our graph.

    Parameters and buffers are called as in the state dict; an operator as the module that it is all of
    (``layer1.0.conv1``), or as module and operator where a module has several (``layer1.0.add``).
    """

    def __init__(self, program: ExportedProgram) -> None:
        targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if _named(spec)}
        paths = [_module_path(node) for node in program.graph.nodes if _is_operator(node)]
        calls, parents = Counter(paths), {parent for path in paths for parent in _parents(path)}
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        for node in program.graph.nodes:
            path = _module_path(node)
            if not _is_operator(node):
                self._add(node.name, str(targets.get(node.name) or node.name))
            elif calls[path] == 1 and path not in parents:
                self._add(node.name, path)
            else:
                self._add(node.name, _joined(path, short_name(_operator_name(node.target))))

    def _add(self, node: str, wish: str) -> None:
        free = (wish if not number else f"{wish}_{number}" for number in count())
        name = next(name for name in free if name not in self._taken)
        self._taken.add(name)
        self._names[node] = name

    def of(self, node: fx.Node) -> str:
        """The name of ``node`` in our graph."""
        return self._names[node.name]

    def edge(self, node: fx.Node) -> Edge:
        """The tensor that ``node`` stands for; a ``getitem`` is an output of the node it indexes."""
        if node.target is operator.getitem and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], int):
            return Edge(self.of(node.args[0]), node.args[1])
        return Edge(self.of(node))


def _parents(path: str) -> list[str]:
    """The modules that hold the module at ``path``: ``a.b.c`` lies in ``a.b``, ``a`` and the model itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:depth]) for depth in range(len(parts))]


def _joined(path: str, operator_name: str) -> str:
    """Module and operator; a module that is called like its operator says enough."""
    parts = path.split(".") if path else []
    return path if parts[-1:] == [operator_name] else ".".join([*parts, operator_name])


def _named(spec: InputSpec) -> bool:
    return spec.kind != InputKind.USER_INPUT and hasattr(spec.arg, "name")


def _is_operator(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target is not operator.getitem


def _sources(program: ExportedProgram, names: _Names) -> Iterable[Node]:
    """Inputs, parameters, buffers and constants."""
    kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        spec = kinds[node.name]
        if spec.kind == InputKind.USER_INPUT:
            yield Node(name=names.of(node), operator=INPUT, outputs=_specs(node.meta.get("val")))
            continue
        target = str(spec.target)
        value = program.constants[target] if target in program.constants else program.state_dict[target]
        yield Node(
            name=names.of(node),
            operator=WEIGHT,
            outputs=_specs(value),
            module=target.rpartition(".")[0],
            call=_holding(value),
        )


def _operators(program: ExportedProgram, names: _Names) -> Iterable[Node]:
    for node in program.graph.nodes:
        if node.op == "get_attr":
            value = getattr(program.graph_module, str(node.target))
            yield Node(name=names.of(node), operator=WEIGHT, outputs=_specs(value), call=_holding(value))
        elif _is_operator(node):
            yield Node(
                name=names.of(node),
                operator=_operator_name(node.target),
                arguments=_arguments(node, names),
                outputs=_specs(node.meta.get("val")),
                module=_module_path(node),
                call=_callable(node.target),
            )


def _outputs(program: ExportedProgram, names: _Names) -> Any:
    """The model's own outputs, in its own structure; what ``torch.export`` adds for mutated buffers is left out."""
    returned = next(node for node in program.graph.nodes if node.op == "output").args[0]
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    own = [value for value, kind in zip(returned, kinds, strict=True) if kind == OutputKind.USER_OUTPUT]
    structure = program.call_spec.out_spec
    leaves = [names.edge(value) if isinstance(value, fx.Node) else value for value in own]
    return leaves[0] if structure is None else pytree.tree_unflatten(leaves, structure)


def _needed(nodes: list[Node], outputs: Any) -> tuple[Node, ...]:
    """The inputs, and the nodes on which the outputs depend."""
    by_name = {node.name: node for node in nodes}
    # A node that gathers the outputs finds their edges by the same rule as any other.
    stack = [edge.node for edge in Node(name="", operator="", arguments={"outputs": outputs}).inputs]
    found: set[str] = set()
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += [edge.node for edge in by_name[name].inputs]
    return tuple(node for node in nodes if node.name in found or node.operator == INPUT)


def _arguments(node: fx.Node, names: _Names) -> Mapping[str, Any]:
    """Arguments by their names in the operator's schema."""
    schema = getattr(node.target, "_schema", None)
    known = [argument.name for argument in schema.arguments] if schema is not None else []
    positional = {known[place] if place < len(known) else str(place): value for place, value in enumerate(node.args)}
    given = {**positional, **node.kwargs}
    to_edge: Callable[[fx.Node], Any] = names.edge
    return {name: fx.map_arg(value, to_edge) for name, value in given.items()}


def _callable(target: Any) -> Callable[..., Any]:
    """``target``, called by argument names; what has no schema is called by place."""
    if getattr(target, "_schema", None) is not None:
        return target  # type: ignore[no-any-return]

    def by_place(**arguments: Any) -> Any:
        places = [value for name, value in arguments.items() if name.isdigit()]
        return target(*places, **{name: value for name, value in arguments.items() if not name.isdigit()})

    return by_place


def _operator_name(target: Any) -> str:
    """``"sparse_conv2d"`` for one of ours, ``"aten.relu"`` or ``"aten.add.Tensor"`` for one of PyTorch's."""
    return str(target).removesuffix(".default").removeprefix(f"{NAMESPACE}.")


def short_name(operator_name: str) -> str:
    """The operator's name as people say it: without namespace, overload and the marks of PyTorch's own variants."""
    name = operator_name.split(".")[1] if operator_name.startswith(("aten.", "prims.")) else operator_name
    return "batch_norm" if "batch_norm" in name else name.strip("_")


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""


def _specs(value: Any) -> tuple[TensorSpec, ...]:
    found = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(TensorSpec(tuple(item.shape), item.dtype) for item in found if isinstance(item, Tensor))


def _holding(value: Any) -> Callable[[], Any]:
    return lambda: value
