"""Which protocol gives timm's values? ``timm.data.create_transform`` for evaluation, with its crop modes."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from mezzotint.data.protocols.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation, Triple, normalisation
from mezzotint.data.protocols.protocol import Protocol
from mezzotint.data.protocols.settings import one_of, pixels, share
from mezzotint.data.protocols.steps import CenterCrop, CropOrPad, Resize, ResizeLonger, ResizeShorter, Step
from mezzotint.data.resize import INTERPOLATIONS, Interpolation
from mezzotint.errors import ConfigError, message

CropMode: TypeAlias = Literal["center", "squash", "border"]

_SUMMARIES: dict[CropMode, str] = {
    "center": "the shorter side resized, then the centre",
    "squash": "the whole image squashed to a square, then its centre",
    "border": "the whole image inside of a square of the mean colour, then its centre",
}


def timm(
    *,
    img_size: int = 224,
    crop_pct: float = 0.875,
    crop_mode: CropMode = "center",
    interpolation: Interpolation = "bicubic",
    mean: Triple | None = IMAGENET_MEAN,
    std: Triple | None = IMAGENET_STD,
) -> Protocol:
    """timm's evaluation, by the data configuration of a model; the defaults are those of ``resolve_data_config``.

    Args:
        img_size: side of the result in pixels (``input_size``).
        crop_pct: the image is resized to ``floor(img_size / crop_pct)`` before the crop, above 0 and at most 1.
        crop_mode: ``"center"``: that is the shorter side; ``"squash"``: both sides; ``"border"``: the longer side, and
            what is missing is filled with the mean colour.
        interpolation: one of Pillow's.
        mean, std: of the normalisation.
    """
    one_of("crop_mode", crop_mode, get_args(CropMode))
    one_of("interpolation", interpolation, INTERPOLATIONS["pillow"])
    side = pixels("img_size", img_size)
    statistics = normalisation(mean, std)
    return Protocol(
        name="timm",
        summary=f"{_SUMMARIES[crop_mode]} (timm's crop mode {crop_mode!r}, to the bit).",
        steps=_steps(crop_mode, side, math.floor(side / share("crop_pct", crop_pct)), interpolation, statistics),
        normalisation=statistics,
    )


def _steps(
    mode: CropMode, side: int, scaled: int, interpolation: Interpolation, statistics: Normalisation | None
) -> tuple[Step, Step]:
    """A resize to ``scaled`` pixels and a crop to ``side``."""
    crop = CenterCrop(side=side, offset="half_even")
    if mode == "squash":
        return Resize(height=scaled, width=scaled, resampling="pillow", interpolation=interpolation), crop
    if mode == "center":
        return ResizeShorter(side=scaled, resampling="pillow", interpolation=interpolation), crop
    if statistics is None:
        allowed = "numbers with crop_mode = 'border', whose border has the mean colour"
        raise ConfigError(message("mean", received="none", allowed=allowed))
    red, green, blue = (round(255 * value) for value in statistics.mean)
    return (
        ResizeLonger(side=scaled, resampling="pillow", interpolation=interpolation),
        CropOrPad(side=side, fill=(red, green, blue), offset="half_even"),
    )
