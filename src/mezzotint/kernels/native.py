"""How is the native library called? Thin bindings: tensors in, results written into tensors of the caller.

Shapes are trusted to fit each other (``mezzotint.ops`` validates them). Tensors may have any strides; indices that are
not contiguous are copied. Activations are float32, bfloat16 or float16; values are rounded to their type, sums are
float32. Results do not depend on the number of threads, which is :func:`torch.get_num_threads`. The GIL is released;
several Python threads may call at once.

Activations that stay in the library's own layout from call to call are the business of
:mod:`mezzotint.kernels.native_layout`. Weights are described as in the rest of the package: ``values [nnz]``,
``indices`` and ``transposed`` int32 ``[nnz]``, ``weight_shape`` ``[O, I/groups, kh, kw]``; ``padding`` is ``(top,
bottom, left, right)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

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
Argument = tuple[int, int, Ints, Ints]

_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int32: 3}


def unavailable() -> str | None:
    """``None``, or one sentence why the native library cannot be used here."""
    return _problem


def isa() -> str:
    """The instruction-set variant in use: one of :func:`isas`."""
    require()
    return _native.isa()


def isas() -> tuple[str, ...]:
    """The variants that this CPU can run, best first.

    On x86-64 out of ``"amx_bf16"`` (a matrix unit for BF16, with one of the next two for all else), ``"avx512_bf16"``,
    ``"avx512_bf16_fma"`` (convolutions without the dot products, where these are slow: a short trial decides which of
    the two is better), ``"avx512"``, ``"avx2"``; on AArch64 ``"neon_bf16"``,
    ``"neon"``; everywhere ``"portable"``.
    """
    require()
    return tuple(_native.isas())


def has_matrix_unit() -> bool:
    """Whether the variant in use multiplies whole matrices of BF16."""
    return isa() == "amx_bf16"


def force_isa(name: str | None) -> None:
    """Use the variant ``name`` from now on, in the whole process; ``None`` goes back to the default.

    The default is the environment variable ``MEZZOTINT_ISA``, or else the best variant.

    Raises:
        InputError: the variant is unknown or this CPU cannot run it; the message lists those that it can.
    """
    require()
    _native.force_isa(name or "")


@contextmanager
def using_isa(name: str) -> Iterator[None]:
    """Within the block, in the whole process, the variant ``name``; afterwards the one that was in use before.

    Raises:
        InputError: as :func:`force_isa`.
    """
    before = isa()
    force_isa(name)
    try:
        yield
    finally:
        force_isa(before)


def extension() -> ModuleType:
    """The compiled module itself; its functions are described in ``_native.pyi``."""
    return _native


def release_scratch() -> int:
    """Give the scratch memory that is kept between calls (64 MiB at most) back to the system; returns its bytes."""
    require()
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
    require()
    indices = indices.contiguous()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    _native.conv2d_output(argument(x), argument(values), argument(indices), maybe(bias), argument(y), conv, threads())


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
    require()
    indices, transposed = indices.contiguous(), transposed.contiguous()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    weight = (argument(values), argument(indices), argument(transposed))
    _native.conv2d_input_grad(argument(gy), *weight, argument(gx), conv, threads())


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
    require()
    indices = indices.contiguous()
    conv = (*weight_shape, *stride, *padding, *dilation, groups)
    _native.conv2d_weight_grad(argument(x), argument(gy), argument(indices), argument(gvalues), conv, threads())


def linear_output(
    x: Tensor, values: Tensor, indices: Tensor, bias: Tensor | None, y: Tensor, *, weight_shape: Ints
) -> None:
    """``y [N, O]`` = ``x [N, I]`` times the transposed sparse weight ``[O, I]``, plus ``bias [O]``."""
    require()
    indices = indices.contiguous()
    args = (argument(x), argument(values), argument(indices), maybe(bias), argument(y))
    _native.conv2d_output(*args, _linear(weight_shape), threads())


def linear_input_grad(
    gy: Tensor, values: Tensor, indices: Tensor, transposed: Tensor, gx: Tensor, *, weight_shape: Ints
) -> None:
    """``gx [N, I]`` = ``gy [N, O]`` times the sparse weight."""
    require()
    indices, transposed = indices.contiguous(), transposed.contiguous()
    args = (argument(gy), argument(values), argument(indices), argument(transposed), argument(gx))
    _native.conv2d_input_grad(*args, _linear(weight_shape), threads())


def linear_weight_grad(x: Tensor, gy: Tensor, indices: Tensor, gvalues: Tensor, *, weight_shape: Ints) -> None:
    """``gvalues [nnz]`` = ``gy^T x`` at the nonzeros only."""
    require()
    indices = indices.contiguous()
    args = (argument(x), argument(gy), argument(indices), argument(gvalues))
    _native.conv2d_weight_grad(*args, _linear(weight_shape), threads())


def scatter(values: Tensor, indices: Tensor, dense: Tensor, rounded_to: torch.dtype) -> None:
    """``dense [numel]``, contiguous: ``values [nnz]``, rounded to that type, at ``indices``; zeros elsewhere."""
    require()
    indices = indices.contiguous()
    _native.scatter(argument(values), argument(indices), argument(dense), _CODES[rounded_to], threads())


def require() -> None:
    """Refuse to go on without the native library."""
    if _problem is not None:
        raise NoKernel(f"{_problem}.")


def threads() -> int:
    """The threads that a call may use: PyTorch's setting."""
    return torch.get_num_threads()


def argument(tensor: Tensor) -> Argument:
    """What the extension takes for a tensor.

    Raises:
        InputError: it is of another type than the kernels know, or not on the CPU.
    """
    code = _CODES.get(tensor.dtype)
    if code is None or tensor.device.type != "cpu":
        received = f"a {str(tensor.dtype).removeprefix('torch.')} tensor on {tensor.device}"
        raise InputError(message("native kernel", received=received, allowed="float32, bfloat16 or float16 on the CPU"))
    return tensor.data_ptr(), code, tensor.shape, tensor.stride()


def maybe(tensor: Tensor | None) -> Argument | None:
    """:func:`argument`, or ``None``."""
    return None if tensor is None else argument(tensor)


def _linear(weight_shape: Ints) -> Ints:
    return (*weight_shape, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1)
