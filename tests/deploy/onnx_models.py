"""Which ONNX models do the tests read? Written by our own encoder, so that no package is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.deploy.onnx import schema, tensors, wire

FLOAT, INT, STRING, TENSOR, FLOATS, INTS = 1, 2, 3, 4, 6, 7


def attribute(name: str, value: Any) -> schema.Attribute:
    """An attribute of the type that ``value`` has."""
    if isinstance(value, float):
        return schema.Attribute(name=name, type=FLOAT, f=value)
    if isinstance(value, int):
        return schema.Attribute(name=name, type=INT, i=value)
    if isinstance(value, str):
        return schema.Attribute(name=name, type=STRING, s=value.encode())
    if isinstance(value, Tensor):
        return schema.Attribute(name=name, type=TENSOR, t=tensors.write_tensor(value))
    if all(isinstance(one, int) for one in value):
        return schema.Attribute(name=name, type=INTS, ints=np.array(value, np.int64))
    return schema.Attribute(name=name, type=FLOATS, floats=np.array(value, np.float32))


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> schema.Node:
    """A node; inputs and outputs are written as one text, "_" for one that is left out."""
    reads = ["" if word == "_" else word for word in inputs.split()]
    written = [attribute(key, value) for key, value in attributes.items()]
    return schema.Node(op_type=op, input=reads, output=outputs.split(), name=name, attribute=written)


def declared(name: str, shape: Sequence[int | str | None], dtype: torch.dtype = torch.float32) -> schema.ValueInfo:
    """An input or output; a size may be free, with or without a name."""
    sizes = [
        schema.Dimension(dim_value=one) if isinstance(one, int) else schema.Dimension(dim_param=one or "")
        for one in shape
    ]
    kind = schema.TensorType(elem_type=tensors.CODES[dtype], shape=schema.Shape(dim=sizes))
    return schema.ValueInfo(name=name, type=schema.Type(tensor_type=kind))


def model(
    nodes: Sequence[schema.Node],
    inputs: dict[str, Sequence[int | str | None]],
    outputs: str,
    constants: dict[str, Tensor] | None = None,
    opset: int = 17,
    dtype: torch.dtype = torch.float32,
) -> schema.Model:
    """A model of these nodes."""
    graph = schema.Graph(
        node=list(nodes),
        name="test",
        initializer=[tensors.write_tensor(tensor, name) for name, tensor in (constants or {}).items()],
        input=[declared(name, shape, dtype) for name, shape in inputs.items()],
        output=[declared(name, ()) for name in outputs.split()],
    )
    return schema.Model(ir_version=8, graph=graph, opset_import=[schema.OperatorSet(domain="", version=opset)])


def small_network(density: float = 1.0) -> schema.Model:
    """Two convolutions with batch norm, a residual sum, poolings, a reshape of computed shape, and a linear layer."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        weight = torch.randn(*shape, generator=generator) * 0.3
        return weight * (torch.rand(*shape, generator=generator) < density)

    constants = {
        "conv1.weight": drawn(8, 3, 3, 3),
        "conv2.weight": drawn(8, 8, 3, 3),
        "bn.weight": torch.rand(8, generator=generator) + 0.5,
        "bn.bias": torch.randn(8, generator=generator),
        "bn.mean": torch.randn(8, generator=generator) * 0.1,
        "bn.var": torch.rand(8, generator=generator) + 0.5,
        "fc.weight": drawn(5, 8),
        "fc.bias": torch.randn(5, generator=generator),
        "zero": torch.tensor(0),
        "rest": torch.tensor([-1]),
        "first": torch.tensor([0]),
    }
    nodes = [
        node("Conv", "image conv1.weight", "c1", "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c1 bn.weight bn.bias bn.mean bn.var", "b1", "bn", epsilon=1e-5),
        node("Relu", "b1", "r1", "relu1"),
        node("Conv", "r1 conv2.weight", "c2", "conv2", auto_pad="SAME_UPPER"),
        node("Add", "c2 r1", "sum", "add"),
        node("Relu", "sum", "r2", "relu2"),
        node("MaxPool", "r2", "pooled", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "pooled", "mean", "gap"),
        node("Shape", "image", "shape", "shape"),
        node("Gather", "shape zero", "batch", "gather", axis=0),
        node("Unsqueeze", "batch first", "batches", "unsqueeze"),
        node("Concat", "batches rest", "wanted", "concat", axis=0),
        node("Reshape", "mean wanted", "flat", "reshape"),
        node("Gemm", "flat fc.weight fc.bias", "logits", "fc", transB=1),
    ]
    return model(nodes, {"image": ("N", 3, 8, 8)}, "logits", constants)


