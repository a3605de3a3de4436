"""Which protocol gives FFCV's values? ``CenterCropRGBImageDecoder``, whose resize is OpenCV's ``INTER_AREA``."""

from __future__ import annotations

from mezzotint.data.protocols.normalisation import IMAGENET_MEAN, IMAGENET_STD, Triple, normalisation
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import pixels, share
from mezzotint.data.protocols.steps import CropSquare, Resize


def ffcv(
    *,
    img_size: int = 224,
    ratio: float = 0.875,
    mean: Triple | None = IMAGENET_MEAN,
    std: Triple | None = IMAGENET_STD,
) -> Protocol:
    """The central square of ``int(ratio * shorter side)`` pixels, at offset ``surplus // 2``, resized by area.

    FFCV reads data sets that it has written itself, often with a longer side of at most 400 or 500 pixels: resize the
    images likewise before, where the numbers shall agree.

    Args:
        img_size: side of the result in pixels.
        ratio: of the shorter side that is kept, above 0 and at most 1; FFCV's ImageNet recipes take 224 / 256.
        mean, std: of the normalisation (``NormalizeImage``).
    """
    side = pixels("img_size", img_size)
    return Protocol(
        name="ffcv",
        summary="a central square, resized by area (FFCV's CenterCropRGBImageDecoder, to the bit).",
        steps=(
            CropSquare(fraction=share("ratio", ratio), offset="floor"),
            Resize(height=side, width=side, resampling="opencv", interpolation="area"),
        ),
        normalisation=normalisation(mean, std),
    )
