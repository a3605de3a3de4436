"""How are crops taken? At a random place of the padded image, or of random area and aspect ratio and then resized."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, as_range, as_size, is_integer, require
from mezzotint.data.random import Key, Keys
from mezzotint.data.resize import INTERPOLATIONS, Interpolation, resize, resizes_in_part
from mezzotint.errors import DataError, message
from mezzotint.kernels.images import Box, Resizing, Size

Fill = Literal["zero", "reflect"]
_ATTEMPTS = 10
_REDUCTIONS = (1, 2, 4, 8)  # with which libjpeg decodes by vector instructions


def pad(images: Tensor, padding: int, fill: Fill) -> Tensor:
    """Add ``padding`` pixels on each side.

    Args:
        images: uint8 [..., H, W, C].
        padding: at least 0; for ``"reflect"`` less than H and W.
        fill: ``"zero"`` (black), or ``"reflect"``: mirrored at the edge pixel, which is not repeated.

    Returns:
        uint8 [..., H + 2 * padding, W + 2 * padding, C].

    Raises:
        DataError: the image is too small to be mirrored.
    """
    if padding == 0:
        return images
    if fill == "zero":
        return F.pad(images, (0, 0, padding, padding, padding, padding))
    height, width = int(images.shape[-3]), int(images.shape[-2])
    if padding >= min(height, width):
        raise DataError(
            message("padding", received=padding, allowed=f"less than the sides of the image, {height} and {width}")
        )
    rows, columns = _mirrored(height, padding), _mirrored(width, padding)
    return images.index_select(-3, rows).index_select(-2, columns)


@lru_cache(maxsize=256)
def _mirrored(side: int, padding: int) -> Tensor:
    """The source row of each row of the padded image: p, ..., 1, 0, 1, ..., side-1, side-2, ..."""
    places = torch.arange(-padding, side + padding).abs()
    return torch.where(places < side, places, 2 * (side - 1) - places)


def crop(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """The part [..., height, width, C] of the image [..., H, W, C] with its first pixel at (top, left); a view."""
    return image.narrow(-3, top, height).narrow(-2, left, width)


def resize_crop(image: Tensor, box: Box, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Cut ``box`` out of a uint8 image [H, W, C] and resize it to ``size``, antialiased.

    Pillow's values, to the bit. Pixels outside of the box have no influence.
    """
    return resize(crop(image, *box), *size, resampling="pillow", interpolation=interpolation)


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Augmentation):
    """Pad all sides, then cut a window of the image's own size (or ``size``) at a random place.

    The augmentation of CIFAR since He et al., "Deep residual learning" (2015), section 4.2: padding 4, crop 32.
    """

    name: ClassVar[str] = "random_crop"
    batched: ClassVar[bool] = True

    padding: int = 4
    size: int | tuple[int, int] | None = None
    fill: Fill = "zero"

    def __post_init__(self) -> None:
        require(is_integer(self.padding, 0), "random_crop.padding", self.padding, "an integer of at least 0")
        require(self.fill in ("zero", "reflect"), "random_crop.fill", self.fill, "'zero' or 'reflect'")
        if self.size is not None:
            as_size(self.size, "random_crop.size")

    def _window(self, height: int, width: int) -> tuple[int, int]:
        window = (height, width) if self.size is None else as_size(self.size, "random_crop.size")
        if window[0] > height + 2 * self.padding or window[1] > width + 2 * self.padding:
            raise DataError(
                message(
                    "random_crop.size",
                    received=window,
                    allowed=f"at most {height + 2 * self.padding} x {width + 2 * self.padding}, the padded image",
                    fix="Use more padding, or a smaller size.",
                )
            )
        return window

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``top`` and ``left`` of the window in the padded image, and its ``height`` and ``width``."""
        window = self._window(height, width)
        return {
            "top": key.integers(0, height + 2 * self.padding - window[0] + 1),
            "left": key.integers(0, width + 2 * self.padding - window[1] + 1),
            "height": window[0],
            "width": window[1],
        }

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The window of the padded image."""
        return crop(pad(image, self.padding, self.fill), **parameters)

    def apply_batch(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The window of each image of [N, H, W, C]."""
        padded = pad(images, self.padding, self.fill).numpy()
        height, width = parameters["height"], parameters["width"]
        out = np.empty((len(padded), height, width, padded.shape[-1]), dtype=np.uint8)
        corners = zip(parameters["top"].tolist(), parameters["left"].tolist(), strict=True)
        for place, (top, left) in enumerate(corners):  # numpy slices: one microsecond each, five for a tensor
            out[place] = padded[place, top : top + height, left : left + width]
        return torch.from_numpy(out)

    def describe(self) -> str:
        """One sentence."""
        size = "its own size" if self.size is None else f"{self.size}"
        return f"pads by {self.padding} ({self.fill}) and cuts a window of {size} at a random place"


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Augmentation):
    """Cut a box of random area and aspect ratio and resize it to ``size``.

    torchvision's rule (after Szegedy et al., "Going deeper with convolutions", 2014): ten attempts at a box of area
    uniform in ``scale`` and aspect ratio log-uniform in ``ratio``; if none fits, the largest central box whose aspect
    ratio lies in ``ratio``.

    With ``reduced_decoding`` JPEG files are decoded 2, 4 or 8 times smaller where the box is at least that many times
    as large as ``size``: faster for large photographs (libjpeg leaves the higher frequencies out), while the levels
    differ a little from those of the whole image, and the box may be up to that many pixels off.
    """

    name: ClassVar[str] = "random_resized_crop"

    size: int | tuple[int, int] = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    reduced_decoding: bool = False

    def __post_init__(self) -> None:
        as_size(self.size, "random_resized_crop.size")
        allowed = "true or false"
        require(
            isinstance(self.reduced_decoding, bool),
            "random_resized_crop.reduced_decoding",
            self.reduced_decoding,
            allowed,
        )
        known = INTERPOLATIONS["pillow"]
        allowed = f"one of {', '.join(known)}"
        require(self.interpolation in known, "random_resized_crop.interpolation", self.interpolation, allowed)
        high = as_range(self.scale, "random_resized_crop.scale")[1]
        require(high <= 1, "random_resized_crop.scale", self.scale, "shares of the area, at most 1")
        as_range(self.ratio, "random_resized_crop.ratio")

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """The box: ``top``, ``left``, ``height``, ``width``."""
        if not isinstance(key, Key):
            raise TypeError("random_resized_crop draws for one image at a time")
        return dict(zip(("top", "left", "height", "width"), self._box(key, height, width), strict=True))

    def _box(self, key: Key, height: int, width: int) -> tuple[int, int, int, int]:
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_ATTEMPTS):
            area = height * width * key.uniform(*self.scale)
            aspect = math.exp(key.uniform(low, high))
            box_width = round(math.sqrt(area * aspect))
            box_height = round(math.sqrt(area / aspect))
            if 0 < box_width <= width and 0 < box_height <= height:
                top = key.integers(0, height - box_height + 1)
                return top, key.integers(0, width - box_width + 1), box_height, box_width
        return self._central_box(height, width)

    def _central_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        low, high = self.ratio
        box_width = min(width, max(1, round(height * high)))
        box_height = min(height, max(1, round(width / low)))
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The box, resized: uint8 [size, size, C]."""
        return resize_crop(
            image, self.wanted(parameters), as_size(self.size, "random_resized_crop.size"), self.interpolation
        )

    def wanted(self, parameters: Parameters) -> Box:
        """The box: nothing else of the image is looked at."""
        return Box(parameters["top"], parameters["left"], parameters["height"], parameters["width"])

    def resizing(self, parameters: Parameters) -> Resizing | None:
        """The box as the source of a resize."""
        if not resizes_in_part("pillow", self.interpolation):
            return None
        box, to = self.wanted(parameters), Size(*as_size(self.size, "random_resized_crop.size"))
        reduction = _reduction(box, to) if self.reduced_decoding else 1
        return Resizing(box, box, to, to.whole, self.interpolation, reduction=reduction)

    def describe(self) -> str:
        """One sentence."""
        smaller = "; large JPEG files are decoded 2, 4 or 8 times smaller" if self.reduced_decoding else ""
        return (
            f"cuts a box of {self.scale[0]:g} to {self.scale[1]:g} of the area and aspect ratio {self.ratio[0]:.3g} to "
            f"{self.ratio[1]:.3g} and resizes it to {self.size}, {self.interpolation} as by Pillow{smaller}"
        )


def _reduction(box: Box, to: Size) -> int:
    """How many times smaller the box can be decoded and still be no smaller than its result."""
    times = min(box.height // to.height, box.width // to.width)
    return max(reduction for reduction in _REDUCTIONS if reduction <= max(1, times))
