"""How is an image mirrored? Left and right, or top and bottom, with a probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_number, require
from mezzotint.data.random import Key, Keys


@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Base: mirrors along the axis ``axis`` of [..., H, W, C] with probability ``p``."""

    batched: ClassVar[bool] = True
    axis: ClassVar[int]
    words: ClassVar[str]

    p: float = 0.5

    def __post_init__(self) -> None:
        require(is_number(self.p, 0.0, 1.0), f"{self.name}.p", self.p, "a probability from 0 to 1")

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``flip``: whether to mirror."""
        return {"flip": key.uniform() < self.p}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image, mirrored or as it is."""
        return image.flip(self.axis) if parameters["flip"] else image

    def apply_batch(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The images [N, H, W, C], those with ``flip`` mirrored in place."""
        rows = torch.from_numpy(parameters["flip"]).nonzero().squeeze(1)
        if rows.numel():
            images[rows] = images.index_select(0, rows).flip(self.axis)
        return images

    def describe(self) -> str:
        """One sentence."""
        return f"mirrors {self.words} with probability {self.p:g}"


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip(Flip):
    """Mirror left and right with probability ``p``."""

    name: ClassVar[str] = "horizontal_flip"
    axis: ClassVar[int] = -2
    words: ClassVar[str] = "left and right"


@dataclass(frozen=True, kw_only=True)
class VerticalFlip(Flip):
    """Mirror top and bottom with probability ``p``: for images without an upper side, such as those of microscopes."""

    name: ClassVar[str] = "vertical_flip"
    axis: ClassVar[int] = -3
    words: ClassVar[str] = "top and bottom"
