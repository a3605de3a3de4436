"""How do activations stay in the native library's own layout from call to call? Tensors in it, and what acts on them.

The layout is ``[ceil(N / lanes), top + H + bottom, C, left + W + right, lanes]``: the images of one pixel and channel
are one cache line, 16 in float32 and 32 in a 16-bit type, and a halo of zeros is stored around the image, so that a
convolution needs no boundary code (see ``csrc/README.md``). A native tensor's halo, and its lanes behind the last
image, hold zeros; every function here keeps that so.

Sums are float32 inside the kernels whatever the type; totals over a batch are float64. Results do not depend on the
number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from mezzotint.errors import InputError, ShapeError, message
from mezzotint.kernels import arena, native
from mezzotint.kernels.native import Argument, require, threads
from mezzotint.kernels.passes import argument, hold, maybe, own

Sides = tuple[int, int, int, int]
"""Top, bottom, left, right."""
NO_HALO: Sides = (0, 0, 0, 0)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_Packed = tuple[Argument, Sides]


def lanes_of(dtype: torch.dtype) -> int:
    """Images in the innermost axis: those that fill a cache line of 64 bytes."""
    if dtype not in DTYPES:
        raise InputError(message("type of native activations", received=dtype, allowed="float32, bfloat16 or float16"))
    return 64 // dtype.itemsize


@dataclass(frozen=True, slots=True)
class NativeTensor:
    """Activations in the native layout.

    Attributes:
        data: ``[ceil(N / lanes), top + H + bottom, C, left + W + right, lanes]``.
        halo: rows and columns of zeros stored around the image.
        batch: N, the number of images.
        totals: float64 ``[C, 2]``: sums of a channel's numbers and of their squares, where they were taken on the way.
        is_lent: whether the memory is the arena's.
    """

    data: Tensor
    halo: Sides
    batch: int
    totals: Tensor | None = None
    _code: _Packed = field(init=False, repr=False, compare=False)  # worked out once, a step asks for it several times
    is_lent: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_code", (native.argument(self.data), self.halo))
        object.__setattr__(self, "is_lent", arena.lends(self.data))

    @property
    def code(self) -> _Packed:
        """What the extension takes for it."""
        if not self.is_lent:  # the arena knows when its memory may be given away, nobody else does
            hold(self.data)
        return self._code

    @property
    def channels(self) -> int:
        """C."""
        return self.data.shape[2]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        top, bottom, left, right = self.halo
        return self.data.shape[1] - top - bottom, self.data.shape[3] - left - right

    @property
    def count(self) -> int:
        """N * H * W, the numbers of one channel."""
        height, width = self.size
        return self.batch * height * width

    @property
    def interior(self) -> Tensor:
        """The view ``[ceil(N / lanes), H, C, W, lanes]`` without the halo."""
        top, bottom, left, right = self.halo
        rows, columns = self.data.shape[1], self.data.shape[3]
        return self.data[:, top : rows - bottom, :, left : columns - right]

    def like(self, halo: Sides = NO_HALO) -> NativeTensor:
        """An uninitialised tensor of the same shape and type, with a halo of its own."""
        return empty(self.batch, self.channels, self.size, self.data.dtype, halo)

    def without_lease(self) -> NativeTensor:
        """A twin that does not keep the arena from giving the memory away: somebody else has to."""
        return NativeTensor(arena.without_lease(self.data), self.halo, self.batch, self.totals)


@dataclass(frozen=True)
class ConvGeometry:
    """A sparse convolution's shape: ``weight_shape`` ``[O, I / groups, kh, kw]``, padding on the four sides."""

    weight_shape: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Sides = NO_HALO
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @cached_property
    def code(self) -> tuple[int, ...]:
        """What the extension takes for it."""
        return (*self.weight_shape, *self.stride, *self.padding, *self.dilation, self.groups)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the output for an input of ``size``.

        Raises:
            ShapeError: the input is smaller than the kernel.
        """
        top, bottom, left, right = self.padding
        spans = [(kernel - 1) * gap + 1 for kernel, gap in zip(self.weight_shape[2:], self.dilation, strict=True)]
        height = (size[0] + top + bottom - spans[0]) // self.stride[0] + 1
        width = (size[1] + left + right - spans[1]) // self.stride[1] + 1
        if min(height, width) < 1:
            received = f"{size[0]} x {size[1]}"
            raise ShapeError(message("image size for a convolution", received=received, allowed="at least its kernel"))
        return height, width

    def input_grad_halo(self, x_size: tuple[int, int], gy_size: tuple[int, int]) -> Sides:
        """The halo that the input gradient reads around the output gradient."""
        return _input_grad_halo(self.code, x_size, gy_size)


@lru_cache(maxsize=1024)  # a network has few shapes, its inputs may have many
def _input_grad_halo(code: tuple[int, ...], x_size: tuple[int, int], gy_size: tuple[int, int]) -> Sides:
    require()
    top, bottom, left, right = native.extension().input_grad_halo(code, x_size, gy_size)
    return top, bottom, left, right


@dataclass(frozen=True, slots=True, kw_only=True)
class Epilogue:
    """What happens to a convolution's sum v on its way to memory, in this order; ``None`` leaves a step out.

    ``v * scale + shift``; ``+ residual``; ReLU; 0 where ``mask * mask_scale + mask_shift <= 0``. Totals, where they are
    asked for, are the sums over images and pixels of v and of ``v * companion`` (of ``v * v`` without a companion).

    Attributes:
        scale, shift, mask_scale, mask_shift: contiguous float32 ``[C]``.
        residual, mask, companion: native tensors of the result's shape and type, with halos of their own.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    residual: NativeTensor | None = None
    relu: bool = False
    mask: NativeTensor | None = None
    mask_scale: Tensor | None = None
    mask_shift: Tensor | None = None
    companion: NativeTensor | None = None

    def packed(self) -> tuple[object, ...]:
        """What the extension takes for it."""
        return (
            maybe(self.scale),
            maybe(self.shift),
            _maybe_packed(self.residual),
            self.relu,
            _maybe_packed(self.mask),
            maybe(self.mask_scale),
            maybe(self.mask_shift),
            _maybe_packed(self.companion),
        )


