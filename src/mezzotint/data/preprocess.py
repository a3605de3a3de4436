"""How do any images become a network's input? Read, then brought into form by a named protocol."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TypeAlias, TypeGuard, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint.data.arrays import Layout, rgb_unrounded
from mezzotint.data.decode import MAX_PIXELS, ImageSource, read_image, read_part
from mezzotint.data.protocols import Protocol, get_protocol
from mezzotint.errors import ImageError, message

ImageSources: TypeAlias = ImageSource | Sequence[ImageSource]


def preprocess(
    source: ImageSources,
    protocol: str | Protocol = "squash256",
    *,
    max_pixels: int = MAX_PIXELS,
    layout: Layout = "auto",
    normalise: bool = False,
) -> Tensor:
    """One image or several as a network's input, by an evaluation protocol.

    The type of an array decides its scale, never its values: uint8 is divided by 255, uint16 by 65535, floats must lie
    in [0, 1] already; anything else is an error. Arrays of 16 bits and floats are not rounded to 256 levels on the
    way; files are (see `mezzotint.data.decode.read_image`, which gives all the rules of reading).

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array or tensor, [H, W], [H, W, C] or
            [C, H, W] with 1 to 4 channels. Several images are a list or a tuple of those, of any kinds and sizes, or
            an array or tensor [N, H, W, C] or [N, C, H, W].
        protocol: a name of `mezzotint.data.protocols`, with settings or without (`get_protocol`), or a protocol.
        max_pixels: files that declare more pixels are refused.
        layout: where the channels of an array are: ``"HWC"``, ``"CHW"``, or ``"auto"``, by the shape.
        normalise: apply the protocol's mean and deviation too, as the libraries do that it is named after.

    Returns:
        float32 [S, S, 3] in [0, 1], contiguous, on the CPU; S is the protocol's ``img_size``. Several images give
        [N, S, S, 3]. Normalised values have the network's range and order of channels.

    Raises:
        ImageError: a source is not a readable image, or there is none.
        NotRegistered: there is no protocol of that name.
        ConfigError: the protocol's settings are not usable.
        InputError: ``normalise`` is asked of a protocol that states no normalisation.
    """
    chosen = protocol if isinstance(protocol, Protocol) else get_protocol(protocol)
    if _several(source):
        if not len(source):
            raise ImageError(message("images", received="none", allowed="at least one image"))
        images = (_one(image, chosen, max_pixels, layout, f"image {i}") for i, image in enumerate(source))
        values = torch.stack(list(images))
    else:
        values = _one(cast("ImageSource", source), chosen, max_pixels, layout)
    return chosen.normalised(values) if normalise else values


def _several(source: ImageSources) -> TypeGuard[Sequence[ImageSource]]:
    return isinstance(source, list | tuple) or (isinstance(source, np.ndarray | Tensor) and source.ndim == 4)


def _one(source: ImageSource, protocol: Protocol, max_pixels: int, layout: Layout, place: str | None = None) -> Tensor:
    """``place`` is how errors call one of several images; a file is called by its path in any case."""
    if isinstance(source, np.ndarray | Tensor):
        return protocol(rgb_unrounded(source, layout=layout, name=f"{place or 'image'} {type(source).__name__}"))
    name = None if isinstance(source, str | PathLike) else place
    if isinstance(source, Image.Image) or protocol.orientation != "ignore":
        return protocol(read_image(source, orientation=protocol.orientation, max_pixels=max_pixels, name=name))
    return protocol.finish(read_part(source, protocol.wanted, max_pixels=max_pixels, name=name))