def many_operators() -> schema.Model:
    """One node of each kind that has windows, axes, sizes or indices to get wrong."""
    generator = torch.Generator().manual_seed(4)
    constants = {
        "w1": torch.randn(6, 1, 3, 3, generator=generator),
        "w2": torch.randn(6, 3, 2, 2, generator=generator),
        "scale": torch.rand(6, generator=generator) + 0.5,
        "step": torch.tensor(0.1),
        "zero": torch.tensor(3, dtype=torch.uint8),
        "pads": torch.tensor([0, 0, 1, 2, 0, 0, 0, 1]),
        "scales": torch.tensor([1.0, 1.0, 2.0, 1.5]),
        "sizes": torch.tensor([2, 4]),
        "starts": torch.tensor([1, -1]),
        "ends": torch.tensor([9, -9]),
        "axes": torch.tensor([2, 3]),
        "steps": torch.tensor([2, -1]),
        "places": torch.tensor([[0, -1], [2, 1]]),
        "shape": torch.tensor([0, 2, -1]),
        "wide": torch.tensor([1, 2, 1]),
        "repeats": torch.tensor([1, 1, 2]),
    }
    nodes = [
        node("Conv", "image w1", "a", group=3, strides=[1, 2], auto_pad="SAME_LOWER"),
        node("ConvTranspose", "a w2", "b", group=2, strides=[2, 2], output_padding=[1, 0], pads=[0, 1, 1, 0]),
        node("InstanceNormalization", "b scale scale", "c"),
        node("Pad", "c pads", "d", mode="reflect"),
        node(
            "AveragePool",
            "d",
            "e",
            kernel_shape=[3, 2],
            strides=[2, 1],
            pads=[1, 0, 1, 1],
            ceil_mode=1,
            count_include_pad=1,
        ),
        node("MaxPool", "e", "f", kernel_shape=[2, 2], dilations=[1, 2], pads=[0, 1, 1, 1]),
        node("LpPool", "f", "g", kernel_shape=[2, 2], p=2),
        node("Resize", "g _ scales", "h", mode="cubic", coordinate_transformation_mode="half_pixel", exclude_outside=1),
        node("QuantizeLinear", "h step zero", "i"),
        node("DequantizeLinear", "i step zero", "j"),
        node("Split", "j sizes", "k rest", axis=1),
        node("Slice", "rest starts ends axes steps", "l"),
        node("Gather", "l places", "m", axis=1),
        node("ReduceMax", "m", "n", axes=[2], keepdims=0),
        node("ArgMax", "n", "o", axis=-1, keepdims=0, select_last_index=1),
        node("Cast", "o", "p", to=1),
        node("Transpose", "k", "q", perm=[0, 2, 3, 1]),
        node("LRN", "k", "lrn", size=3),
        node("Softmax", "lrn", "s", axis=1),
        node("Flatten", "s", "t", axis=2),
        node("ReduceMean", "q", "u", axes=[1, 2], keepdims=0),
        node("Reshape", "u shape", "v"),
        node("Expand", "v wide", "x"),
        node("Tile", "x repeats", "y"),
        node("ReduceSum", "y", "z", keepdims=0),
        node("Clip", "t step", "clipped"),
        node("LayerNormalization", "u step", "normed", axis=-1),
    ]
    return model(nodes, {"image": ("N", 3, 12, 10)}, "z p clipped normed", constants)


def content(made: schema.Model) -> bytes:
    """The bytes of a model."""
    return wire.encode(made)