PLAIN = Epilogue()


def empty(batch: int, channels: int, size: tuple[int, int], dtype: torch.dtype, halo: Sides = NO_HALO) -> NativeTensor:
    """Uninitialised memory for ``batch`` images of ``size`` (H, W)."""
    lanes = lanes_of(dtype)
    top, bottom, left, right = halo
    shape = (-(-batch // lanes), top + size[0] + bottom, channels, left + size[1] + right, lanes)
    made = NativeTensor(arena.empty(shape, dtype), halo, batch)
    if not made.is_lent:
        own(made.data)
    return made


def to_native(x: Tensor, halo: Sides = NO_HALO) -> NativeTensor:
    """``x [N, C, H, W]`` of any strides in the native layout of its type."""
    require()
    batch, channels, height, width = x.shape
    result = empty(batch, channels, (height, width), x.dtype, halo)
    pack(x, result)
    return result


def pack(x: Tensor, to: NativeTensor) -> None:
    """Write ``x`` to a native tensor of its shape and type."""
    native.extension().pack(argument(x), to.code, threads())


def from_native(x: NativeTensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """``[N, C, H, W]`` in the memory format given."""
    require()
    shape, dtype = (x.batch, x.channels, *x.size), x.data.dtype
    if memory_format == torch.channels_last:
        y = arena.empty([shape[axis] for axis in (0, 2, 3, 1)], dtype).permute(0, 3, 1, 2)
    else:
        y = arena.empty(shape, dtype)
    native.extension().unpack(x.code, argument(y), threads())
    return y


def with_halo(x: NativeTensor, wanted: Sides) -> NativeTensor:
    """``x`` itself if every side of its halo has the ``wanted`` width, else a copy with a wider halo."""
    if all(have >= need for have, need in zip(x.halo, wanted, strict=True)):
        return x
    top, bottom, left, right = (max(pair) for pair in zip(x.halo, wanted, strict=True))
    copy = x.like((top, bottom, left, right))
    native.extension().repack(x.code, copy.code, threads())
    return copy


def conv2d_output(
    x: NativeTensor,
    values: Tensor,
    indices: Tensor,
    geometry: ConvGeometry,
    *,
    bias: Tensor | None = None,
    epilogue: Epilogue = PLAIN,
    halo: Sides = NO_HALO,
    totals: Tensor | None = None,
) -> NativeTensor:
    """The sparse convolution of ``x``, with ``halo``; values are rounded to the type of ``x``.

    A stored halo of ``x`` at least as wide as the padding is used as it is; otherwise ``x`` is copied.

    Args:
        values: ``[nnz]``; ``indices``: int32 ``[nnz]``; ``bias``: float32 ``[O]`` or ``None``.
        totals: float64 ``[O, 2]``, filled with the epilogue's totals.

    Raises:
        InputError: totals are asked for beside a bias or a shift.
        ShapeError: ``x`` has other channels than the weight, or is smaller than the kernel.
    """
    require()
    _check_totals(totals, bias, epilogue)
    wanted = geometry.weight_shape[1] * geometry.groups
    if x.channels != wanted:
        raise ShapeError(message("input channels of a convolution", received=x.channels, allowed=str(wanted)))
    y = empty(x.batch, geometry.weight_shape[0], geometry.output_size(x.size), x.data.dtype, halo)
    padded = with_halo(x, geometry.padding)  # the extension gets an address: the tensor must outlive the call
    native.extension().conv2d_output_packed(
        padded.code,
        argument(values),
        argument(indices),
        maybe(bias),
        epilogue.packed(),
        y.code,
        geometry.code,
        x.batch,
        None if totals is None else doubles(totals),
        threads(),
    )
    return y


def conv2d_input_grad(
    gy: NativeTensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    geometry: ConvGeometry,
    size: tuple[int, int],
    *,
    epilogue: Epilogue = PLAIN,
    halo: Sides = NO_HALO,
    totals: Tensor | None = None,
) -> NativeTensor:
    """The gradient for an input of ``size`` (H, W); the arguments are those of :func:`conv2d_output`.

    ``gy`` is copied if its halo is narrower than :meth:`ConvGeometry.input_grad_halo`.
    """
    require()
    _check_totals(totals, None, epilogue)
    gx = empty(gy.batch, geometry.weight_shape[1] * geometry.groups, size, gy.data.dtype, halo)
    padded = with_halo(gy, geometry.input_grad_halo(size, gy.size))
    native.extension().conv2d_input_grad_packed(
        padded.code,
        argument(values),
        argument(indices),
        argument(transposed),
        epilogue.packed(),
        gx.code,
        geometry.code,
        gy.batch,
        None if totals is None else doubles(totals),
        threads(),
    )
    return gx


def normalise(
    x: NativeTensor,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    other: NativeTensor | None = None,
    other_scale: Tensor | None = None,
    other_shift: Tensor | None = None,
    addend: NativeTensor | None = None,
    relu: bool = False,
    halo: Sides = NO_HALO,
) -> NativeTensor:
    """``x * scale + shift + other * other_scale + other_shift + addend``, then ReLU, in one pass.

    Coefficients are float32 ``[C]``; ``None`` is 1 for a scale and 0 for a shift. A batch norm with a residual, the
    gradient of a batch norm, a sum of two tensors: all are this.
    """
    require()
    z = x.like(halo)
    coefficients = (maybe(scale), maybe(shift))
    if other is None and addend is not None:
        other, addend = addend, None
    others = (_maybe_packed(other), maybe(other_scale), maybe(other_shift), _maybe_packed(addend))
    native.extension().normalise_packed(x.code, *coefficients, *others, relu, z.code, x.batch, threads())
    return z


def reduce(
    x: NativeTensor,
    *,
    mask: NativeTensor | None = None,
    mask_scale: Tensor | None = None,
    mask_shift: Tensor | None = None,
    companion: NativeTensor | None = None,
    masked: NativeTensor | None = None,
    totals: Tensor | None = None,
) -> None:
    """Totals of v = ``x`` where ``mask * mask_scale + mask_shift > 0``, else 0, as in :class:`Epilogue`.

    Args:
        masked: where v is written, if anywhere; may be ``x`` itself.
        totals: float64 ``[C, 2]``, filled.
    """
    require()
    masks = (_maybe_packed(mask), maybe(mask_scale), maybe(mask_shift))
    native.extension().reduce_packed(
        x.code,
        *masks,
        _maybe_packed(companion),
        _maybe_packed(masked),
        None if totals is None else doubles(totals),
        threads(),
    )


def _check_totals(totals: Tensor | None, bias: Tensor | None, epilogue: Epilogue) -> None:
    """The lanes behind the last image are zero until something is added to them, and totals are taken before that is
    undone."""
    if totals is not None and (bias is not None or epilogue.shift is not None):
        received = "totals beside a bias or a shift"
        allowed = "totals of a convolution with neither; add them up with reduce() afterwards"
        raise InputError(message("totals", received=received, allowed=allowed))


def doubles(tensor: Tensor) -> Argument:
    """What the extension takes for a float64 tensor: it has a code of its own, no kernel takes it for anything else."""
    hold(tensor)
    return tensor.data_ptr(), 4, tensor.shape, tensor.stride()


def _maybe_packed(x: NativeTensor | None) -> _Packed | None:
    return None if x is None else x.code
