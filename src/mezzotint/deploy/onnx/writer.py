"""How does a network become an ONNX file? Traced by ``torch.fx``, then written node by node.

The batch is free, and so are sizes of the described input that are None; all else has the input's sizes. Names of
layers are those of the network: the weight of ``layer1.0.conv1`` is the initializer ``layer1.0.conv1.weight``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.description import trial_shapes
from mezzotint.deploy.onnx import schema, tensors, wire
from mezzotint.deploy.onnx.exported import CALLS, MODULES, Refused
from mezzotint.deploy.refusals import check_shape, refused_shape, users_line
from mezzotint.errors import InputError, UnsupportedModel, first_line, message
from mezzotint.lowering.trace import DefaultsTracer, has_hooks
from mezzotint.sparse import Pattern

OPSET: Final = 17
IR_VERSION: Final = 8
_BATCHES: Final = (2, 5)
"""Numbers of images of the two runs that tell what depends on the batch; no free size is as small or in that ratio."""


def write_model(
    model: nn.Module,
    input_shape: Sequence[int | None],
    metadata: Mapping[str, str],
    producer: tuple[str, str],
    patterns: Mapping[str, Pattern] | None = None,
) -> bytes:
    """The bytes of an ONNX file.

    Args:
        model: in evaluation mode, on the CPU, dense.
        input_shape: of one input, without the batch; None for a free size.
        metadata: entries that travel with the model.
        producer: name and version of the program.
        patterns: layer name -> where its weight is stored; such weights become sparse initializers.

    Raises:
        InputError: the network cannot be traced or run.
        UnsupportedModel: naming every part that has no counterpart in ONNX here.
    """
    graph, inputs = _traced(model, input_shape)
    writer = GraphWriter(model, patterns or {})
    problems = []
    for node in graph.nodes:
        try:
            writer.write(node)
        except Refused as reason:
            problems.append((str(node.target), _kind(model, node), str(reason)))
    if problems:
        raise UnsupportedModel.of(problems)
    names = _names_of_free(inputs[0].meta["shapes"])
    made = schema.Graph(
        node=writer.nodes,
        name=type(model).__name__,
        initializer=list(writer.initializers.values()),
        sparse_initializer=list(writer.sparse.values()),
        input=[_declared(node.name, node.meta["shapes"], node.meta["dtype"], names) for node in inputs],
        output=[_declared(name, *kind, names) for name, kind in writer.outputs.items()],
    )
    whole = schema.Model(
        ir_version=IR_VERSION,
        producer_name=producer[0],
        producer_version=producer[1],
        graph=made,
        opset_import=[schema.OperatorSet(version=OPSET)],
        metadata_props=[schema.Entry(key=key, value=value) for key, value in metadata.items()],
    )
    return wire.encode(whole)


class GraphWriter:
    """Collects nodes and weights; what the functions of the table write to."""

    def __init__(self, model: nn.Module, patterns: Mapping[str, Pattern]) -> None:
        self.model, self.patterns = model, patterns
        self.nodes: list[schema.Node] = []
        self.initializers: dict[str, schema.Tensor] = {}
        self.sparse: dict[str, schema.SparseTensor] = {}
        self.outputs: dict[str, tuple[list[tuple[int, ...]], torch.dtype]] = {}
        self.names: dict[fx.Node, str] = {}
        self._count = 0
        self._current = ""

    def write(self, node: fx.Node) -> None:
        """Write what a node does; numbers that follow from sizes are written where they are read."""
        self._current = node.name
        if node.op == "placeholder":
            self.names[node] = node.name
        elif node.op == "get_attr":
            self.names[node] = self.weight(str(node.target), _attribute(self.model, str(node.target)))
        elif node.op == "output":
            self._output(node.args[0])
        elif "shapes" not in node.meta:
            return  # a size, or several tensors of which a later node takes one
        elif node.op == "call_module":
            self._module(node)
        else:
            name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
            found = CALLS.get(node.target) or CALLS.get(name)
            if found is None:
                raise Refused(f"there is no operator for {name or node.target}")
            self.names[node] = found(self, node)

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node of one result, whose name is returned."""
        self._count += 1
        name = f"{self._current}_{self._count}"
        written = [_attribute_of(key, value) for key, value in attributes.items() if value is not None]
        node = schema.Node(op_type=op, input=list(inputs), output=[name], name=f"{op}_{name}", attribute=written)
        self.nodes.append(node)
        return name

    def weight(self, name: str, tensor: Tensor) -> str:
        """A constant under its own name; sparse where the layer has a pattern."""
        owner, _, last = name.rpartition(".")
        if last == "weight" and owner in self.patterns:
            self.sparse[name] = _sparse(name, tensor, self.patterns[owner])
        elif name not in self.initializers:
            self.initializers[name] = tensors.write_tensor(tensor, name)
        return name

    def number(self, tensor: Tensor) -> str:
        """A constant without a name of its own."""
        self._count += 1
        return self.weight(f"{self._current}_constant_{self._count}", tensor)

    def read(self, value: Any, like: fx.Node | None = None) -> str:
        """The name of what a node reads: another node's result, or a number as a constant of the type of ``like``."""
        if isinstance(value, fx.Node):
            if value not in self.names:
                raise Refused(f"it reads {value.name}, which is a size or one of several results")
            return self.names[value]
        if isinstance(value, int | float):
            dtype = torch.float32 if like is None else like.meta["dtype"]
            return self.number(torch.tensor(value, dtype=dtype))
        raise Refused(f"it reads a {type(value).__name__}")

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Sizes of a node's result; -1 where the batch or another free size decides."""
        first, second = node.meta["shapes"]
        return tuple(one if one == other else -1 for one, other in zip(first, second, strict=True))

    def target(self, node: fx.Node, source: fx.Node) -> list[int]:
        """The target of a reshape of ``source`` to the shape of ``node``: -1 is what is left, 0 keeps a free size."""
        found = list(self.shape(node))
        if found.count(-1) > 1:
            before = list(zip(*source.meta["shapes"], strict=True))
            for axis, sizes in enumerate(zip(*node.meta["shapes"], strict=True)):
                if found[axis] == -1 and before[axis : axis + 1] == [sizes]:
                    found[axis] = 0
        if found.count(-1) > 1:
            raise Refused("more than one of its sizes is free, and not as it was before")
        return found

    def scales(self, node: fx.Node, source: fx.Node) -> list[float]:
        """By which the axes of ``source`` grow, from the third on."""
        found = []
        for before, after in zip(source.meta["shapes"], node.meta["shapes"], strict=True):
            found.append([to / size for size, to in zip(before[2:], after[2:], strict=True)])
        if found[0] != found[1]:
            raise Refused("it does not grow by the same factor for inputs of all sizes")
        return found[0]

    def _module(self, node: fx.Node) -> None:
        name = str(node.target)
        module = self.model.get_submodule(name)
        found = MODULES.get(type(module))
        if found is None:
            raise Refused(f"there is no operator for {type(module).__name__}")
        if has_hooks(module):
            raise Refused("it carries hooks, which a file cannot hold")
        self.names[node] = found(self, node, module, name)

    def _output(self, result: Any) -> None:
        if isinstance(result, fx.Node):
            named = {"output": result}
        elif isinstance(result, Mapping):
            named = {str(key): value for key, value in result.items()}
        else:
            named = {f"output_{place}": value for place, value in enumerate(result)}
        for name, node in named.items():
            if not isinstance(node, fx.Node) or "shapes" not in node.meta:
                raise Refused(f"its output {name!r} is no tensor")
            self.nodes.append(
                schema.Node(op_type="Identity", input=[self.read(node)], output=[name], name=f"name_{name}")
            )
            self.outputs[name] = (node.meta["shapes"], node.meta["dtype"])


