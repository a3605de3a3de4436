"""How is the native library called? Thin bindings: tensors in, results written into tensors of the caller.

Shapes are trusted to fit each other (``mezzotint.ops`` validates them). Activations may have any strides and are
float32, bfloat16 or float16; values are rounded to their type, sums are float32. Results do not depend on the number
of threads, which is :func:`torch.get_num_threads`. The GIL is released; several Python threads may call at once.

Functions that end in ``_packed`` work on activations in the native layout ``[ceil(N/16), top + H + bottom, C,
left + W + right, 16]``, float32, with a stored halo of zeros ``(top, bottom, left, right)``; see ``csrc/README.md``.
Weights are described as in the rest of the package: ``values [nnz]``, ``indices`` and ``transposed`` int32 ``[nnz]``,
``weight_shape`` ``[O, I/groups, kh, kw]``; ``padding`` is ``(top, bottom, left, right)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.errors import InputError, NoKernel, message

try:
    import mezzotint._native as _native
except ModuleNotFoundError:
    _problem: str | None = "the native library is not built: run `make install` or `pip install .`"
except ImportError as error:
    _problem = f"the native library cannot be loaded ({error}): run `make install` or `pip install .` to build it anew"
else:
    _problem = None

Ints = Sequence[int]
_Argument = tuple[int, int, Ints, Ints]

#: Images in the innermost dimension of the native layout.
LANES = 16
NO_HALO = (0, 0, 0, 0)
_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int32: 3}


def unavailable() -> str | None:
    """``None``, or one sentence why the native library cannot be used here."""
    return _problem


def isa() -> str:
    """The instruction-set variant in use: ``"avx512"``, ``"avx2"`` or ``"portable"``."""
    _require()
    return _native.isa()


def isas() -> tuple[str, ...]:
    """The variants that this CPU can run, best first."""
    _require()
    return tuple(_native.isas())


def force_isa(name: str | None) -> None:
    """Use the variant ``name`` from now on, in the whole process; ``None`` goes back to the default.

    The default is the environment variable ``MEZZOTINT_ISA``, or else the best variant.

    Raises:
        InputError: the variant is unknown or this CPU cannot run it; the message lists those that it can.
    """
    _require()
    _native.force_isa(name or "")


def release_scratch() -> int:
    """Give the scratch memory that is kept between calls (64 MiB at most) back to the system; returns its bytes."""
    _require()
    return _native.release_scratch()


def conv2d_output(
    x: Tensor,
    values: Tensor,
    indices: Tensor,
    bias: Tensor | None,
    y: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """``y [N, O, Ho, Wo]`` = sparse convolution of ``x [N, I, H, W]``, plus ``bias [O]``."""
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    _native.conv2d_output(_arg(x), _arg(values), _arg(indices), _maybe(bias), _arg(y), conv, _threads())


def conv2d_input_grad(
    gy: Tensor,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    gx: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """``gx [N, I, H, W]`` = gradient for the input, given ``gy [N, O, Ho, Wo]``."""
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    weight = (_arg(values), _arg(indices), _arg(transposed))
    _native.conv2d_input_grad(_arg(gy), *weight, _arg(gx), conv, _threads())


def conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    indices: Tensor,
    gvalues: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """``gvalues [nnz]`` = gradient for the weight at its nonzeros only."""
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    _native.conv2d_weight_grad(_arg(x), _arg(gy), _arg(indices), _arg(gvalues), conv, _threads())


def linear_output(
    x: Tensor, values: Tensor, indices: Tensor, bias: Tensor | None, y: Tensor, *, weight_shape: Ints
) -> None:
    """``y [N, O]`` = ``x [N, I]`` times the transposed sparse weight ``[O, I]``, plus ``bias [O]``."""
    _require()
    args = (_arg(x), _arg(values), _arg(indices), _maybe(bias), _arg(y))
    _native.conv2d_output(*args, _linear(weight_shape), _threads())


def linear_input_grad(
    gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, gx: Tensor, *, weight_shape: Ints
) -> None:
    """``gx [N, I]`` = ``gy [N, O]`` times the sparse weight."""
    _require()
    args = (_arg(gy), _arg(values), _arg(indices), _arg(transposed), _arg(gx))
    _native.conv2d_input_grad(*args, _linear(weight_shape), _threads())


def linear_weight_grad(x: Tensor, gy: Tensor, indices: Tensor, gvalues: Tensor, *, weight_shape: Ints) -> None:
    """``gvalues [nnz]`` = ``gy^T x`` at the nonzeros only."""
    _require()
    args = (_arg(x), _arg(gy), _arg(indices), _arg(gvalues))
    _native.conv2d_weight_grad(*args, _linear(weight_shape), _threads())


def empty_native(batch: int, channels: int, height: int, width: int, halo: Ints = NO_HALO) -> Tensor:
    """Uninitialised memory in the native layout for ``batch`` images."""
    top, bottom, left, right = halo
    shape = (-(-batch // LANES), top + height + bottom, channels, left + width + right, LANES)
    return torch.empty(shape, dtype=torch.float32)


def to_native(x: Tensor, halo: Ints = NO_HALO) -> Tensor:
    """``x [N, C, H, W]`` of any strides in the native layout, its halo and the lanes behind the last image zero."""
    _require()
    batch, channels, height, width = x.shape
    packed = empty_native(batch, channels, height, width, halo)
    _native.pack(_arg(x), _arg(packed), halo, _threads())
    return packed


def from_native(packed: Tensor, halo: Ints, batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The interior of ``packed`` as a contiguous tensor ``[batch, C, H, W]`` of type ``dtype``."""
    _require()
    _, rows, channels, columns, _ = packed.shape
    y = torch.empty((batch, channels, rows - halo[0] - halo[1], columns - halo[2] - halo[3]), dtype=dtype)
    _native.unpack(_arg(packed), halo, _arg(y), _threads())
    return y


