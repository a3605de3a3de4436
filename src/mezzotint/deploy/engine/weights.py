"""Which numbers does a step multiply with? A layer's weights with the batch norm behind it folded in, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from mezzotint.deploy.engine.roles import Role
from mezzotint.deploy.engine.steps import EngineStep
from mezzotint.kernels.native_layout import ConvGeometry
from mezzotint.lowering.batch_norm import Normalised, from_running
from mezzotint.lowering.plan import conv_layer, geometry_of
from mezzotint.lowering.weights import Weights
from mezzotint.sparse import SparseConv2d, SparseLinear


@dataclass(frozen=True)
class ConvWeights:
    """A convolution: float32 ``values [nnz]`` at int32 ``indices [nnz]``, ``bias [O]``."""

    geometry: ConvGeometry
    values: Tensor
    indices: Tensor
    bias: Tensor

    @property
    def density(self) -> float:
        """Share of the weights that are there."""
        return self.values.numel() / max(1, torch.Size(self.geometry.weight_shape).numel())


def of_conv(step: EngineStep, modules: nn.Module, channels: int) -> ConvWeights:
    """The weights of a step that is a convolution, or becomes one of a single weight for each of ``channels``."""
    norm = _norm(step.norm, modules)
    if step.conv is not None:
        layer = conv_layer(modules.get_submodule(str(step.conv.target)))
        weights = Weights(layer)
        values, indices = weights.values, weights.pattern.indices
        return _folded(geometry_of(layer), values, indices, weights.bias, norm)
    if step.role is Role.AVERAGE_POOL and isinstance(step.module, nn.AvgPool2d):
        return _average(step.module, channels)
    if step.role is Role.CHANNEL_PAD:
        before, behind = step.sizes
        wide = ConvGeometry((before + channels + behind, channels, 1, 1))
        places = torch.arange(channels, dtype=torch.int32)
        return _folded(wide, torch.ones(channels), (before + places) * channels + places, None, None)
    stride = step.sizes if step.role is Role.SUBSAMPLE else (1, 1)
    geometry = ConvGeometry((channels, 1, 1, 1), stride, groups=channels)
    return _folded(geometry, torch.ones(channels), torch.arange(channels, dtype=torch.int32), None, norm)


def side_by_side(one: ConvWeights, two: ConvWeights) -> ConvWeights:
    """The convolution of one pixel whose result is the sum of two, on the channels of both."""
    rows = one.geometry.weight_shape[1], two.geometry.weight_shape[1]
    row = sum(rows)
    moved = [
        part.indices.numpy() // width * row + first + part.indices.numpy() % width
        for part, width, first in ((one, rows[0], 0), (two, rows[1], rows[0]))
    ]
    indices = np.concatenate(moved)
    order = np.argsort(indices, kind="stable")
    values = np.concatenate([one.values.numpy(), two.values.numpy()])
    geometry = ConvGeometry((one.geometry.weight_shape[0], row, 1, 1))
    joined = torch.from_numpy(values[order]), torch.from_numpy(indices[order].astype(np.int32))
    return ConvWeights(geometry, *joined, one.bias + two.bias)


def of_linear(node: fx.Node, modules: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight ``[O, K]``, the missing ones zero, and bias ``[O]``."""
    layer = modules.get_submodule(str(node.target))
    if not isinstance(layer, (nn.Linear, SparseLinear)):
        raise TypeError(f"{type(layer).__name__} is no linear layer")
    weight = layer.dense_weight() if isinstance(layer, SparseLinear) else layer.weight
    bias = torch.zeros(weight.shape[0]) if layer.bias is None else layer.bias
    return weight.detach().contiguous(), bias.detach()


def density_of(node: fx.Node, modules: nn.Module) -> float | None:
    """Of a sparse layer; None: it is dense."""
    layer = modules.get_submodule(str(node.target))
    return layer.density if isinstance(layer, (SparseConv2d, SparseLinear)) else None


def _norm(node: fx.Node | None, modules: nn.Module) -> nn.BatchNorm2d | None:
    module = None if node is None else modules.get_submodule(str(node.target))
    return module if isinstance(module, nn.BatchNorm2d) else None


def _folded(
    geometry: ConvGeometry, values: Tensor, indices: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | None
) -> ConvWeights:
    out = geometry.weight_shape[0]
    if norm is None:
        return ConvWeights(geometry, values, indices, torch.zeros(out) if bias is None else bias)
    constants: Normalised = from_running(norm, bias)
    row = torch.Size(geometry.weight_shape[1:]).numel()
    # In NumPy: many short operations, for which PyTorch would wake its threads each time.
    ends = np.searchsorted(indices.numpy(), np.arange(1, out + 1) * row)
    counts = np.diff(ends, prepend=0)
    scaled = torch.from_numpy(values.numpy() * np.repeat(constants.scale.numpy(), counts))
    return ConvWeights(geometry, scaled, indices, constants.shift)


def average_geometry(pool: nn.AvgPool2d, channels: int) -> ConvGeometry:
    """The convolution that an average pooling is."""
    vertical, horizontal = _pair(pool.padding)
    padding = (vertical, vertical, horizontal, horizontal)
    return ConvGeometry((channels, 1, *_pair(pool.kernel_size)), _pair(pool.stride), padding, groups=channels)


def _average(pool: nn.AvgPool2d, channels: int) -> ConvWeights:
    geometry = average_geometry(pool, channels)
    count = torch.Size(geometry.weight_shape).numel()
    values = torch.full((count,), channels / count)
    return ConvWeights(geometry, values, torch.arange(count, dtype=torch.int32), torch.zeros(channels))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