def _traced(model: nn.Module, input_shape: Sequence[int | None]) -> tuple[fx.Graph, list[fx.Node]]:
    """The graph with shapes and types noted, and its inputs."""
    if has_hooks(model):
        raise InputError("onnx: the network carries hooks, which a file cannot hold.")
    try:
        graph = DefaultsTracer().trace(model)
        module = fx.GraphModule(model, graph)
    except Exception as error:  # tracing runs a user's code on stand-ins, and anything may come of that
        raise _untraceable(model, f"a network that cannot be traced: {first_line(error)}{users_line(error)}") from error
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise _untraceable(model, f"a network of {len(inputs)} inputs ({', '.join(node.name for node in inputs)})")
    runs = [_Recorder(module) for _ in _BATCHES]
    try:
        for recorder, batch, sizes in zip(runs, _BATCHES, trial_shapes(input_shape), strict=True):
            with torch.no_grad():
                recorder.run(torch.zeros(batch, *sizes))
    except Exception as error:  # likewise
        check_shape(model, input_shape)  # on the network itself: the error is then in its own lines
        raise refused_shape(input_shape, error) from error
    for node in graph.nodes:
        results = [run.results[node] for run in runs if node in run.results]
        node.meta["value"] = results[0] if results else None
        if len(results) == len(runs) and all(isinstance(one, Tensor) for one in results):
            node.meta["shapes"], node.meta["dtype"] = [tuple(one.shape) for one in results], results[0].dtype
    return graph, inputs


