"""Which protocol gives torchvision's values? The one behind its published ImageNet accuracies.

The defaults are those of the V1 weights. The V2 weights resize to 232 pixels (``torchvision:resize_size=232``), and
each of torchvision's weights states its own sizes. Normalisation belongs to the loader unless it is named.
"""

from __future__ import annotations

from typing import get_args

from mezzotint.data.protocols.normalisation import Triple, normalisation
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import one_of, pixels
from mezzotint.data.protocols.steps import CenterCrop, Offset, ResizeShorter
from mezzotint.data.resize import INTERPOLATIONS, Interpolation


def torchvision(
    *,
    img_size: int = 224,
    resize_size: int = 256,
    interpolation: Interpolation = "bilinear",
    offset: Offset = "half_even",
    mean: Triple | None = None,
    std: Triple | None = None,
) -> Protocol:
    """The shorter side resized, then the centre.

    Args:
        img_size: side of the result in pixels (torchvision's ``crop_size``), at most ``resize_size``.
        resize_size: the shorter side before the crop.
        interpolation: one of Pillow's.
        offset: where the centre begins when the surplus is odd.
        mean, std: of the normalisation; None leaves it to the loader.
    """
    one_of("interpolation", interpolation, INTERPOLATIONS["pillow"])
    one_of("offset", offset, get_args(Offset))
    side = pixels("resize_size", resize_size)
    return Protocol(
        name="torchvision",
        summary=f"the shorter side resized to {side}, then the centre (torchvision on Pillow images, to the bit).",
        steps=(
            ResizeShorter(side=side, resampling="pillow", interpolation=interpolation),
            CenterCrop(side=pixels("img_size", img_size, most=side), offset=offset),
        ),
        normalisation=normalisation(mean, std),
    )
