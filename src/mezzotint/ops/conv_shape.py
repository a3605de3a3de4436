"""Which shape does a convolution give, and do its arguments fit together? The one shape rule of the family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mezzotint.errors import ShapeError, message
from mezzotint.kernels.geometry import effective_kernel, output_size, same_padding

Ints = Sequence[Any]  # int or torch.SymInt
Padding = str | Sequence[Sequence[int]] | Sequence[int] | int


def pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """``3`` or ``(3, 5)`` as (height, width)."""
    if isinstance(value, int):
        return (value, value)
    if len(value) != 2:
        raise ShapeError(message(name, received=list(value), allowed="an integer or two (height, width)"))
    return (value[0], value[1])


def resolve_padding(
    padding: Padding, size: Ints, kernel: Ints, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    """Any way of writing padding -> ``(top, bottom, left, right)``.

    Args:
        padding: ``"VALID"``, ``"SAME"`` (odd remainder at the end, as TensorFlow), ``[[top, bottom], [left, right]]``,
            ``(vertical, horizontal)`` or one integer.
        size, kernel, stride, dilation: (height, width) of the input, the kernel, the step and the tap distance.
    """
    if isinstance(padding, str):
        return _named_padding(padding, size, kernel, stride, dilation)
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    sides = [(side, side) if isinstance(side, int) else tuple(side) for side in padding]
    if len(sides) == 2 and all(len(side) == 2 for side in sides):
        (top, bottom), (left, right) = sides
        return (top, bottom, left, right)
    raise ShapeError(
        message(
            "padding",
            received=padding,
            allowed='"VALID", "SAME", an integer, (vertical, horizontal) or [[top, bottom], [left, right]]',
        )
    )


def _named_padding(
    padding: str, size: Ints, kernel: Ints, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    if padding.upper() == "VALID":
        return (0, 0, 0, 0)
    if padding.upper() == "SAME":
        top, bottom = same_padding(size[0], kernel[0], stride=stride[0], dilation=dilation[0])
        left, right = same_padding(size[1], kernel[1], stride=stride[1], dilation=dilation[1])
        return (top, bottom, left, right)
    raise ShapeError(
        message("padding", received=padding, allowed='"VALID", "SAME" or explicit [[top, bottom], [left, right]]')
    )


def conv2d_output(
    x: Ints, weight: Ints, *, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> tuple[Any, Any, Any, Any]:
    """Output shape ``[N, O, H', W']`` of ``x [N, C, H, W]`` with ``weight [O, C / groups, kh, kw]``.

    Raises:
        ShapeError: rank, channel, group or size mismatch; the message names the argument.
    """
    check_conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)
    sizes = spatial_output(x[2:], weight[2:], stride=stride, padding=padding, dilation=dilation)
    return (x[0], weight[0], *sizes)


def spatial_output(size: Ints, kernel: Ints, *, stride: Ints, padding: Ints, dilation: Ints) -> tuple[Any, Any]:
    """(height, width) of the output; an input too small for the kernel is a :class:`ShapeError`."""
    out = []
    for axis, name in enumerate(("height", "width")):
        before, after = padding[2 * axis], padding[2 * axis + 1]
        length = output_size(
            size[axis], kernel[axis], before=before, after=after, stride=stride[axis], dilation=dilation[axis]
        )
        if length < 1:
            raise ShapeError(
                message(
                    f"input {name}",
                    received=f"{size[axis]} (padded {size[axis] + before + after})",
                    allowed=f"at least the dilated kernel's {effective_kernel(kernel[axis], dilation[axis])}",
                    fix="Pad more, or use a smaller kernel or dilation.",
                )
            )
        out.append(length)
    return (out[0], out[1])


def check_conv2d(x: Ints, weight: Ints, *, stride: Ints, padding: Ints, dilation: Ints, groups: int) -> None:
    """Ranks, lengths and channel counts; the sizes are checked with the output."""
    for name, shape in (("x", x), ("weight", weight)):
        if len(shape) != 4:
            raise ShapeError(message(f"{name} shape", received=list(shape), allowed="four dimensions"))
    for name, value, length in (("stride", stride, 2), ("dilation", dilation, 2), ("padding", padding, 4)):
        if len(value) != length:
            raise ShapeError(message(name, received=list(value), allowed=f"{length} integers"))
    if weight[2] < 1 or weight[3] < 1 or weight[1] < 1:
        raise ShapeError(message("weight shape", received=list(weight), allowed="no empty kernel or channel axis"))
    if weight[0] % groups:
        raise ShapeError(
            message("groups", received=groups, allowed=f"a divisor of the {weight[0]} output channels of the weight")
        )
    if x[1] != weight[1] * groups:
        raise ShapeError(
            message(
                "input channels",
                received=x[1],
                allowed=f"{weight[1]} per group times {groups} group(s) = {weight[1] * groups}",
            )
        )