def _untraceable(model: nn.Module, received: str) -> InputError:
    fix = (
        "Write what depends on the numbers of the input, such as `if x.mean() > 0`, as arithmetic (torch.where, say); "
        "format safetensors needs no tracing, and pt2 follows a little more of Python."
    )
    allowed = "a network of one input that torch.fx can trace"
    return InputError(message(f"onnx: {type(model).__name__}", received=received, allowed=allowed, fix=fix))


class _Recorder(fx.Interpreter):
    """Keeps tensors as shapes and types alone."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.results: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.results[n] = result.to("meta") if isinstance(result, Tensor) else result
        return result


def _kind(model: nn.Module, node: fx.Node) -> str:
    return type(model.get_submodule(str(node.target))).__name__ if node.op == "call_module" else node.op


def _attribute(model: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    found: Tensor = getattr(model.get_submodule(owner), last)
    return found


def _names_of_free(shapes: list[tuple[int, ...]]) -> dict[tuple[int, ...], str]:
    """What a free size of the input is called, by what it was in the two runs."""
    sizes = list(zip(*shapes, strict=True))
    sides = ("height", "width") if len(sizes) == 4 else ()
    known = ["batch", *(f"axis_{axis}" for axis in range(1, len(sizes)))]
    known[2:] = sides or known[2:]
    return {pair: name for pair, name in zip(sizes, known, strict=True) if pair[0] != pair[1]}


def _declared(
    name: str, shapes: list[tuple[int, ...]], dtype: torch.dtype, names: Mapping[tuple[int, ...], str]
) -> schema.ValueInfo:
    sizes = [
        schema.Dimension(dim_value=pair[0])
        if pair[0] == pair[1]
        else schema.Dimension(dim_param=names.get(pair, f"{name}_axis_{axis}"))
        for axis, pair in enumerate(zip(*shapes, strict=True))
    ]
    kind = schema.TensorType(elem_type=tensors.CODES[dtype], shape=schema.Shape(dim=sizes))
    return schema.ValueInfo(name=name, type=schema.Type(tensor_type=kind))


def _attribute_of(name: str, value: Any) -> schema.Attribute:
    if isinstance(value, bool | int):
        return schema.Attribute(name=name, type=2, i=int(value))
    if isinstance(value, float):
        return schema.Attribute(name=name, type=1, f=value)
    if isinstance(value, str):
        return schema.Attribute(name=name, type=3, s=value.encode())
    return schema.Attribute(name=name, type=7, ints=np.array(value, np.int64))


def _sparse(name: str, weight: Tensor, pattern: Pattern) -> schema.SparseTensor:
    indices = pattern.indices.long()
    return schema.SparseTensor(
        values=tensors.write_tensor(weight.detach().reshape(-1)[indices], name),
        indices=tensors.write_tensor(indices, f"{name}_indices"),
        dims=np.array(weight.shape, np.int64),
    )
