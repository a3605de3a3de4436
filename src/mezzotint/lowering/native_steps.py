"""How is a step computed in the native layout? Modules from native tensors to native tensors, and the two converters.

The invariant of a native tensor: its halo, and the lanes behind the last image, hold zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import native_layout, native_pool, passes
from mezzotint.kernels.native_layout import Epilogue, NativeTensor, Sides
from mezzotint.lowering.batch_norm import from_running
from mezzotint.lowering.border import checked_activations, native_type
from mezzotint.lowering.plan import geometry_of
from mezzotint.lowering.pooling import Window
from mezzotint.lowering.weights import ConvLayer, Weights


class SizesDiffer(ShapeError):
    """Two tensors that were of one shape when the network was planned are of different ones in this call."""


class ToNative(nn.Module):
    """Enters the native layout, with the halo that the readers need; in the type of the autocast region, if any."""

    def __init__(self, halo: Sides) -> None:
        super().__init__()
        self.halo = halo

    def forward(self, x: Tensor) -> NativeTensor:
        """``[N, C, H, W]`` of any strides; read at once, since PyTorch may change it afterwards."""
        y = native_layout.to_native(checked_activations(x, native_type((x,))), self.halo)
        passes.settle()
        return y

    def extra_repr(self) -> str:
        """The halo."""
        return f"halo={self.halo}"


class FromNative(nn.Module):
    """Leaves the native layout."""

    def forward(self, x: NativeTensor) -> Tensor:
        """A contiguous ``[N, C, H, W]``, with its numbers: PyTorch may look at them."""
        y = native_layout.from_native(x)
        passes.settle()
        return y


class NativeConv(nn.Module):
    """A convolution, then batch norm, residual and ReLU, in one pass."""

    values: Tensor
    indices: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, layer: ConvLayer, norm: nn.BatchNorm2d | None, relu: bool, halo: Sides) -> None:
        super().__init__()
        weights = Weights(layer)
        self.register_buffer("values", weights.values)
        self.register_buffer("indices", weights.pattern.indices)
        self.register_buffer("bias", weights.bias)
        self.register_buffer("scale", None)
        self.register_buffer("shift", None)
        if norm is not None:
            constants = from_running(norm)
            self.scale, self.shift = constants.scale, constants.shift
        self.relu, self.halo = relu, halo
        self.geometry = geometry_of(layer)

    def forward(self, x: NativeTensor, residual: NativeTensor | None = None) -> NativeTensor:
        """The native result, with this step's halo."""
        if residual is not None:
            height, width = self.geometry.output_size(x.size)
            check_same(residual, (x.batch, self.geometry.weight_shape[0], height, width))
        epilogue = Epilogue(scale=self.scale, shift=self.shift, residual=residual, relu=self.relu)
        return native_layout.conv2d_output(
            x, self.values, self.indices, self.geometry, bias=self.bias, epilogue=epilogue, halo=self.halo
        )

    def extra_repr(self) -> str:
        """Shape, density and epilogue."""
        shape = self.geometry.weight_shape
        kept = self.values.numel() / max(1, torch.Size(shape).numel())
        parts = [f"weight={list(shape)}", f"density={kept:.4g}", f"halo={self.halo}"]
        return ", ".join([*parts, f"norm={self.scale is not None}", f"relu={self.relu}"])


class NativePointwise(nn.Module):
    """Batch norm, residual and ReLU on a tensor that is native already."""

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, norm: nn.BatchNorm2d | None, relu: bool, halo: Sides) -> None:
        super().__init__()
        self.register_buffer("scale", None)
        self.register_buffer("shift", None)
        if norm is not None:
            constants = from_running(norm)
            self.scale, self.shift = constants.scale, constants.shift
        self.relu, self.halo = relu, halo

    def forward(self, x: NativeTensor, residual: NativeTensor | None = None) -> NativeTensor:
        """The native result, with this step's halo."""
        if residual is not None:
            check_same(residual, (x.batch, x.channels, *x.size))
        return native_layout.normalise(
            x, scale=self.scale, shift=self.shift, other=residual, relu=self.relu, halo=self.halo
        )

    def extra_repr(self) -> str:
        """What it does."""
        return f"halo={self.halo}, norm={self.scale is not None}, relu={self.relu}"


class NativeMaxPool(nn.Module):
    """A max pooling."""

    def __init__(self, window: Window, halo: Sides) -> None:
        super().__init__()
        self.window, self.halo = window, halo

    def forward(self, x: NativeTensor) -> NativeTensor:
        """The native result, with this step's halo."""
        return native_pool.max_pool(x, self.window.output_size(x.size), self.window.code, self.halo)


class NativeGlobalAverage(nn.Module):
    """An average over all pixels."""

    def __init__(self, halo: Sides) -> None:
        super().__init__()
        self.halo = halo

    def forward(self, x: NativeTensor) -> NativeTensor:
        """An image of one pixel, with this step's halo."""
        return native_pool.global_average(x, self.halo)


def check_same(residual: NativeTensor, expected: tuple[int, int, int, int]) -> None:
    """A residual must be of the shape that it is added to; sizes other than the example's may break that."""
    received = (residual.batch, residual.channels, *residual.size)
    if received != expected:
        raise SizesDiffer(
            message(
                "residual in the native layout",
                received=list(received),
                allowed=str(list(expected)),
                fix="Lower the model anew for inputs of this size.",
            )
        )
