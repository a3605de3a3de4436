"""How does a layer compute with nonzeros only? ``SparseConv2d`` and ``SparseLinear``: values, a pattern, nothing dense.

Each holds one ``nn.Parameter`` of ``[nnz]`` master values and a :class:`Pattern`. Any optimiser therefore keeps state
of ``[nnz]``, and gradients are ``[nnz]`` too. The arithmetic is :func:`mezzotint.ops.sparse_conv2d` and
:func:`mezzotint.ops.sparse_linear`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import ops
from mezzotint.errors import InputError, message
from mezzotint.precision import half_forward
from mezzotint.sparse.geometry import explicit_padding, pair, reversed_padding
from mezzotint.sparse.layer import SparseLayer
from mezzotint.sparse.pattern import Pattern


class SparseConv2d(SparseLayer):
    """A 2-D convolution of which only the active weights exist; arguments as ``torch.nn.Conv2d``, and ``density``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as in
            ``torch.nn.Conv2d``; ``padding`` is an int, a pair, "same" or "valid"; ``padding_mode`` is "zeros",
            "reflect", "replicate" or "circular".
        density: fraction of active weights in (0, 1], placed at random. Give this or ``pattern``.
        pattern: the active weights, of shape ``[out_channels, in_channels / groups, kh, kw]``.
        generator: CPU generator for positions and values; torch's own when None.
        device, dtype: of the values (default float32) and the bias.

    Input ``[N, C, H, W]`` or ``[C, H, W]``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        density: float | None = None,
        pattern: Pattern | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_channels(in_channels, out_channels, groups)
        kernel = pair(kernel_size, "kernel_size", 1)
        shape = (out_channels, in_channels // groups, *kernel)
        super().__init__(shape, bias, density, pattern, generator, device, dtype)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.dilation, self.groups = pair(stride, "stride", 1), pair(dilation, "dilation", 1), groups
        self.padding = padding if isinstance(padding, str) else pair(padding, "padding", 0)
        self.padding_mode = padding_mode
        self._padding = explicit_padding(self.padding, padding_mode, kernel, self.stride, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, out_channels, OH, OW]``; without N likewise."""
        if x.dim() == 3:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        padding = self._padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, reversed_padding(padding), mode=self.padding_mode), ((0, 0), (0, 0))
        geometry: dict[str, Any] = {
            "stride": self.stride,
            "padding": padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        y: Tensor = ops.sparse_conv2d(x, self.values, self._pattern, self.bias, **geometry)
        if (window := self._window_for(y)) is not None:
            seen, shape = half_forward.operand(x.detach()), self.weight_shape
            window.watch(y, self.values, lambda gy: ops.conv2d_weight_grad(seen.to(gy.dtype), gy, shape, **geometry))
        return y

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, and the density."""
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
        parts += [f"{name}={getattr(self, name)!r}" for name, usual in defaults.items() if getattr(self, name) != usual]
        return ", ".join([*parts, *([] if self.bias is not None else ["bias=False"]), self._density_text()])


class SparseLinear(SparseLayer):
    """A linear layer of which only the active weights exist; arguments as ``torch.nn.Linear``, and ``density``.

    Args:
        in_features, out_features, bias: as in ``torch.nn.Linear``.
        density: fraction of active weights in (0, 1], placed at random. Give this or ``pattern``.
        pattern: the active weights, of shape ``[out_features, in_features]``.
        generator, device, dtype: as in :class:`SparseConv2d`.

    Input ``[..., in_features]``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        density: float | None = None,
        pattern: Pattern | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__((out_features, in_features), bias, density, pattern, generator, device, dtype)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_features]`` to ``[..., out_features]``."""
        y: Tensor = ops.sparse_linear(x, self.values, self._pattern, self.bias)
        if (window := self._window_for(y)) is not None:
            seen = half_forward.operand(x.detach())
            window.watch(y, self.values, lambda gy: _linear_weight_grad(seen.to(gy.dtype), gy))
        return y

    def extra_repr(self) -> str:
        """The sizes and the density."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {self._density_text()}"


def _linear_weight_grad(x: Tensor, output_grad: Tensor) -> Tensor:
    """``gy^T x`` over all leading axes. The operands may be 16-bit, the sum is at least FP32."""
    wide = torch.promote_types(output_grad.dtype, torch.float32)
    return output_grad.reshape(-1, output_grad.shape[-1]).to(wide).t() @ x.reshape(-1, x.shape[-1]).to(wide)


def _check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1:
        raise InputError(message("groups", received=groups, allowed="at least 1"))
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels < 1 or channels % groups:
            raise InputError(message(name, received=channels, allowed=f"a multiple of groups (={groups})"))
