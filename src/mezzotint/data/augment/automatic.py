"""How is an image augmented by a policy? AutoAugment, RandAugment and TrivialAugment draw operations and strengths.

The ranges of the strengths are torchvision's: those of the papers, with translations scaled from AutoAugment's 331
pixels to the image's own size. ``parameters["operations"]`` holds pairs of a name and its final number, with its sign:
``mezzotint.data.augment.operate.run`` repeats them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_integer, require
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.pillow_ops import Surface, checked_surface
from mezzotint.data.augment.policies import POLICIES
from mezzotint.data.augment.sometimes import single
from mezzotint.data.random import Key, Keys

_SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
_WITHOUT = ("identity", "autocontrast", "equalize", "invert")

#: The operations of RandAugment and TrivialAugment, in torchvision's order.
DRAWN = ("identity", *_SIGNED, "posterize", "solarize", "autocontrast", "equalize")


@dataclass(frozen=True, kw_only=True)
class Automatic(Augmentation):
    """Base: draws ``operations`` and applies them as Pillow does."""

    interpolation: str = "nearest"
    fill: int = 0

    def __post_init__(self) -> None:
        checked_surface(self.name, self.interpolation, self.fill)
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Refuse settings that cannot be used; interpolation and fill are checked already."""

    @abstractmethod
    def operations(self, key: Key, height: int, width: int) -> list[list[Any]]:
        """Pairs [name, number]."""

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``operations``: pairs of a name and its number, in the order of their application."""
        return {"operations": self.operations(single(key, self.name), height, width)}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image after all operations; uint8 [H, W, C]."""
        return run(image, parameters["operations"], Surface(self.interpolation, self.fill))


def narrow(name: str, share: float, height: int, width: int) -> float:
    """The number of an operation in AutoAugment's ranges, without sign.

    Args:
        name: of the operation.
        share: of the full strength, 0 to 1.
        height, width: of the image; translations reach 150/331 of the side.
    """
    if name in _WITHOUT:
        return 0.0
    if name == "posterize":
        return 8 - round(4 * share)
    if name == "solarize":
        return 255 * (1 - share)
    side = {"translate_x": width, "translate_y": height}.get(name, 0)
    return share * (150 / 331 * side if side else {"shear_x": 0.3, "shear_y": 0.3, "rotate": 30.0}.get(name, 0.9))


def wide(name: str, share: float) -> float:
    """The number of an operation in TrivialAugment's wide ranges, without sign; translations reach 32 pixels."""
    if name in _WITHOUT:
        return 0.0
    if name == "posterize":
        return 8 - round(6 * share)
    if name == "solarize":
        return 255 * (1 - share)
    return share * {"translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0}.get(name, 0.99)


def signed(name: str, value: float, key: Key) -> float:
    """The number with a random sign where the operation has two directions."""
    return -value if name in _SIGNED and key.uniform() < 0.5 else value


@dataclass(frozen=True, kw_only=True)
class AutoAugment(Automatic):
    """One of 25 learned pairs of operations, each with its probability and strength.

    Cubuk et al., "AutoAugment" (CVPR 2019); the policies are in ``mezzotint.data.augment.policies``.
    """

    name: ClassVar[str] = "auto_augment"

    policy: str = "imagenet"

    def check(self) -> None:
        """The policy is one of the three."""
        allowed = ", ".join(map(repr, POLICIES))
        known = isinstance(self.policy, str) and self.policy in POLICIES
        require(known, "auto_augment.policy", self.policy, allowed)

    def operations(self, key: Key, height: int, width: int) -> list[list[Any]]:
        """The operations of one pair that happen."""
        pairs = POLICIES[self.policy]
        drawn = []
        for step in pairs[key.integers(0, len(pairs))]:
            happens = key.uniform() < step.p
            value = signed(step.operation, narrow(step.operation, (step.strength or 0) / 9, height, width), key)
            if happens:
                drawn.append([step.operation, value])
        return drawn

    def describe(self) -> str:
        """One sentence."""
        return f"applies one of the 25 pairs of operations of AutoAugment's policy for {self.policy}"


@dataclass(frozen=True, kw_only=True)
class RandAugment(Automatic):
    """``num_ops`` operations, drawn with equal chance from 14, all of strength ``magnitude`` of ``bins`` - 1.

    Cubuk et al., "RandAugment" (2020).
    """

    name: ClassVar[str] = "rand_augment"

    num_ops: int = 2
    magnitude: int = 9
    bins: int = 31

    def check(self) -> None:
        """Counts are integers, and the magnitude is a bin."""
        require(is_integer(self.num_ops, 1), "rand_augment.num_ops", self.num_ops, "a positive integer")
        require(is_integer(self.bins, 2), "rand_augment.bins", self.bins, "an integer of at least 2")
        allowed = f"an integer from 0 to bins - 1, which is {self.bins - 1}"
        good = is_integer(self.magnitude, 0) and self.magnitude < self.bins
        require(good, "rand_augment.magnitude", self.magnitude, allowed)

    def operations(self, key: Key, height: int, width: int) -> list[list[Any]]:
        """``num_ops`` operations of one strength."""
        names = [DRAWN[key.integers(0, len(DRAWN))] for _ in range(self.num_ops)]
        share = self.magnitude / (self.bins - 1)
        return [[name, signed(name, narrow(name, share, height, width), key)] for name in names]

    def describe(self) -> str:
        """One sentence."""
        return f"applies {self.num_ops} of {len(DRAWN)} operations at strength {self.magnitude} of {self.bins - 1}"


@dataclass(frozen=True, kw_only=True)
class TrivialAugmentWide(Automatic):
    """One operation of 14 with a strength drawn with equal chance from ``bins``, in wide ranges.

    Müller and Hutter, "TrivialAugment" (ICCV 2021).
    """

    name: ClassVar[str] = "trivial_augment_wide"

    bins: int = 31

    def check(self) -> None:
        """There are at least two bins."""
        require(is_integer(self.bins, 2), "trivial_augment_wide.bins", self.bins, "an integer of at least 2")

    def operations(self, key: Key, height: int, width: int) -> list[list[Any]]:
        """One operation."""
        name = DRAWN[key.integers(0, len(DRAWN))]
        share = key.integers(0, self.bins) / (self.bins - 1)
        return [[name, signed(name, wide(name, share), key)]]

    def describe(self) -> str:
        """One sentence."""
        return f"applies one of {len(DRAWN)} operations at one of {self.bins} strengths, in wide ranges"
