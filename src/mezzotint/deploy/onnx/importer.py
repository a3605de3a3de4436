"""How does an ONNX model become a graph of PyTorch's modules? Node by node; what cannot be run is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import fx

from mezzotint.deploy.onnx import schema, tensors
from mezzotint.deploy.onnx.builder import Builder
from mezzotint.deploy.onnx.call import Call
from mezzotint.deploy.onnx.freed import FreedBatch
from mezzotint.deploy.onnx.functions import DOMAINS, operator_set, written_out
from mezzotint.deploy.onnx.operators import OPERATORS
from mezzotint.deploy.onnx.value import TRIALS, Refused, Value
from mezzotint.deploy.onnx.wire import Malformed
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import UnsupportedModel, suggest

OPSETS: Final = (7, 28)
"""Oldest and newest version of the operators that the table was checked against."""
_IMAGE_SIDES: Final = (224, 288)
"""Free heights and widths in the trials: what networks that halve five times can take."""
_FREED: Final = "batch that was fixed"
_PRIMES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23)

Shapes = Mapping[str, Sequence[int | None]]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A graph, and what its inputs and outputs are called in the file.

    Attributes:
        computed: for each output, whether any input reaches it.
        freed: the batch, where the file was written for a fixed one and a free one was asked for.
    """

    module: fx.GraphModule
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    computed: tuple[bool, ...]
    freed: FreedBatch | None


def import_graph(model: schema.Model, folder: Path | None, shapes: Shapes | None = None) -> Imported:
    """The graph of a model, with dense modules.

    Args:
        folder: where external data lie; None: nowhere.
        shapes: of inputs, instead of what the file says; None for a free size.

    Raises:
        Malformed: the file contradicts itself.
        UnsupportedModel: naming every node that cannot be run, with the reason.
    """
    if model.graph is None or not model.graph.node + model.graph.output:
        raise Malformed("a model without a graph")
    return _Importer(model, model.graph, folder, dict(shapes or {})).run()


def declared_inputs(model: schema.Model) -> tuple[TensorInfo, ...]:
    """The inputs as the file declares them, constants left out; nothing is read but names and shapes.

    Raises:
        Malformed: there is no graph, or an input is no tensor.
    """
    if model.graph is None:
        raise Malformed("a model without a graph")
    sparse = [one.values.name for one in model.graph.sparse_initializer if one.values is not None]
    constants = {*sparse, *(one.name for one in model.graph.initializer)}
    found = []
    for info in model.graph.input:
        kind = info.type.tensor_type if info.type is not None else None
        if kind is None:
            raise Malformed(f"an input {info.name!r} that is no tensor")
        if info.name not in constants:
            shape = None if kind.shape is None else tuple(one.dim_value for one in kind.shape.dim)
            dtype = str(tensors.dtype_of(kind.elem_type)).removeprefix("torch.")
            found.append(TensorInfo(name=info.name, shape=shape, dtype=dtype))
    return tuple(found)


