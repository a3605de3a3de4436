"""What is a part of an image? Levels in memory, where they lie, and the size of the image that they were cut from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mezzotint.kernels.images import Box, Size


class Part(NamedTuple):
    """A part of an image, or the whole.

    Attributes:
        levels: uint8 (in protocols also float32) [box.height, box.width, C].
        box: where they lie in the image.
        size: of the whole image.
    """

    levels: Tensor
    box: Box
    size: Size
