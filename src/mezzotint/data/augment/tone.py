"""How are tones changed one pixel at a time? Inverted, cut to fewer bits, spread out, sharpened, by Pillow's rules.

Grey images have no colour: ``colour`` leaves them as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mezzotint.data.augment.base import Parameters, is_integer, is_number, require
from mezzotint.data.augment.operate import run
from mezzotint.data.augment.sometimes import Sometimes
from mezzotint.data.random import Key


@dataclass(frozen=True, kw_only=True)
class Tone(Sometimes):
    """Base: one operation of ``pillow_ops`` with a fixed number, ``value()``."""

    operation: ClassVar[str]

    @abstractmethod
    def value(self) -> float:
        """The operation's number; 0 where it takes none."""

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """Nothing but whether it happens is random."""
        return {}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The operation on the image."""
        return run(image, [(self.operation, self.value())])


@dataclass(frozen=True, kw_only=True)
class Plain(Tone):
    """Base of the operations without a setting of their own."""

    words: ClassVar[str]

    def check(self) -> None:
        """There is nothing to check."""

    def value(self) -> float:
        """None is used."""
        return 0.0

    def describe(self) -> str:
        """One sentence."""
        return self.words + self.odds()


@dataclass(frozen=True, kw_only=True)
class Invert(Plain):
    """Every level v becomes 255 - v."""

    name: ClassVar[str] = "invert"
    operation: ClassVar[str] = "invert"
    words: ClassVar[str] = "replaces each level v by 255 - v"


@dataclass(frozen=True, kw_only=True)
class Equalize(Plain):
    """Each channel's histogram made as even as its levels allow; ``PIL.ImageOps.equalize``."""

    name: ClassVar[str] = "equalize"
    operation: ClassVar[str] = "equalize"
    words: ClassVar[str] = "makes the histogram of each channel even"


@dataclass(frozen=True, kw_only=True)
class Autocontrast(Plain):
    """Each channel stretched from its darkest and lightest level to 0 .. 255; ``PIL.ImageOps.autocontrast``."""

    name: ClassVar[str] = "autocontrast"
    operation: ClassVar[str] = "autocontrast"
    words: ClassVar[str] = "stretches each channel to the levels 0 to 255"


@dataclass(frozen=True, kw_only=True)
class Solarize(Tone):
    """Levels of at least ``threshold`` are inverted; ``PIL.ImageOps.solarize``. 256 changes nothing."""

    name: ClassVar[str] = "solarize"
    operation: ClassVar[str] = "solarize"

    threshold: float = 128

    def check(self) -> None:
        """The threshold is a level, or 256."""
        require(is_number(self.threshold, 0, 256), "solarize.threshold", self.threshold, "a number from 0 to 256")

    def value(self) -> float:
        """The threshold."""
        return self.threshold

    def describe(self) -> str:
        """One sentence."""
        return f"inverts the levels from {self.threshold:g} on" + self.odds()


@dataclass(frozen=True, kw_only=True)
class Posterize(Tone):
    """Only the ``bits`` highest bits of each level stay; ``PIL.ImageOps.posterize``. 8 changes nothing."""

    name: ClassVar[str] = "posterize"
    operation: ClassVar[str] = "posterize"

    bits: int = 4

    def check(self) -> None:
        """The bits are 1 to 8."""
        allowed = "an integer from 1 to 8"
        require(is_integer(self.bits, 1) and self.bits <= 8, "posterize.bits", self.bits, allowed)

    def value(self) -> float:
        """The bits."""
        return self.bits

    def describe(self) -> str:
        """One sentence."""
        return f"keeps the {self.bits} highest bits of each level" + self.odds()


@dataclass(frozen=True, kw_only=True)
class Enhance(Sometimes):
    """Base of Pillow's enhancements: the factor is uniform in 1 - ``amount`` .. 1 + ``amount``; 1 changes nothing."""

    operation: ClassVar[str]
    words: ClassVar[str]

    p: float = 1.0
    amount: float = 0.5

    def check(self) -> None:
        """The amount keeps factors from being negative."""
        require(is_number(self.amount, 0, 1), f"{self.name}.amount", self.amount, "a number from 0 to 1")

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``change``: the factor minus 1."""
        return {"change": key.uniform(-self.amount, self.amount)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The enhanced image."""
        return run(image, [(self.operation, parameters["change"])])

    def describe(self) -> str:
        """One sentence."""
        return f"{self.words} by a factor of {1 - self.amount:g} to {1 + self.amount:g}{self.odds()}"


@dataclass(frozen=True, kw_only=True)
class Brightness(Enhance):
    """Mixed with black; ``PIL.ImageEnhance.Brightness``."""

    name: ClassVar[str] = "brightness"
    operation: ClassVar[str] = "brightness"
    words: ClassVar[str] = "multiplies brightness"


@dataclass(frozen=True, kw_only=True)
class Contrast(Enhance):
    """Mixed with the mean grey level of the whole image; ``PIL.ImageEnhance.Contrast``."""

    name: ClassVar[str] = "contrast"
    operation: ClassVar[str] = "contrast"
    words: ClassVar[str] = "multiplies contrast about the image's mean grey"


@dataclass(frozen=True, kw_only=True)
class Colour(Enhance):
    """Mixed with its own grey version, so that saturation changes; ``PIL.ImageEnhance.Color``."""

    name: ClassVar[str] = "colour"
    needs_colour: ClassVar[bool] = True
    operation: ClassVar[str] = "color"
    words: ClassVar[str] = "multiplies saturation"


@dataclass(frozen=True, kw_only=True)
class Sharpness(Enhance):
    """Mixed with a smoothed version; below 1 it is blurred, above 1 sharpened; ``PIL.ImageEnhance.Sharpness``."""

    name: ClassVar[str] = "sharpness"
    operation: ClassVar[str] = "sharpness"
    words: ClassVar[str] = "multiplies sharpness"
