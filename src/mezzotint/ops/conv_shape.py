"""Which shape does a convolution give, and do its arguments fit together? The one shape rule of the family.

It holds for one, two and three axes, for convolutions and transposed ones, for numbers, ``torch.SymInt`` and unknown
sizes (``None``): what depends on an unknown size is unknown, and what cannot be checked now is left to the run. Fake
kernels and output allocation both go through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mezzotint.errors import ShapeError, message
from mezzotint.kernels.geometry import (
    effective_kernel,
    output_sizes,
    pads_per_axis,
    same_padding,
    surely,
    transposed_output_size,
)

Ints = Sequence[Any]  # int, torch.SymInt or None
Padding = str | Sequence[Sequence[int]] | Sequence[int] | int

AXES: dict[int, tuple[str, ...]] = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
FORMATS: dict[int, tuple[str, str]] = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def per_axis(name: str, value: int | Sequence[int], rank: int, least: int = 1) -> list[int]:
    """``3``, ``[3]`` or one number an axis as a list of ``rank`` numbers, each at least ``least``."""
    sizes: list[Any] = [value] if _is_int(value) else list(value) if isinstance(value, Sequence) else [None]
    if len(sizes) == 1:
        sizes *= rank
    if len(sizes) != rank or not all(_is_int(size) for size in sizes) or any(surely(size < least) for size in sizes):
        some = f"an integer of at least {least}"
        counted = some if rank == 1 else f"{some}, or {rank} of them ({', '.join(AXES[rank])})"
        raise ShapeError(message(name, received=value, allowed=counted))
    return sizes


def resolve_padding(
    padding: Padding, size: Ints, kernel: Ints, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Any, ...]:
    """Any way of writing padding -> ``(before, after)`` of each axis in one row: ``(top, bottom, left, right)``.

    Args:
        padding: ``"VALID"``, ``"SAME"`` (odd remainder at the end, as TensorFlow), one integer, one an axis, or a pair
            ``[before, after]`` an axis (TensorFlow's EXPLICIT without the pairs of N and C).
        size, kernel, stride, dilation: of the input, the kernel, the step and the tap distance, an entry an axis.
    """
    rank = len(kernel)
    if isinstance(padding, str):
        return _named_padding(padding, size, kernel, stride, dilation)
    if _is_int(padding):
        return (padding,) * (2 * rank)
    if isinstance(padding, Sequence):
        sides: list[Any] = [(side, side) if _is_int(side) else side for side in padding]
        pairs = all(isinstance(s, Sequence) and len(s) == 2 and all(map(_is_int, s)) for s in sides)
        if pairs and len(sides) == 1:
            sides *= rank
        if pairs and len(sides) == rank:
            return tuple(amount for side in sides for amount in side)
    ways = f'"VALID", "SAME", an integer, {rank} integer(s), or {rank} pair(s) [before, after]'
    fix = "Batch and channels are not padded: leave their pairs out." if _names_batch(padding, rank) else ""
    raise ShapeError(message("padding", received=padding, allowed=f"{ways} for {', '.join(AXES[rank])}", fix=fix))


def _names_batch(padding: object, rank: int) -> bool:
    return isinstance(padding, Sequence) and len(padding) in (rank + 2, 2 * rank + 4)


def _named_padding(
    padding: str, size: Ints, kernel: Ints, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Any, ...]:
    if padding.upper() == "VALID":
        return (0,) * (2 * len(kernel))
    if padding.upper() == "SAME":
        sides = (
            same_padding(size[axis], kernel[axis], stride=stride[axis], dilation=dilation[axis])
            for axis in range(len(kernel))
        )
        return tuple(amount for side in sides for amount in side)
    raise ShapeError(
        message("padding", received=padding, allowed='"VALID", "SAME" or explicit [before, after] of each axis')
    )


def conv_output(
    x: Ints, weight: Ints, *, stride: Ints, padding: Ints, dilation: Ints, groups: int, rank: int = 2
) -> tuple[Any, ...]:
    """Output shape ``[N, O, ...]`` of ``x [N, C, ...]`` with ``weight [O, C / groups, ...]``.

    Raises:
        ShapeError: rank, channel, group or size mismatch; the message names the argument.
    """
    _check_ranks(x, weight, rank)
    check_lengths(rank, stride=stride, dilation=dilation, padding=padding)
    _check_weight(weight, groups)
    if differ(x[1], _times(weight[1], groups)):
        inner = _times(weight[1], groups)
        allowed = f"{weight[1]} per group times {groups} group(s) = {inner}"
        raise ShapeError(message("input channels", received=x[1], allowed=allowed))
    sizes = spatial_output(x[2:], weight[2:], stride=stride, padding=padding, dilation=dilation)
    return (x[0], weight[0], *sizes)


def conv_transpose_output(
    x: Ints,
    weight: Ints,
    *,
    stride: Ints,
    padding: Ints,
    output_padding: Ints,
    dilation: Ints,
    groups: int,
    rank: int = 2,
) -> tuple[Any, ...]:
    """Output shape ``[N, O, ...]`` of ``x [N, C, ...]`` with ``weight [C, O / groups, ...]``.

    Raises:
        ShapeError: as :func:`conv_output`, or an ``output_padding`` that is not smaller than stride or dilation.
    """
    _check_ranks(x, weight, rank)
    check_lengths(rank, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding)
    _check_weight(weight, groups)
    if differ(x[1], weight[0]):
        raise ShapeError(message("input channels", received=x[1], allowed=f"{weight[0]}, the weight's first size"))
    sizes = []
    for axis, (before, after) in enumerate(pads_per_axis(padding)):
        name, more = AXES[rank][axis], output_padding[axis]
        if surely(more >= torch.sym_max(stride[axis], dilation[axis])):
            allowed = f"less than the stride {stride[axis]} or the dilation {dilation[axis]}"
            raise ShapeError(message(f"output_padding of the {name}", received=more, allowed=allowed))
        length = transposed_output_size(
            x[2 + axis],
            weight[2 + axis],
            before=before,
            after=after,
            stride=stride[axis],
            dilation=dilation[axis],
            more=more,
        )
        reached = length if length is None else length - torch.sym_max(0, more - after)
        if reached is not None and surely(reached < 1):
            received = f"{before} before and {after} after, which leaves {reached} outputs that x reaches"
            raise ShapeError(message(f"padding of the {name}", received=received, allowed="at least 1 such output"))
        sizes.append(length)
    return (x[0], _times(weight[1], groups), *sizes)


def spatial_output(
    size: Ints, kernel: Ints, *, stride: Ints, padding: Ints, dilation: Ints, ceil: bool = False
) -> tuple[Any, ...]:
    """Size of the output in every axis; an input too small for the kernel is a :class:`ShapeError`."""
    out = output_sizes(size, kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    for axis, (name, length) in enumerate(zip(AXES[len(kernel)], out, strict=True)):
        if length is not None and surely(length < 1):
            raise ShapeError(
                message(
                    f"input {name}",
                    received=f"{size[axis]} (padded {size[axis] + sum(padding[2 * axis : 2 * axis + 2])})",
                    allowed=f"at least the dilated kernel's {effective_kernel(kernel[axis], dilation[axis])}",
                    fix="Pad more, or use a smaller kernel or dilation.",
                )
            )
    return tuple(out)


def check_lengths(rank: int, **attrs: Ints) -> None:
    """One entry an axis, two for the padding."""
    for name, value in attrs.items():
        length = 2 * rank if name == "padding" else rank
        if len(value) != length:
            raise ShapeError(message(name, received=list(value), allowed=f"{length} integer(s)"))


def check_output_grad(expected: Ints, received: Ints) -> None:
    """The output gradient must have the output's shape."""
    if len(expected) != len(received) or any(map(differ, expected, received)):
        raise ShapeError(message("output gradient", received=list(received), allowed=f"the output's {list(expected)}"))


def differ(one: Any, other: Any) -> bool:
    """Whether two sizes differ for certain."""
    return one is not None and other is not None and surely(one != other)


def _check_ranks(x: Ints, weight: Ints, rank: int) -> None:
    words = {1: "three", 2: "four", 3: "five"}
    for name, shape in (("x", x), ("weight", weight)):
        if len(shape) != rank + 2:
            raise ShapeError(message(f"{name} shape", received=list(shape), allowed=f"{words[rank]} dimensions"))


def _check_weight(weight: Ints, groups: int) -> None:
    if any(size is not None and surely(size < 1) for size in weight[1:]):
        raise ShapeError(message("weight shape", received=list(weight), allowed="no empty kernel or channel axis"))
    if weight[0] is not None and surely(weight[0] % groups != 0):
        raise ShapeError(
            message(
                "groups", received=groups, allowed=f"a divisor of the {weight[0]} channels of the weight's first axis"
            )
        )


def _times(size: Any, groups: int) -> Any:
    return None if size is None else size * groups


def _is_int(value: object) -> bool:
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)