def with_halo(packed: Tensor, halo: Ints, wanted: Ints) -> tuple[Tensor, Ints]:
    """``packed`` and its halo as they are if every side has the ``wanted`` width, else a copy with a wider halo."""
    if all(have >= need for have, need in zip(halo, wanted, strict=True)):
        return packed, halo
    wider = tuple(max(have, need) for have, need in zip(halo, wanted, strict=True))
    blocks, rows, channels, columns, _ = packed.shape
    height, width = rows - halo[0] - halo[1], columns - halo[2] - halo[3]
    copy = empty_native(blocks * LANES, channels, height, width, wider)
    _native.repack(_arg(packed), halo, _arg(copy), wider, _threads())
    return copy, wider


def conv2d_output_packed(
    xp: Tensor,
    halo: Ints,
    values: Tensor,
    indices: Tensor,
    bias: Tensor | None,
    yp: Tensor,
    yhalo: Ints,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    batch: int,
    working: torch.dtype = torch.float32,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    residual_halo: Ints | None = None,
    relu: bool = False,
) -> None:
    """``yp = relu((conv(xp) + bias) * scale + shift + residual)``, all in the native layout.

    A stored halo of ``xp`` at least as wide as the padding is used as it is; otherwise ``xp`` is copied. The halo of
    ``yp`` and its lanes behind image ``batch - 1`` become zero.

    Args:
        bias, scale, shift: contiguous float32 ``[O]`` or ``None``.
        residual: as ``yp``, with a halo of its own (``residual_halo``, by default ``yhalo``).
        working: type that the values are rounded to.
    """
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    xp, halo = with_halo(xp, halo, padding)
    epilogue = (_maybe(scale), _maybe(shift), _maybe(residual), residual_halo or yhalo, relu)
    weight = (_arg(values), _arg(indices), _CODES[working], _maybe(bias))
    _native.conv2d_output_packed(_arg(xp), halo, *weight, epilogue, _arg(yp), yhalo, conv, batch, _threads())


def conv2d_input_grad_packed(
    gyp: Tensor,
    halo: Ints,
    values: Tensor,
    indices: Tensor,
    transposed: Tensor,
    gxp: Tensor,
    gxhalo: Ints,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    working: torch.dtype = torch.float32,
) -> None:
    """``gxp`` = gradient for the input, given ``gyp``, both in the native layout; the halo of ``gxp`` becomes zero.

    :func:`input_grad_halo` tells the halo of ``gyp`` that saves a copy.
    """
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    wanted = _native.input_grad_halo(conv, _interior(gxp, gxhalo), _interior(gyp, halo))
    gyp, halo = with_halo(gyp, halo, wanted)
    weight = (_arg(values), _arg(indices), _arg(transposed), _CODES[working])
    _native.conv2d_input_grad_packed(_arg(gyp), halo, *weight, _arg(gxp), gxhalo, conv, _threads())


def conv2d_weight_grad_packed(
    xp: Tensor,
    halo: Ints,
    gyp: Tensor,
    gyhalo: Ints,
    indices: Tensor,
    gvalues: Tensor,
    *,
    weight_shape: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> None:
    """``gvalues [nnz]`` = gradient for the weight at its nonzeros, from activations in the native layout.

    Lanes behind the last image must be zero in ``xp`` or ``gyp`` and finite in the other.
    """
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    xp, halo = with_halo(xp, halo, padding)
    args = (_arg(xp), halo, _arg(gyp), gyhalo, _arg(indices), _arg(gvalues))
    _native.conv2d_weight_grad_packed(*args, conv, _threads())


def input_grad_halo(
    x_size: Ints, gy_size: Ints, *, weight_shape: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> tuple[int, ...]:
    """Halo (top, bottom, left, right) that an input gradient reads around ``gy``; sizes are ``(H, W)``."""
    _require()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    return tuple(_native.input_grad_halo(conv, x_size, gy_size))


def _require() -> None:
    if _problem is not None:
        raise NoKernel(f"{_problem}.")


def _threads() -> int:
    return torch.get_num_threads()


def _arg(tensor: Tensor) -> _Argument:
    code = _CODES.get(tensor.dtype)
    if code is None or tensor.device.type != "cpu":
        received = f"a {str(tensor.dtype).removeprefix('torch.')} tensor on {tensor.device}"
        raise InputError(message("native kernel", received=received, allowed="float32, bfloat16 or float16 on the CPU"))
    return tensor.data_ptr(), code, tensor.shape, tensor.stride()


def _maybe(tensor: Tensor | None) -> _Argument | None:
    return None if tensor is None else _arg(tensor)


def _linear(weight_shape: Ints) -> Ints:
    return (*weight_shape, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1)


def _interior(packed: Tensor, halo: Ints) -> tuple[int, int]:
    return packed.shape[1] - halo[0] - halo[1], packed.shape[3] - halo[2] - halo[3]
