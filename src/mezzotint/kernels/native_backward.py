"""How does a pointwise convolution go back through its batch norm in one pass over memory?

Apart, three passes touch the convolution's output gradient: the batch norm's gradient writes it, the gradients of
values and of the input read it. Where it is larger than the caches, the memory sets the pace; here it is computed for a
few pixels at a time and never written down.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.native import require, threads
from mezzotint.kernels.native_layout import NO_HALO, ConvGeometry, Epilogue, NativeTensor, Sides, doubles, empty
from mezzotint.kernels.passes import argument, maybe, result

#: Bytes of an output gradient that no usual last-level cache keeps beside what else a layer touches.
_LARGE: Final = 16 << 20


def pays(geometry: ConvGeometry, y: NativeTensor) -> bool:
    """Whether :func:`conv2d_backward` takes the convolution whose output is ``y``, and saves time."""
    pointwise = geometry.weight_shape[2:] == (1, 1) and geometry.stride == (1, 1) and geometry.padding == NO_HALO
    return pointwise and y.data.nbytes > _LARGE


def conv2d_backward(
    finished: NativeTensor,
    y: NativeTensor,
    coefficients: tuple[Tensor, Tensor | None, Tensor | None],
    x: NativeTensor,
    weight: tuple[Tensor, Tensor, Tensor],
    geometry: ConvGeometry,
    *,
    epilogue: Epilogue,
    halo: Sides = NO_HALO,
    totals: Tensor | None = None,
) -> tuple[NativeTensor, Tensor]:
    """The gradients for the input ``x`` and, float32 ``[nnz]``, for the values of a pointwise convolution.

    Its output gradient is ``finished * scale + constant + y * companion``, as a batch norm's gradient is.

    Args:
        coefficients: scale, constant, companion: float32 ``[O]``.
        weight: values, indices, transposed, as for :func:`~mezzotint.kernels.native_layout.conv2d_input_grad`.
        epilogue, halo, totals: of the input's gradient, as there.
    """
    require()
    values, indices, transposed = weight
    scale, constant, companion = coefficients
    gx = empty(x.batch, x.channels, x.size, x.data.dtype, halo)
    gvalues = result(indices.numel())
    native.extension().conv2d_backward_packed(
        finished.code,
        argument(scale),
        maybe(constant),
        y.code,
        maybe(companion),
        x.code,
        argument(values),
        argument(indices),
        argument(transposed),
        epilogue.packed(),
        gx.code,
        argument(gvalues),
        geometry.code,
        x.batch,
        None if totals is None else doubles(totals),
        threads(),
    )
    return gx, gvalues
