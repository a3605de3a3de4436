"""How is a step computed in the native layout? Modules from native tensors to native tensors, and the two converters.

The invariant of a native tensor: its halo, and the lanes behind the last image, hold zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import native
from mezzotint.lowering.plan import Sides, padding_of
from mezzotint.sparse import SparseConv2d


@dataclass(frozen=True, slots=True)
class NativeTensor:
    """Activations in the native layout.

    Attributes:
        data: float32 ``[ceil(N/16), top + H + bottom, C, left + W + right, 16]``.
        halo: rows and columns of zeros stored around the image.
        batch: N, the number of images.
    """

    data: Tensor
    halo: Sides
    batch: int

    @property
    def interior(self) -> Tensor:
        """The view ``[ceil(N/16), H, C, W, 16]`` without the halo."""
        top, bottom, left, right = self.halo
        rows, columns = self.data.shape[1], self.data.shape[3]
        return self.data[:, top : rows - bottom, :, left : columns - right]


class ToNative(nn.Module):
    """Enters the native layout, with the halo that the readers need."""

    def __init__(self, halo: Sides) -> None:
        super().__init__()
        self.halo = halo

    def forward(self, x: Tensor) -> NativeTensor:
        """``[N, C, H, W]`` of any strides."""
        if x.dim() != 4 or x.dtype != torch.float32:
            raise ShapeError(
                message(
                    "activations of a lowered model",
                    received=f"{x.dtype} {list(x.shape)}",
                    allowed="float32 batches of images [N, C, H, W], as in the example it was lowered with",
                    fix="Lower the model anew for other inputs.",
                )
            )
        return NativeTensor(native.to_native(x, self.halo), self.halo, x.shape[0])

    def extra_repr(self) -> str:
        """The halo."""
        return f"halo={self.halo}"


class FromNative(nn.Module):
    """Leaves the native layout."""

    def forward(self, x: NativeTensor) -> Tensor:
        """A contiguous ``[N, C, H, W]``."""
        return native.from_native(x.data, x.halo, x.batch)


class NativeConv(nn.Module):
    """A sparse convolution, then batch norm, residual and ReLU, in one pass."""

    values: Tensor
    indices: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, layer: SparseConv2d, norm: nn.BatchNorm2d | None, relu: bool, halo: Sides) -> None:
        super().__init__()
        self.register_buffer("values", layer.values.detach())
        self.register_buffer("indices", layer.pattern.indices)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())
        self.register_buffer("scale", None)
        self.register_buffer("shift", None)
        if norm is not None:
            self.scale, self.shift = folded(norm)
        self.relu, self.halo = relu, halo
        self.weight_shape, self.stride, self.dilation = layer.weight_shape, layer.stride, layer.dilation
        self.padding, self.groups = padding_of(layer), layer.groups

    def forward(self, x: NativeTensor, residual: NativeTensor | None = None) -> NativeTensor:
        """The native result, with this step's halo."""
        height, width = self._output_size(x)
        y = native.empty_native(x.batch, self.weight_shape[0], height, width, self.halo)
        if residual is not None:
            check_same(residual.interior.shape, (y.shape[0], height, self.weight_shape[0], width, y.shape[4]))
        native.conv2d_output_packed(
            x.data,
            x.halo,
            self.values,
            self.indices,
            self.bias,
            y,
            self.halo,
            weight_shape=self.weight_shape,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            batch=x.batch,
            scale=self.scale,
            shift=self.shift,
            residual=None if residual is None else residual.data,
            residual_halo=None if residual is None else residual.halo,
            relu=self.relu,
        )
        return NativeTensor(y, self.halo, x.batch)

    def _output_size(self, x: NativeTensor) -> tuple[int, int]:
        _, height, channels, width, _ = x.interior.shape
        if channels != self.weight_shape[1] * self.groups:
            allowed = f"{self.weight_shape[1] * self.groups}"
            raise ShapeError(message("input channels of a convolution", received=channels, allowed=allowed))
        top, bottom, left, right = self.padding
        spans = [(kernel - 1) * spread + 1 for kernel, spread in zip(self.weight_shape[2:], self.dilation, strict=True)]
        sizes = (
            (height + top + bottom - spans[0]) // self.stride[0] + 1,
            (width + left + right - spans[1]) // self.stride[1] + 1,
        )
        if min(sizes) < 1:
            raise ShapeError(
                message("image size for a convolution", received=f"{height} x {width}", allowed="at least its kernel")
            )
        return sizes

    def extra_repr(self) -> str:
        """Shape, density and epilogue."""
        kept = self.values.numel() / max(1, torch.Size(self.weight_shape).numel())
        parts = [f"weight={list(self.weight_shape)}", f"density={kept:.4g}", f"halo={self.halo}"]
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
            scale, shift = folded(norm)
            self.scale, self.shift = scale.view(-1, 1, 1), shift.view(-1, 1, 1)
        self.relu, self.halo = relu, halo

    def forward(self, x: NativeTensor, residual: NativeTensor | None = None) -> NativeTensor:
        """The native result, with this step's halo."""
        blocks, height, channels, width, lanes = x.interior.shape
        top, bottom, left, right = self.halo
        data = torch.zeros(blocks, top + height + bottom, channels, left + width + right, lanes)
        result = NativeTensor(data, self.halo, x.batch)
        y = result.interior
        if self.scale is not None and self.shift is not None:
            torch.addcmul(self.shift, x.interior, self.scale, out=y)
        else:
            y.copy_(x.interior)
        if residual is not None:
            check_same(residual.interior.shape, y.shape)
            y += residual.interior
        if self.relu:
            y.relu_()
        if x.batch % lanes:
            y[-1, ..., x.batch % lanes :] = 0
        return result

    def extra_repr(self) -> str:
        """What it does."""
        return f"halo={self.halo}, norm={self.scale is not None}, relu={self.relu}"


def folded(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """``scale`` and ``shift``, float32 ``[C]``, with ``norm(x) = x * scale + shift`` for running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm without running statistics cannot be folded")
    # In double precision: the fold must not add an error of its own to the one of applying it.
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return scale.float(), shift.float()


def check_same(received: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """A residual must be of the shape that it is added to; sizes other than the example's may break that."""
    if tuple(received) != tuple(expected):
        raise ShapeError(
            message(
                "residual of a lowered model",
                received=f"native shape {list(received)}",
                allowed=f"{list(expected)}",
                fix="Lower the model anew for inputs of this size.",
            )
        )