class _Importer:
    def __init__(self, model: schema.Model, graph: schema.Graph, folder: Path | None, shapes: Shapes) -> None:
        self.model, self.graph, self.folder, self.shapes = model, graph, folder, shapes
        _check_opset(model)
        self.builder = Builder()
        self.values: dict[str, Value | None] = {"": None}
        self.poisoned: set[str] = set()
        self.problems: list[tuple[str, str, str]] = []
        self.free: dict[str, int] = {}
        self.images: FreedBatch | None = None

    def run(self) -> Imported:
        """Read constants, then inputs, then nodes, then outputs."""
        constants = self._constants()
        inputs = [self._input(info) for info in self.graph.input if info.name not in constants]
        unknown = sorted(self.shapes.keys() - {info.name for info in inputs})
        if unknown:
            raise Malformed(f"no input {unknown[0]!r} but {', '.join(info.name for info in inputs)}")
        for node, opset in written_out(self.model, self.graph):
            self._node(node, opset)
        if self.problems:
            raise UnsupportedModel.of(self.problems)
        outputs = [self._output(info) for info in self.graph.output]
        found = [value for _, value in outputs]
        if self.images is not None:
            reasons = [(info.name, self.images.why_not(value)) for info, value in outputs]
            if problems := [(name, "output", reason) for name, reason in reasons if reason is not None]:
                raise UnsupportedModel.of(problems)
        nodes = [self.builder.read(value, info.name) for info, value in outputs]
        self.builder.graph.output(nodes[0] if len(nodes) == 1 else tuple(nodes))
        self.builder.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        module = fx.GraphModule(self.builder.root.eval(), self.builder.graph, "OnnxModel")
        named = zip(self.graph.output, found, strict=True)
        return Imported(
            module=module.eval(),
            inputs=tuple(inputs),
            outputs=tuple(_info(one.name, v) for one, v in named),
            computed=tuple(value.constant is None for value in found),
            freed=self.builder.freed,
        )

    def _constants(self) -> set[str]:
        names: set[str] = set()
        for proto in self.graph.initializer:
            self._constant(proto.name, tensors.read_tensor(proto, self.folder), names)
        for sparse in self.graph.sparse_initializer:
            self._constant(*tensors.read_sparse(sparse, self.folder), names)
        return names

    def _constant(self, name: str, tensor: torch.Tensor, names: set[str]) -> None:
        if not name or name in names:
            raise Malformed(f"two constants of the name {name!r}" if name else "a constant without a name")
        self.values[name] = self.builder.constant(tensor)
        names.add(name)

    def _input(self, info: schema.ValueInfo) -> TensorInfo:
        kind = info.type.tensor_type if info.type is not None else None
        if kind is None or not info.name or info.name in self.values:
            raise Malformed(f"an input {info.name!r} that is no tensor, or is there twice")
        dtype, shape = tensors.dtype_of(kind.elem_type), self._shape(info.name, kind.shape)
        samples = tuple(
            torch.empty(
                [self._trial(size, axis, len(shape), trial) for axis, size in enumerate(shape)],
                dtype=dtype,
                device="meta",
            )
            for trial in range(TRIALS)
        )
        self.values[info.name] = self.builder.input(info.name, samples)
        if self.builder.freed is not None:
            self.images = self.builder.freed
        elif _is_changed(kind.shape, shape) and len({sample.shape[0] for sample in samples}) > 1:
            self.images = FreedBatch(1, tuple(sample.shape[0] for sample in samples))
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        return TensorInfo(name=info.name, shape=sizes, dtype=str(dtype).removeprefix("torch."))

    def _shape(self, name: str, declared: schema.Shape | None) -> list[int | str]:
        """Sizes; the name of a free one, which stands for the same everywhere."""
        if name in self.shapes:
            given = self.shapes[name]
            dims = declared.dim if declared is not None and len(declared.dim) == len(given) else [None] * len(given)
            sizes: list[int | str] = [
                size if size is not None else self._name_of_free(name, axis, dim)
                for axis, (size, dim) in enumerate(zip(given, dims, strict=True))
            ]
        elif declared is None:
            raise Malformed(f"an input {name!r} without a shape: pass shapes={{{name!r}: (None, 3, 224, 224)}}, say")
        else:
            named = enumerate(declared.dim)
            sizes = [
                one.dim_value if one.dim_value is not None else one.dim_param or f"{name} axis {axis}"
                for axis, one in named
            ]
        if len(sizes) > 8 or any(isinstance(size, int) and not 0 <= size < 1 << 24 for size in sizes):
            raise Malformed(f"an input {name!r} of the shape {sizes[:9]}")
        return sizes

    def _name_of_free(self, name: str, axis: int, written: schema.Dimension | None) -> str:
        """The name of an axis that was asked to be free: the file's own, or that of the freed batch."""
        images = written.dim_value if written is not None and axis == 0 else None
        if images and (self.builder.freed is None or self.builder.freed.written == images):
            samples = tuple(self._trial(_FREED, 0, 0, trial) for trial in range(TRIALS))
            self.builder.freed = FreedBatch(images, samples)
            return _FREED
        return (written.dim_param if written is not None else "") or f"{name} axis {axis}"

    def _trial(self, size: int | str, axis: int, rank: int, trial: int) -> int:
        """A size, or what a free one is in a trial: different names, different numbers."""
        if isinstance(size, int):
            return size
        place = self.free.setdefault(size, len(self.free))
        if axis >= 2 and rank >= 3:
            return _IMAGE_SIDES[trial]
        return _PRIMES[(2 * place + trial) % len(_PRIMES)]

    def _node(self, node: schema.Node, opset: int) -> None:
        """Translate one; what reads the result of a refused one is checked for its operator alone."""
        try:
            self._check_reads(node)
            if node.domain not in DOMAINS:
                raise Refused(f"operators of the domain {node.domain!r} are not known")
            if node.op_type not in OPERATORS:
                raise Refused(f"the operator is not known.{suggest(node.op_type, OPERATORS)}".rstrip("."))
            if self.poisoned.intersection(node.input):
                self.poisoned.update(name for name in node.output if name)
                return
            call = Call(node, opset, [self.values[name] for name in node.input], self.builder)
            made = OPERATORS[node.op_type](call)
            if overlooked := call.overlooked():
                raise Refused(f"its attribute {overlooked[0]} is not known")
            results = [made] if isinstance(made, Value) else list(made)
            if call.outputs > len(results):
                raise Refused(f"{call.outputs} results are read, and {len(results)} made")
            self.values.update(zip([*node.output][: len(results)], results, strict=False))
            self.values[""] = None
        except Refused as reason:
            self.problems.append((node.name or (node.output or ["?"])[0], node.op_type, str(reason)))
            self.poisoned.update(name for name in node.output if name)

    def _check_reads(self, node: schema.Node) -> None:
        for name in node.output:
            if name and (name in self.values or name in self.poisoned):
                raise Malformed(f"two nodes that make {name!r}")
        for name in node.input:
            if name not in self.values and name not in self.poisoned:
                place = f"node {node.name or node.op_type!r}"
                raise Malformed(f"the {place} that reads {name!r}, which nothing before it makes")

    def _output(self, info: schema.ValueInfo) -> tuple[schema.ValueInfo, Value]:
        value = self.values.get(info.name)
        if value is None:
            raise Malformed(f"an output {info.name!r} that no node makes")
        return info, value


def _is_changed(declared: schema.Shape | None, shape: Sequence[int | str]) -> bool:
    """Whether a size behind the batch is another than the file says."""
    written = [] if declared is None else declared.dim
    pairs = zip(written[1:], shape[1:], strict=False)
    return any(one.dim_value is not None and one.dim_value != size for one, size in pairs)


def _check_opset(model: schema.Model) -> None:
    version = operator_set(model.opset_import)
    if not OPSETS[0] <= version <= OPSETS[1]:
        raise Malformed(f"operator set {version}; {OPSETS[0]} to {OPSETS[1]} can be read")


def _info(name: str, value: Value) -> TensorInfo:
    return TensorInfo(name=name, shape=value.shape, dtype=str(value.dtype).removeprefix("torch."))
