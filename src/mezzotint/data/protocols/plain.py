"""Which protocols does mezzotint use by itself? Squash to 256 and crop, or crop the central 87.5 % and resize.

Both resize bilinearly with antialiasing, in Pillow's arithmetic, and round downwards unless told otherwise.
"""

from __future__ import annotations

from typing import Literal, get_args

from mezzotint.data.augment.base import require
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import one_of, pixels
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, Offset, Resize


def squash256(*, img_size: int = 224, offset: Offset = "floor") -> Protocol:
    """The whole image squashed to 256 x 256, then its centre.

    Args:
        img_size: side of the centre that is cut out, at most 256 pixels.
        offset: where the centre begins when the surplus is odd.
    """
    one_of("offset", offset, get_args(Offset))
    return Protocol(
        name="squash256",
        summary="the whole image squashed to a square, then its centre (timm's crop mode 'squash').",
        steps=(
            Resize(height=256, width=256, resampling="pillow"),
            CenterCrop(side=pixels("img_size", img_size, most=256), offset=offset),
        ),
    )


def central875(
    *, img_size: int = 224, rounding: Literal["floor", "tensorflow"] = "floor", offset: Offset | None = None
) -> Protocol:
    """The central 87.5 % of each side, squashed to a square.

    Args:
        img_size: side of the result in pixels.
        rounding: ``"floor"`` rounds the size of the crop, ``"tensorflow"`` its start.
        offset: where the crop begins when the surplus is odd, ``"floor"`` if None; part of TensorFlow's rounding.
    """
    one_of("rounding", rounding, ("floor", "tensorflow"))
    one_of("offset", offset, (*get_args(Offset), None))
    side = pixels("img_size", img_size)
    require(rounding == "floor" or offset is None, "offset", offset, 'none with rounding = "tensorflow"')
    return Protocol(
        name="central875",
        summary="the central 87.5 % of each side, squashed to a square.",
        steps=(
            CropFraction(fraction=0.875, rounding=rounding, offset=offset),
            Resize(height=side, width=side, resampling="pillow"),
        ),
    )
