"""Where does a native convolution find its weights? In a sparse layer, or in a dense one, whose weights all count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.sparse import Pattern, SparseConv2d
from mezzotint.sparse.window import DenseWindow

ConvLayer = SparseConv2d | nn.Conv2d


@dataclass(frozen=True, slots=True)
class Weight:
    """A convolution's weight in one forward pass and its backward pass: a layer may have been given another since.

    Attributes:
        parameter: what is differentiated for: the values ``[nnz]`` of a sparse layer, the weight of a dense one.
        pattern: where the values are.
    """

    parameter: Tensor
    pattern: Pattern

    @property
    def values(self) -> Tensor:
        """``[nnz]``, contiguous, without history."""
        return self.parameter.detach().contiguous().view(-1)

    @property
    def both_ways(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values, indices, and the order in which the input gradient reads them."""
        return self.values, self.pattern.indices, self.pattern.transposed

    def like_parameter(self, gradient: Tensor) -> Tensor:
        """The gradient ``[nnz]`` of the values in the shape of :attr:`parameter`."""
        return gradient.view(self.parameter.shape)


class Weights:
    """The weights of ``layer`` as the native kernels take them, read from it anew at every use.

    A dense layer of few input channels, such as a network's first, leaves most of a matrix unit idle; led natively it
    costs less than the conversions that it saves.
    """

    def __init__(self, layer: ConvLayer) -> None:
        self.layer = layer
        self._all = layer.pattern if isinstance(layer, SparseConv2d) else _full_pattern(tuple(layer.weight.shape))

    @property
    def is_sparse(self) -> bool:
        """Whether weights may be missing."""
        return isinstance(self.layer, SparseConv2d)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``[O, I / groups, kh, kw]`` of the dense weight."""
        out, channels, height, width = (
            self.layer.weight_shape if isinstance(self.layer, SparseConv2d) else self.layer.weight.shape
        )
        return out, channels, height, width

    @property
    def parameter(self) -> Tensor:
        """What is differentiated for: the values ``[nnz]`` of a sparse layer, the weight of a dense one."""
        return self.layer.values if isinstance(self.layer, SparseConv2d) else self.layer.weight

    @property
    def now(self) -> Weight:
        """Parameter and pattern."""
        return Weight(self.parameter, self.pattern)

    @property
    def values(self) -> Tensor:
        """``[nnz]``, contiguous, without history."""
        return self.now.values

    @property
    def bias(self) -> Tensor | None:
        """``[O]`` without history, or ``None``."""
        return None if self.layer.bias is None else self.layer.bias.detach()

    @property
    def pattern(self) -> Pattern:
        """Where the values are."""
        return self.layer.pattern if isinstance(self.layer, SparseConv2d) else self._all

    @property
    def training_window(self) -> DenseWindow | None:
        """Where the whole weight gradient is collected just now, if anywhere."""
        return self.layer.training_window if isinstance(self.layer, SparseConv2d) else None


def _full_pattern(shape: tuple[int, ...]) -> Pattern:
    return Pattern(torch.arange(math.prod(shape), dtype=torch.int32), shape)
