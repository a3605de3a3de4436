"""How does any image become a network's input? Read, then brought into form by a named protocol."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mezzotint.data.arrays import Layout, rgb_unrounded
from mezzotint.data.decode import MAX_PIXELS, ImageSource, read_image
from mezzotint.data.protocols import Protocol, get_protocol


def preprocess(
    source: ImageSource,
    protocol: str | Protocol = "squash256",
    *,
    max_pixels: int = MAX_PIXELS,
    layout: Layout = "auto",
) -> Tensor:
    """One image as a network's input, by an evaluation protocol.

    The type of an array decides its scale, never its values: uint8 is divided by 255, uint16 by 65535, floats must lie
    in [0, 1] already; anything else is an error. Arrays of 16 bits and floats are not rounded to 256 levels on the
    way; files are (see `mezzotint.data.decode.read_image`, which gives all the rules of reading).

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array or tensor, [H, W], [H, W, C] or
            [C, H, W] with 1 to 4 channels. One image, not a batch.
        protocol: a name of `mezzotint.data.protocols`, or a protocol.
        max_pixels: files that declare more pixels are refused.
        layout: where the channels of an array are: ``"HWC"``, ``"CHW"``, or ``"auto"``, by the shape.

    Returns:
        float32 [S, S, 3] in [0, 1], contiguous, on the CPU; S is 224 in all protocols of the table.

    Raises:
        ImageError: the source is not a readable image.
        NotRegistered: there is no protocol of that name.
    """
    chosen = protocol if isinstance(protocol, Protocol) else get_protocol(protocol)
    if isinstance(source, np.ndarray | Tensor):
        return chosen(rgb_unrounded(source, layout=layout, name=f"image {type(source).__name__}"))
    return chosen(read_image(source, orientation=chosen.orientation, max_pixels=max_pixels))
