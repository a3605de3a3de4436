"""Which shapes do the tensors of a network have? Derived without running it, where the engine knows every node.

Running a network once to see its shapes costs more than compiling it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.roles import Role, Task, factor_of, raw_task, tensor_inputs
from mezzotint.deploy.engine.weights import average_geometry
from mezzotint.errors import ShapeError
from mezzotint.lowering.plan import conv_layer, geometry_of
from mezzotint.lowering.pooling import window_of
from mezzotint.lowering.trace import record_shapes
from mezzotint.sparse import SparseLinear

Shape = tuple[int, ...]


def note_shapes(graph_module: fx.GraphModule, inputs: Sequence[Any]) -> None:
    """What :func:`mezzotint.lowering.trace.record_shapes` notes, without running the network if that can be helped."""
    found = _derived(graph_module, inputs)
    if found is None:
        with torch.autocast("cpu", enabled=False):
            record_shapes(graph_module, tuple(inputs))
        return
    for node, shape in found.items():
        node.meta.update(tensors=True, shape=shape, dtype=torch.float32, device="cpu")


def _derived(graph_module: fx.GraphModule, inputs: Sequence[Any]) -> dict[fx.Node, Shape] | None:
    """Every node's shape; None where one is not known."""
    given = iter(inputs)
    shapes: dict[fx.Node, Shape] = {}
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            value = next(given, None)
            if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.device.type != "cpu":
                return None
            shapes[node] = tuple(value.shape)
        elif node.op == "output":
            node.meta["tensors"] = True
        else:
            task = raw_task(node, graph_module)
            reads = tensor_inputs(node)
            if isinstance(task, str) or not reads:
                return None
            try:
                shapes[node] = _shape(task, node, graph_module, [shapes[read] for read in reads])
            except (ShapeError, ValueError):
                return None  # running it will tell what is wrong
    return shapes


def _shape(task: Task, node: fx.Node, modules: nn.Module, reads: Sequence[Shape]) -> Shape:
    shape = reads[0]
    if task.role in (Role.NORM, Role.ACTIVATION, Role.NOTHING):
        return shape
    if task.role is Role.ADD:
        if reads[0] != reads[1]:
            raise ValueError("shapes that are broadcast")
        return shape
    if task.role is Role.MULTIPLY:
        factor = None if reads[0] == reads[1] else factor_of(*reads)
        if reads[0] != reads[1] and factor is None:
            raise ValueError("shapes that are broadcast")
        return reads[1] if factor == 0 else shape
    if task.role is Role.CONCAT:
        return shape[0], sum(read[1] for read in reads), *shape[2:]
    if task.role is Role.FLATTEN:
        return shape[0], math.prod(shape[1:])
    if task.role is Role.LINEAR:
        layer = modules.get_submodule(str(node.target))
        if not isinstance(layer, (nn.Linear, SparseLinear)) or shape[-1] != layer.in_features:
            raise ValueError("features of another number")
        return *shape[:-1], layer.out_features
    return _image_shape(task, node, modules, shape)


def _image_shape(task: Task, node: fx.Node, modules: nn.Module, shape: Shape) -> Shape:
    batch, channels, height, width = shape
    if task.role is Role.GLOBAL_AVERAGE:
        pixel = node.op == "call_module" or "adaptive" in str(node.target) or bool(node.kwargs.get("keepdim"))
        pixel = pixel or (len(node.args) > 2 and bool(node.args[2]))
        return (batch, channels, 1, 1) if pixel else (batch, channels)
    if task.role is Role.CHANNEL_PAD:
        return batch, channels + sum(task.sizes), height, width
    if task.role is Role.SPREAD:
        return batch, channels, height * task.sizes[0], width * task.sizes[1]
    if task.role is Role.SUBSAMPLE:
        return batch, channels, -(-height // task.sizes[0]), -(-width // task.sizes[1])
    if isinstance(task.pool, nn.MaxPool2d):
        return batch, channels, *window_of(task.pool).output_size((height, width))
    if isinstance(task.pool, nn.AvgPool2d):
        return batch, channels, *average_geometry(task.pool, channels).output_size((height, width))
    geometry = geometry_of(conv_layer(modules.get_submodule(str(node.target))))
    if channels != geometry.weight_shape[1] * geometry.groups:
        raise ValueError("channels of another number")
    return batch, geometry.weight_shape[0], *geometry.output_size((height, width))
