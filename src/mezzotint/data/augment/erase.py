"""How are parts of an image hidden? By squares of one colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_integer, is_number, require
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
