"""How are parts of an image hidden? By squares of one colour, or by boxes of random size filled with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, as_range, is_integer, is_number, require
from mezzotint.data.augment.sometimes import Sometimes
from mezzotint.data.random import Key, Keys


def fill_square(image: Tensor | NDArray[np.uint8], row: int, column: int, size: int, value: int) -> None:
    """Set the square of side ``size`` around (row, column) of [H, W, C] in place; what lies outside is cut off."""
    top, left = row - size // 2, column - size // 2
    image[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = value


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Hide a square whose centre is anywhere in the image, so that it may hang over the edge.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout" (2017): side 16 for
    CIFAR-10, 8 for CIFAR-100. The paper fills with zero after normalisation, which is the mean colour; ``fill`` is the
    grey level before it.
    """

    name: ClassVar[str] = "cutout"
    batched: ClassVar[bool] = True

    size: int = 16
    fill: int = 0

    def __post_init__(self) -> None:
        require(is_integer(self.size, 1), "cutout.size", self.size, "a positive integer")
        allowed = "an integer from 0 to 255"
        require(is_integer(self.fill, 0) and is_number(self.fill, 0, 255), "cutout.fill", self.fill, allowed)

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``row`` and ``column`` of the centre."""
        return {"row": key.integers(0, height), "column": key.integers(0, width)}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """A copy of the image with the square filled."""
        hidden = image.clone()
        fill_square(hidden, parameters["row"], parameters["column"], self.size, self.fill)
        return hidden

    def apply_batch(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The images with one square each, in place."""
        rows, columns = parameters["row"].tolist(), parameters["column"].tolist()
        for image, row, column in zip(images.numpy(), rows, columns, strict=True):
            fill_square(image, row, column, self.size, self.fill)
        return images

    def describe(self) -> str:
        """One sentence."""
        return f"fills a square of side {self.size} at a random place with grey level {self.fill}"


@dataclass(frozen=True, kw_only=True)
class RandomErasing(Sometimes):
    """Fill a box of random area and aspect ratio with noise, or with one grey level.

    Zhong et al., "Random erasing data augmentation" (AAAI 2020), with torchvision's bounds: area uniform in ``scale``,
    aspect ratio (height to width) log-uniform in ``ratio``, ten attempts, no box as large as the image. The paper fills
    with random levels of 0 to 255, which is ``fill = "noise"``.
    """

    name: ClassVar[str] = "random_erasing"

    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: int | str = "noise"

    def check(self) -> None:
        """The settings are usable."""
        high = as_range(self.scale, "random_erasing.scale")[1]
        require(high <= 1, "random_erasing.scale", self.scale, "shares of the area, at most 1")
        as_range(self.ratio, "random_erasing.ratio")
        level = is_integer(self.fill, 0) and is_number(self.fill, 0, 255)
        require(level or self.fill == "noise", "random_erasing.fill", self.fill, "'noise', or an integer from 0 to 255")

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``top``, ``left``, ``height`` and ``width`` of the box, and ``state``, from which the noise is made."""
        top, left, tall, broad = random_box(key, height, width, self.scale, self.ratio)
        return {"top": top, "left": left, "height": tall, "width": broad, "state": key.integers(0, 1 << 31)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """A copy of the image with the box filled."""
        erased, tall, broad = image.clone(), parameters["height"], parameters["width"]
        box = erased.narrow(0, parameters["top"], tall).narrow(1, parameters["left"], broad)
        if self.fill == "noise":
            generator = Key.from_state(parameters["state"]).generator()
            box.copy_(torch.from_numpy(generator.integers(0, 256, tuple(box.shape), dtype=np.uint8)))
        else:
            box.fill_(int(self.fill))
        return erased

    def describe(self) -> str:
        """One sentence."""
        fill = "noise" if self.fill == "noise" else f"grey level {self.fill}"
        return f"fills a box of {self.scale[0]:g} to {self.scale[1]:g} of the area with {fill}{self.odds()}"


def random_box(
    key: Key, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a box smaller than the image; (0, 0, 0, 0) when ten attempts give none."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area, aspect = height * width * key.uniform(*scale), math.exp(key.uniform(low, high))
        tall, broad = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall < height and 0 < broad < width:
            return key.integers(0, height - tall + 1), key.integers(0, width - broad + 1), tall, broad
    return 0, 0, 0, 0
