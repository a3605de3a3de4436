"""Which messages does an ONNX file consist of? Those parts of onnx.proto that a model for inference needs.

Names and numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; a class ``Node`` is its
``NodeProto``, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mezzotint.deploy.onnx.wire import repeated, single


@dataclass(slots=True)
class Entry:
    """A key with its value: metadata, or where external data lie."""

    key: str = single(1, "string")
    value: str = single(2, "string")


@dataclass(slots=True)
class Tensor:
    """Numbers with their shape, in one of several fields by their type, as raw bytes, or in another file."""

    dims: NDArray[Any] = repeated(1, "int")
    data_type: int = single(2, "int")
    float_data: NDArray[Any] = repeated(4, "float")
    int32_data: NDArray[Any] = repeated(5, "int")
    string_data: list[Any] = repeated(6, "bytes")
    int64_data: NDArray[Any] = repeated(7, "int")
    name: str = single(8, "string")
    raw_data: Any = single(9, "bytes")
    double_data: NDArray[Any] = repeated(10, "double")
    uint64_data: NDArray[Any] = repeated(11, "uint")
    external_data: list[Entry] = repeated(13, Entry)
    data_location: int = single(14, "int")


@dataclass(slots=True)
class SparseTensor:
    """Values and where they stand; everything else is zero. The name is that of the values."""

    values: Tensor | None = single(1, Tensor)
    indices: Tensor | None = single(2, Tensor)
    dims: NDArray[Any] = repeated(3, "int")


@dataclass(slots=True)
class Opaque:
    """A message that is not looked into: a graph within an attribute, or a type that is no tensor."""


@dataclass(slots=True)
class Attribute:
    """A setting of a node; ``type`` says which field holds it."""

    name: str = single(1, "string")
    f: float = single(2, "float")
    i: int = single(3, "int")
    s: Any = single(4, "bytes")
    t: Tensor | None = single(5, Tensor)
    g: Opaque | None = single(6, Opaque)
    floats: NDArray[Any] = repeated(7, "float")
    ints: NDArray[Any] = repeated(8, "int")
    strings: list[Any] = repeated(9, "bytes")
    type: int = single(20, "int")
    ref_attr_name: str = single(21, "string")
    sparse_tensor: SparseTensor | None = single(22, SparseTensor)


@dataclass(slots=True)
class Node:
    """One operator with the names of what it reads and makes; an empty name is an optional one left out."""

    input: list[str] = repeated(1, "string")
    output: list[str] = repeated(2, "string")
    name: str = single(3, "string")
    op_type: str = single(4, "string")
    attribute: list[Attribute] = repeated(5, Attribute)
    domain: str = single(7, "string")


@dataclass(slots=True)
class Dimension:
    """A size, or the name of one that is free; neither: free without a name."""

    dim_value: int | None = single(1, "size")
    dim_param: str = single(2, "string")


@dataclass(slots=True)
class Shape:
    """Of a tensor."""

    dim: list[Dimension] = repeated(1, Dimension)


@dataclass(slots=True)
class TensorType:
    """Of a tensor: what its numbers are, and its shape if that is known."""

    elem_type: int = single(1, "int")
    shape: Shape | None = single(2, Shape)


@dataclass(slots=True)
class Type:
    """Of a value; ours are tensors."""

    tensor_type: TensorType | None = single(1, TensorType)


@dataclass(slots=True)
class ValueInfo:
    """A value's name and type."""

    name: str = single(1, "string")
    type: Type | None = single(2, Type)


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which each finds what it reads."""

    node: list[Node] = repeated(1, Node)
    name: str = single(2, "string")
    initializer: list[Tensor] = repeated(5, Tensor)
    input: list[ValueInfo] = repeated(11, ValueInfo)
    output: list[ValueInfo] = repeated(12, ValueInfo)
    sparse_initializer: list[SparseTensor] = repeated(15, SparseTensor)


@dataclass(slots=True)
class OperatorSet:
    """The version of a domain's operators that the model was written for."""

    domain: str = single(1, "string")
    version: int = single(2, "int")


@dataclass(slots=True)
class Function:
    """Nodes that stand for an operator of the model's own."""

    name: str = single(1, "string")
    input: list[str] = repeated(4, "string")
    output: list[str] = repeated(5, "string")
    node: list[Node] = repeated(7, Node)
    opset_import: list[OperatorSet] = repeated(9, OperatorSet)
    domain: str = single(10, "string")
    attribute_proto: list[Attribute] = repeated(11, Attribute)


@dataclass(slots=True)
class Model:
    """A file."""

    ir_version: int = single(1, "int")
    producer_name: str = single(2, "string")
    producer_version: str = single(3, "string")
    graph: Graph | None = single(7, Graph)
    opset_import: list[OperatorSet] = repeated(8, OperatorSet)
    metadata_props: list[Entry] = repeated(14, Entry)
    functions: list[Function] = repeated(25, Function)
