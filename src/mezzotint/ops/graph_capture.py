"""How does a model become a graph? ``torch.export`` follows it; its nodes are turned into ours."""

from __future__ import annotations

import logging
import operator
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import count
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind
from torch.func import functional_call
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, message
from mezzotint.ops.graph import INPUT, WEIGHT, Edge, Graph, Node, plain_lists
from mezzotint.ops.graph_operator import short_name
from mezzotint.ops.opdef import TensorSpec
from mezzotint.ops.operator import NAMESPACE

#: ``torch.export`` marks the second call of a module in its path.
_CALL: Final = re.compile(r"@\d+$")


def capture_model(model: Any, example_input: Any) -> Graph:
    """See :func:`mezzotint.ops.graph.capture`."""
    if not isinstance(model, nn.Module):
        raise InputError(message("model", received=type(model).__name__, allowed="an nn.Module"))
    title = type(model).__name__
    program = _exported(model, example_input)
    try:
        names = _Names(program)
        nodes = [*_sources(program, names), *_operators(program, names)]
        outputs = _outputs(program, names)
        graph = Graph(nodes=_needed(nodes, outputs), outputs=outputs, name=title, modules=_modules(program, title))
        return graph.validate()
    except InputError as error:
        raise InputError(f"{title} cannot be captured: {error}") from error


def _exported(model: nn.Module, example_input: Any) -> ExportedProgram:
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    try:
        # Without no_grad layers would prepare for a backward pass that never comes. Warnings and logs are torch's own.
        with torch.no_grad(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            program: ExportedProgram = torch.export.export(model, arguments).run_decompositions({})
    except Exception as error:  # torch.export fails with errors of many types; all mean the same to the user
        own = _own_failure(model, arguments)
        if own is not None:
            raise InputError(
                f"{type(model).__name__} cannot be captured: it fails on the example input itself, with "
                f"{type(own).__name__}: {_first_line(own)} Pass a tensor, or a tuple of what its forward takes."
            ) from error
        raise InputError(f"{type(model).__name__} cannot be captured: {_first_line(error)} {_remedy(error)}") from error
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """``torch.export`` logs where it stops and prints what it had by then to stderr; the error says it."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        log.setLevel(before)


def _own_failure(model: nn.Module, arguments: tuple[Any, ...]) -> Exception | None:
    """How the model fails on the arguments when it merely runs, on copies of its state; None when it does not."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    own = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            functional_call(model, {name: value for name, value in state.items() if name in own}, arguments)
    except Exception as error:  # noqa: BLE001  (the model is the user's code)
        return error
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('. ')}." if lines else f"{type(error).__name__}."


#: Words in an error of ``torch.export`` -> what to do.
_REMEDIES: Final = {
    "data-dependent": "A branch or a shape depends on the values of tensors: choose with torch.where, or capture the "
    "parts before and after the branch.",
    "numpy": "It leaves PyTorch for NumPy: compute with tensors throughout.",
    "subclasses": "It leaves PyTorch: compute with tensors throughout.",
}


def _remedy(error: Exception) -> str:
    told = str(error)
    return next(
        (remedy for words, remedy in _REMEDIES.items() if words in told),
        "What a model computes must not depend on the values of tensors; see torch.export's documentation.",
    )


def _modules(program: ExportedProgram, title: str) -> dict[str, str]:
    """Dotted path -> name of the class, of all modules in which an operator was called."""
    found = {"": title}
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            found.setdefault(_CALL.sub("", str(path)), str(getattr(kind, "__name__", kind)).rpartition(".")[2])
    return {path: found[path] for path in sorted(found)}


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
            elif path and calls[path] == 1 and path not in parents:
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
            value=value,
        )


def _operators(program: ExportedProgram, names: _Names) -> Iterable[Node]:
    for node in program.graph.nodes:
        if node.op == "get_attr":
            value = getattr(program.graph_module, str(node.target))
            if isinstance(value, Tensor):  # what is left are the branches of torch.cond and its kin
                yield Node(name=names.of(node), operator=WEIGHT, outputs=_specs(value), value=value)
        elif _is_operator(node):
            _check_target(node)
            yield Node(
                name=names.of(node),
                operator=_operator_name(node.target),
                arguments=_arguments(node, names),
                outputs=_specs(node.meta.get("val")),
                module=_module_path(node),
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
    mapped: dict[str, Any] = plain_lists({name: fx.map_arg(value, to_edge) for name, value in given.items()})
    return mapped


def _check_target(node: fx.Node) -> None:
    """Only operators on tensors are nodes; everything that hangs behind others is looked at as well."""
    if not node.users:
        return  # assertions of torch.export, which nothing reads
    where = f"{str(node.target).removesuffix('.default')} in {_module_path(node) or 'the model itself'}"
    if not isinstance(node.target, torch._ops.OpOverload):
        raise InputError(
            f"it calls {where}, which is control flow or arithmetic of Python and no operator on tensors. "
            "Capture the parts before and after it."
        )
    found = pytree.tree_leaves(node.meta.get("val"))
    if any(isinstance(size, torch.SymInt) for item in found if isinstance(item, Tensor) for size in item.shape):
        raise InputError(
            f"it calls {where}, whose result has a shape that depends on the values of tensors; a graph's shapes are "
            "fixed. Use a mask and torch.where in its place."
        )
    if not all(isinstance(item, Tensor) for item in found):
        raise InputError(f"it calls {where}, which takes a number out of a tensor. Keep it a tensor.")


def _operator_name(target: Any) -> str:
    """``"sparse_conv2d"`` for one of ours, ``"aten.relu"`` or ``"aten.add.Tensor"`` for one of PyTorch's."""
    return str(target).removesuffix(".default").removeprefix(f"{NAMESPACE}.")


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return _CALL.sub("", str(list(stack.values())[-1][0])) if stack else ""


def _specs(value: Any) -> tuple[TensorSpec, ...]:
    found = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(TensorSpec(tuple(item.shape), item.dtype) for item in found if isinstance(item, Tensor))
