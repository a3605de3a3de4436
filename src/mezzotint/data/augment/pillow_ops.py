"""What do the published policies do to pixels? The operations of AutoAugment and its successors, by Pillow itself.

Every operation takes an RGB or grey ("L") picture of Pillow and one number, its strength, and gives a new picture of
the same size. They are the calls of the papers' own code (Cubuk et al., "AutoAugment", CVPR 2019; Hendrycks et al.,
"AugMix", ICLR 2020), so that the bits are Pillow's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from mezzotint.data.augment.base import is_integer, is_number, require

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Surface:
    """How a picture is resampled, and the grey level (0 to 255) of what comes in from outside of it."""

    interpolation: str = "nearest"
    fill: int = 0

    @property
    def resampling(self) -> Image.Resampling:
        """Pillow's name of the interpolation."""
        return INTERPOLATIONS[self.interpolation]

    def colour(self, picture: Image.Image) -> int | tuple[int, ...]:
        """The fill for the picture's bands."""
        bands = len(picture.getbands())
        return self.fill if bands == 1 else (self.fill,) * bands


def checked_surface(name: str, interpolation: object, fill: object) -> None:
    """Check two settings of the augmentation ``name``.

    Raises:
        ConfigError: the interpolation is unknown, or the fill no level.
    """
    known = isinstance(interpolation, str) and interpolation in INTERPOLATIONS
    require(known, f"{name}.interpolation", interpolation, ", ".join(map(repr, INTERPOLATIONS)))
    require(is_integer(fill, 0) and is_number(fill, 0, 255), f"{name}.fill", fill, "an integer from 0 to 255")


def to_picture(image: Tensor) -> Image.Image:
    """uint8 [H, W, 1 or 3] as a picture of Pillow, "L" or "RGB"; the pixels are copied."""
    array = image.numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def to_image(picture: Image.Image) -> Tensor:
    """uint8 [H, W, C] with memory of its own."""
    array = np.array(picture)
    return torch.from_numpy(array[:, :, None] if array.ndim == 2 else array)


def warp(picture: Image.Image, matrix: Sequence[float], surface: Surface) -> Image.Image:
    """The picture whose pixel (x, y) is the old one at (a x + b y + c, d x + e y + f), pixel centres at halves."""
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        tuple(matrix),
        resample=surface.resampling,
        fillcolor=surface.colour(picture),
    )


def rotate(picture: Image.Image, degrees: float, surface: Surface) -> Image.Image:
    """Turned counter-clockwise about its centre; the size stays."""
    return picture.rotate(degrees, resample=surface.resampling, fillcolor=surface.colour(picture))


def shift_hue(picture: Image.Image, turn: float) -> Image.Image:
    """Hue moved by ``turn`` of the colour circle, -0.5 to 0.5, in steps of 1/256; grey pictures have none.

    torchvision's ``adjust_hue``: the H band of Pillow's HSV, uint8, is moved modulo 256.
    """
    if picture.mode == "L":
        return picture
    hue, saturation, value = picture.convert("HSV").split()
    moved = Image.fromarray(np.asarray(hue) + np.uint8(int(turn * 255) % 256))
    return Image.merge("HSV", (moved, saturation, value)).convert("RGB")


Operation = Callable[[Image.Image, float, Surface], Image.Image]

#: Name -> operation. The number is a slope (shear), pixels (translate), degrees (rotate), the enhancement's factor
#: minus 1 (brightness, color, contrast, sharpness), bits kept (posterize), or the first level that is inverted
#: (solarize); the others take none.
OPERATIONS: dict[str, Operation] = {
    "identity": lambda picture, value, surface: picture,
    "shear_x": lambda picture, value, surface: warp(picture, (1, value, 0, 0, 1, 0), surface),
    "shear_y": lambda picture, value, surface: warp(picture, (1, 0, 0, value, 1, 0), surface),
    "translate_x": lambda picture, value, surface: warp(picture, (1, 0, -int(value), 0, 1, 0), surface),
    "translate_y": lambda picture, value, surface: warp(picture, (1, 0, 0, 0, 1, -int(value)), surface),
    "rotate": rotate,
    "brightness": lambda picture, value, surface: ImageEnhance.Brightness(picture).enhance(1 + value),
    "color": lambda picture, value, surface: ImageEnhance.Color(picture).enhance(1 + value),
    "contrast": lambda picture, value, surface: ImageEnhance.Contrast(picture).enhance(1 + value),
    "sharpness": lambda picture, value, surface: ImageEnhance.Sharpness(picture).enhance(1 + value),
    "posterize": lambda picture, value, surface: ImageOps.posterize(picture, int(value)),
    "solarize": lambda picture, value, surface: ImageOps.solarize(picture, value),  # type: ignore[arg-type]
    "autocontrast": lambda picture, value, surface: ImageOps.autocontrast(picture),
    "equalize": lambda picture, value, surface: ImageOps.equalize(picture),
    "invert": lambda picture, value, surface: ImageOps.invert(picture),
}
