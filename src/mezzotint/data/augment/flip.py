"""How is an image mirrored? Left and right, with a probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_number, require
from mezzotint.data.random import Key, Keys


def horizontal_flip(image: Tensor) -> Tensor:
    """The image [..., H, W, C] with left and right exchanged."""
    return image.flip(-2)


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip(Augmentation):
    """Mirror left and right with probability ``p``."""

    name: ClassVar[str] = "horizontal_flip"
    batched: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        require(is_number(self.p, 0.0, 1.0), "horizontal_flip.p", self.p, "a probability from 0 to 1")

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``flip``: whether to mirror."""
        return {"flip": key.uniform() < self.p}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image, mirrored or as it is."""
        return horizontal_flip(image) if parameters["flip"] else image

    def apply_batch(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The images [N, H, W, C], those with ``flip`` mirrored in place."""
        rows = torch.from_numpy(parameters["flip"]).nonzero().squeeze(1)
        if rows.numel():
            images[rows] = horizontal_flip(images.index_select(0, rows))
        return images

    def describe(self) -> str:
        """One sentence."""
        return f"mirrors left and right with probability {self.p:g}"
