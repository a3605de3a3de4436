"""How is colour varied? Jitter of brightness, contrast, saturation and hue in random order, and loss of all colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_number, require
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.pillow_ops import shift_hue, to_image, to_picture
from mezzotint.data.augment.sometimes import Sometimes, single
from mezzotint.data.random import Key, Keys

_PARTS = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True, kw_only=True)
class ColourJitter(Augmentation):
    """Change brightness, contrast, saturation and hue by random factors, in a random order.

    torchvision's ``ColorJitter`` on Pillow images: each factor is uniform in max(0, 1 - x) .. 1 + x, the turn of
    the hue uniform in -hue .. hue of the colour circle. A setting of 0 leaves its part out. After Howard, "Some
    improvements on deep convolutional neural network based image classification" (2013).
    """

    name: ClassVar[str] = "colour_jitter"

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    def __post_init__(self) -> None:
        for part in _PARTS[:3]:
            value = getattr(self, part)
            require(is_number(value, 0, 10), f"colour_jitter.{part}", value, "a number from 0 to 10")
        require(is_number(self.hue, 0, 0.5), "colour_jitter.hue", self.hue, "a number from 0 to 0.5")

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``steps``: pairs of a part and its factor (for hue: the turn), in the order of their application."""
        one = single(key, self.name)
        order = [_PARTS[place] for place in one.permutation(len(_PARTS)).tolist()]
        drawn = {part: one.uniform() for part in _PARTS}
        return {"steps": [[part, self._scaled(part, drawn[part])] for part in order if getattr(self, part) > 0]}

    def _scaled(self, part: str, uniform: float) -> float:
        amount = float(getattr(self, part))
        low, high = (-amount, amount) if part == "hue" else (max(0.0, 1 - amount), 1 + amount)
        return low + (high - low) * uniform

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image after all steps."""
        for part, factor in parameters["steps"]:
            image = adjust(image, part, factor)
        return image

    def describe(self) -> str:
        """One sentence."""
        parts = ", ".join(f"{part} by up to {getattr(self, part):g}" for part in _PARTS if getattr(self, part) > 0)
        return f"changes {parts or 'nothing'}, in random order"


def adjust(image: Tensor, part: str, factor: float) -> Tensor:
    """uint8 [H, W, C] after one part of the jitter; a factor of 1 (for hue: a turn of 0) changes nothing."""
    if part == "hue":
        return to_image(shift_hue(to_picture(image), factor))
    return run(image, [("color" if part == "saturation" else part, factor - 1)])


@dataclass(frozen=True, kw_only=True)
class Grayscale(Sometimes):
    """Replace colour by luma, (299 R + 587 G + 114 B) / 1000, in all channels; Pillow's rounding.

    With p = 0.2 a part of SimCLR (Chen et al., 2020). Images of one channel stay as they are.
    """

    name: ClassVar[str] = "grayscale"
    needs_colour: ClassVar[bool] = True

    p: float = 0.2

    def check(self) -> None:
        """There is nothing to check."""

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """Nothing but whether it happens is random."""
        return {}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image in grey, with as many channels as before."""
        return without_colour(image)

    def describe(self) -> str:
        """One sentence."""
        return "replaces colours by their luma" + self.odds()


def without_colour(image: Tensor) -> Tensor:
    """uint8 [H, W, C] in grey."""
    return to_image(to_picture(image).convert("L")).expand(-1, -1, int(image.shape[2])).contiguous()
