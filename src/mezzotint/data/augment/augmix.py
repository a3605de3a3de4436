"""How does AugMix vary an image? It mixes several short chains of operations with each other and with the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.augment.automatic import Automatic
from mezzotint.data.augment.base import Parameters, is_integer, is_number, require
from mezzotint.data.augment.draws import beta, dirichlet
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.pillow_ops import Surface
from mezzotint.data.augment.sometimes import single
from mezzotint.data.random import Key, Keys

_SEPARATE = (
    "autocontrast",
    "equalize",
    "posterize",
    "rotate",
    "solarize",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
_ALL = (*_SEPARATE, "color", "contrast", "brightness", "sharpness")


@dataclass(frozen=True, kw_only=True)
class AugMix(Automatic):
    """``width`` chains of 1 to 3 operations (or ``depth``), mixed with Dirichlet weights, then with the image.

    Hendrycks et al., "AugMix" (ICLR 2020), with its code's strengths. The chains are mixed before normalisation and
    rounded once; as the weights add up to one, that differs from the paper's order by the rounding only.
    ``all_ops`` adds colour, contrast, brightness and sharpness, which overlap with the corruptions of ImageNet-C.
    """

    name: ClassVar[str] = "aug_mix"

    interpolation: str = "bilinear"
    severity: int = 3
    width: int = 3
    depth: int | None = None
    alpha: float = 1.0
    all_ops: bool = False

    def check(self) -> None:
        """The settings are usable."""
        good = is_integer(self.severity, 1) and self.severity <= 10
        require(good, "aug_mix.severity", self.severity, "an integer from 1 to 10")
        require(is_integer(self.width, 1), "aug_mix.width", self.width, "a positive integer")
        deep = self.depth is None or is_integer(self.depth, 1)
        require(deep, "aug_mix.depth", self.depth, "a positive integer, or nothing for 1 to 3 by chance")
        require(is_number(self.alpha, 1e-3, 1e3), "aug_mix.alpha", self.alpha, "a number from 0.001 to 1000")
        require(isinstance(self.all_ops, bool), "aug_mix.all_ops", self.all_ops, "true or false")

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``chains`` of operations, their ``weights``, and ``share``: how much of the mixture is in the result."""
        one = single(key, self.name)
        weights, share = dirichlet(one, self.alpha, self.width), beta(one, self.alpha)
        chains = [self.operations(one, height, width) for _ in range(self.width)]
        return {"chains": chains, "weights": weights, "share": share}

    def operations(self, key: Key, height: int, width: int) -> list[list[Any]]:
        """One chain."""
        names = _ALL if self.all_ops else _SEPARATE
        depth = key.integers(1, 4) if self.depth is None else self.depth
        drawn = []
        for _ in range(depth):
            name = names[key.integers(0, len(names))]
            level, sign = key.uniform(0.1, self.severity), 1 if key.uniform() < 0.5 else -1
            drawn.append([name, _strength(name, level, sign, height, width)])
        return drawn

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The mixture, rounded; uint8 [H, W, C]."""
        surface, share = Surface(self.interpolation, self.fill), np.float32(parameters["share"])
        mixed = (1 - share) * image.numpy().astype(np.float32)
        for weight, chain in zip(parameters["weights"], parameters["chains"], strict=True):
            mixed += share * np.float32(weight) * run(image, chain, surface).numpy().astype(np.float32)
        return torch.from_numpy(np.rint(mixed).clip(0, 255).astype(np.uint8))

    def describe(self) -> str:
        """One sentence."""
        depth = "1 to 3" if self.depth is None else f"{self.depth}"
        return f"mixes the image with {self.width} chains of {depth} operations of severity {self.severity}"


def _strength(name: str, level: float, sign: int, height: int, width: int) -> float:
    """The number of an operation at ``level``, up to 10; the same formulae and truncations as the paper's code."""
    if name in ("autocontrast", "equalize"):
        return 0.0
    if name == "posterize":
        return 4 - int(level * 4 / 10)
    if name == "solarize":
        return 256 - int(level * 256 / 10)
    if name == "rotate":
        return sign * int(level * 30 / 10)
    if name in ("shear_x", "shear_y"):
        return sign * level * 0.3 / 10
    if name in ("translate_x", "translate_y"):
        return sign * int(level * (width if name == "translate_x" else height) / 3 / 10)
    return level * 1.8 / 10 + 0.1 - 1  # enhancements: the factor minus 1
