"""How is pooling done on native tensors? Maximum of windows and average of all pixels, with their gradients."""

from __future__ import annotations

from mezzotint.kernels import native, native_layout
from mezzotint.kernels.native import require, threads
from mezzotint.kernels.native_layout import NO_HALO, NativeTensor, Sides


def max_pool(x: NativeTensor, size: tuple[int, int], window: tuple[int, ...], halo: Sides = NO_HALO) -> NativeTensor:
    """The maximum of each window; ``size`` is the (H, W) that results.

    Args:
        window: kernel, stride, padding (of minus infinity) and dilation, each as (height, width), in one tuple.
    """
    require()
    y = native_layout.empty(x.batch, x.channels, size, x.data.dtype, halo)
    native.extension().max_pool_packed(x.code, y.code, window, x.batch, threads())
    return y


def max_pool_grad(x: NativeTensor, y: NativeTensor, gy: NativeTensor, window: tuple[int, ...]) -> NativeTensor:
    """The gradient for ``x``: that of a window goes to the first of its maxima."""
    require()
    gx = x.like()
    native.extension().max_pool_grad_packed(x.code, y.code, gy.code, gx.code, window, threads())
    return gx


def global_average(x: NativeTensor, halo: Sides = NO_HALO) -> NativeTensor:
    """The average over all pixels, as an image of one."""
    require()
    y = native_layout.empty(x.batch, x.channels, (1, 1), x.data.dtype, halo)
    native.extension().global_average_packed(x.code, y.code, threads())
    return y


def global_average_grad(gy: NativeTensor, size: tuple[int, int]) -> NativeTensor:
    """The gradient for an input of ``size`` (H, W)."""
    require()
    gx = native_layout.empty(gy.batch, gy.channels, size, gy.data.dtype)
    native.extension().global_average_grad_packed(gy.code, gx.code, threads())
    return gx
