"""What do a convolution's size arguments mean? Pairs, and padding as explicit amounts on the four sides."""

from __future__ import annotations

from typing import Final

from mezzotint.errors import InputError, message, suggest

Sides = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right))"""

PADDING_MODES: Final = ("zeros", "reflect", "replicate", "circular")


def pair(value: int | tuple[int, int], name: str, least: int) -> tuple[int, int]:
    """``(height, width)`` of an int or a pair.

    Raises:
        InputError: not an int or two of them, or smaller than ``least``.
    """
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or not all(isinstance(size, int) and size >= least for size in both):
        raise InputError(message(name, received=value, allowed=f"an int or a pair of ints, each at least {least}"))
    return both[0], both[1]


def explicit_padding(
    padding: str | tuple[int, int],
    padding_mode: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Sides:
    """What ``torch.nn.Conv2d`` would pad on each side; "same" puts the odd element at the end.

    Raises:
        InputError: an unknown padding or padding mode, or "same" with a stride.
    """
    if padding_mode not in PADDING_MODES:
        raise InputError(
            message("padding_mode", received=padding_mode, allowed=", ".join(PADDING_MODES))
            + suggest(padding_mode, PADDING_MODES)
        )
    if isinstance(padding, tuple):
        return (padding[0], padding[0]), (padding[1], padding[1])
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise InputError(message("padding", received=padding, allowed='an int, a pair of ints, "same" or "valid"'))
    if stride != (1, 1):
        raise InputError(
            message(
                "padding",
                received=f'"same" with stride {stride}',
                allowed='"same" with stride 1',
                fix="Pad by numbers.",
            )
        )
    return _same(kernel[0], dilation[0]), _same(kernel[1], dilation[1])


def reversed_padding(sides: Sides) -> list[int]:
    """The order of ``torch.nn.functional.pad``: left, right, top, bottom."""
    return [*sides[1], *sides[0]]


def _same(kernel: int, dilation: int) -> tuple[int, int]:
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2
