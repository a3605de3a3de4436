"""What does DeiT III use instead of learned policies? One of grey, solarise and blur, and colour jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_number, require
from mezzotint.data.augment.blur import gaussian_blur
from mezzotint.data.augment.colour import ColourJitter, without_colour
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.sometimes import interval, single
from mezzotint.data.random import Key, Keys

_CHOICES = ("grayscale", "solarize", "gaussian_blur")


@dataclass(frozen=True, kw_only=True)
class ThreeAugment(Augmentation):
    """One of grayscale, solarize (from 128 on) and Gaussian blur with equal chance, then colour jitter.

    Touvron et al., "DeiT III: Revenge of the ViT" (ECCV 2022); crop and flip are steps of their own.
    """

    name: ClassVar[str] = "three_augment"

    jitter: float = 0.3
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        require(is_number(self.jitter, 0, 1), "three_augment.jitter", self.jitter, "a number from 0 to 1")
        interval(self.sigma, "three_augment.sigma", 0, 100)

    @property
    def _jitter(self) -> ColourJitter:
        return ColourJitter(brightness=self.jitter, contrast=self.jitter, saturation=self.jitter)

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``choice``, ``sigma`` of the blur, and the jitter's ``steps``."""
        one = single(key, self.name)
        choice, sigma = _CHOICES[one.integers(0, len(_CHOICES))], one.uniform(*self.sigma)
        return {"choice": choice, "sigma": sigma, **self._jitter.sample(one.child("colour_jitter"), height, width)}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The chosen change, then the jitter."""
        if parameters["choice"] == "grayscale":
            image = without_colour(image)
        elif parameters["choice"] == "solarize":
            image = run(image, [("solarize", 128)])
        else:
            image = gaussian_blur(image, parameters["sigma"])
        return self._jitter.apply(image, parameters)

    def describe(self) -> str:
        """One sentence."""
        return f"turns grey, solarizes or blurs, one of the three, then jitters colours by up to {self.jitter:g}"
