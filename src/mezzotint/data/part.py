"""What is a part of an image? Levels in memory, where they lie, and the size of the image that they were cut from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from mezzotint.kernels.images import Box, Resizing, Size


class Part(NamedTuple):
    """A part of an image, or the whole; or what a resize made of it.

    Attributes:
        levels: uint8 (in protocols also float32) [box.height, box.width, C]; resized: [window.height, window.width, 3].
        box: where they lie in the image, or where what they were made of lay.
        size: of the whole image.
        resized: how they were made; None: they are the image's own.
    """

    levels: Tensor
    box: Box
    size: Size
    resized: Resizing | None = None


Wanted: TypeAlias = Callable[[Size], Box | Resizing]
"""Says for the size of an image which part of it is needed, or what shall be made of it where that is faster at once.

The answer to a resize may still be the part that it needs.
"""
