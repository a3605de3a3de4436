"""What are the steps of an evaluation protocol? Resizes and centre crops, each with its rounding rule as an argument.

A step knows four things: how to do itself, the size that it gives, which window of its input it keeps, and how to say
what it does. The rules in use elsewhere differ by a pixel here and there, which is why they are spelt out:

=================  ==============================================================  =================================
rule               meaning, for a side of ``n`` pixels and ``d = n - size``        who does so
=================  ==============================================================  =================================
offset floor       ``d // 2``                                                      TensorFlow, Albumentations, FFCV
offset half_even   ``int(round(d / 2))``, Python's banker's rounding; one more     torchvision, timm
                   than floor where ``d % 4 == 3`` (227 to 224: 2, not 1)
size floor         ``floor(fraction * n)``, at offset ``floor``                    ``central875``
size tensorflow    start ``int((n - n * fraction) / 2)``, size ``n - 2 * start``   ``tf.image.central_crop``
=================  ==============================================================  =================================

A crop never becomes empty: at least one pixel remains, as in ``floor(0.875 * 1)``, which would be 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from mezzotint.data.resize import Resampling, resize
from mezzotint.errors import ImageError, message

_MAX_INTERMEDIATE = 2**28

_HOW: dict[Resampling, str] = {
    "torch": "bilinear, antialiased (torch)",
    "pillow": "bilinear, antialiased (Pillow, to the bit)",
    "tensorflow": "bilinear, not antialiased (TensorFlow)",
}


class Window(NamedTuple):
    """A rectangle in an image, in pixels from its upper left corner; ``bottom`` and ``right`` are exclusive."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One step of a protocol; its fields are its rules, and all of them go into the fingerprint."""

    @abstractmethod
    def __call__(self, image: Tensor) -> Tensor:
        """Do the step to an image [H, W, C], uint8 or float32."""

    @abstractmethod
    def size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that come out."""

    @abstractmethod
    def window(self, height: int, width: int) -> Window:
        """The part of the input that the output shows."""

    @abstractmethod
    def words(self) -> str:
        """What the step does, as a sentence."""

    @property
    @abstractmethod
    def verb(self) -> str:
        """What the step does, in the words that go before the size that comes out, as in "resized to 256 x 256"."""

    def rules(self) -> dict[str, object]:
        """The step's name and fields, JSON-ready."""
        return {"step": type(self).__name__, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Resize(Step):
    """Resize to a fixed size; the aspect ratio is not kept."""

    height: int
    width: int
    resampling: Resampling
    interpolation: Literal["bilinear"] = "bilinear"

    def __call__(self, image: Tensor) -> Tensor:
        return resize(image, self.height, self.width, resampling=self.resampling)

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.height, self.width

    def window(self, height: int, width: int) -> Window:
        return Window(0, 0, height, width)

    @property
    def verb(self) -> str:
        return "resized to"

    def words(self) -> str:
        return f"Resize to {self.height} x {self.width}, whatever the aspect ratio, {_HOW[self.resampling]}."


@dataclass(frozen=True, kw_only=True)
class ResizeShorter(Step):
    """Resize so that the shorter side has ``side`` pixels; the longer one becomes ``int(side * long / short)``."""

    side: int
    resampling: Resampling
    interpolation: Literal["bilinear"] = "bilinear"

    def __call__(self, image: Tensor) -> Tensor:
        height, width = self.size(image.shape[0], image.shape[1])
        if height * width > _MAX_INTERMEDIATE:
            received = f"an image of {image.shape[1]} x {image.shape[0]} pixels, which would grow to {width} x {height}"
            allowed = f"at most {_MAX_INTERMEDIATE} pixels after resizing its shorter side to {self.side}"
            fix = 'Use a protocol that does not keep the aspect ratio, such as "squash256".'
            raise ImageError(message("image", received=received, allowed=allowed, fix=fix))
        return resize(image, height, width, resampling=self.resampling)

    def size(self, height: int, width: int) -> tuple[int, int]:
        if height <= width:
            return self.side, int(self.side * width / height)
        return int(self.side * height / width), self.side

    def window(self, height: int, width: int) -> Window:
        return Window(0, 0, height, width)

    @property
    def verb(self) -> str:
        return "resized to"

    def words(self) -> str:
        how = _HOW[self.resampling]
        return f"Resize the shorter side to {self.side}, the longer one in proportion (rounded down), {how}."


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Step):
    """Cut a square of ``side`` pixels out of the centre."""

    side: int
    offset: Literal["floor", "half_even"] = "floor"

    def __call__(self, image: Tensor) -> Tensor:
        return _cut(image, self.window(image.shape[0], image.shape[1]))

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.side, self.side

    def window(self, height: int, width: int) -> Window:
        if min(height, width) < self.side:
            received = f"an image of {width} x {height} pixels at the crop"
            raise ImageError(message("image", received=received, allowed=f"at least {self.side} x {self.side}"))
        top, left = self._start(height - self.side), self._start(width - self.side)
        return Window(top, left, top + self.side, left + self.side)

    def _start(self, surplus: int) -> int:
        return surplus // 2 if self.offset == "floor" else round(surplus / 2)

    @property
    def verb(self) -> str:
        return "centre cut to"

    def words(self) -> str:
        rule = "surplus // 2" if self.offset == "floor" else "round(surplus / 2), halves to the even number"
        return f"Cut the centre {self.side} x {self.side} out, at offset {rule}."


@dataclass(frozen=True, kw_only=True)
class CropFraction(Step):
    """Cut the central ``fraction`` of each side out; the aspect ratio stays that of the image."""

    fraction: float
    rounding: Literal["floor", "tensorflow"] = "floor"

    def __call__(self, image: Tensor) -> Tensor:
        return _cut(image, self.window(image.shape[0], image.shape[1]))

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self._span(height)[1], self._span(width)[1]

    def window(self, height: int, width: int) -> Window:
        (top, rows), (left, columns) = self._span(height), self._span(width)
        return Window(top, left, top + rows, left + columns)

    def _span(self, side: int) -> tuple[int, int]:
        """Where the crop starts on a side, and how long it is."""
        if self.rounding == "tensorflow":
            start = int((side - side * self.fraction) / 2)
            return start, side - 2 * start
        length = max(1, math.floor(self.fraction * side))
        return (side - length) // 2, length

    @property
    def verb(self) -> str:
        return "centre cut to"

    def words(self) -> str:
        if self.rounding == "tensorflow":
            rule = f"start = int((side - side * {self.fraction:g}) / 2), size = side - 2 * start"
        else:
            rule = f"size = floor({self.fraction:g} * side), at least 1, start = (side - size) // 2"
        return f"Cut the central {self.fraction:.1%} of each side out: {rule}."


def _cut(image: Tensor, window: Window) -> Tensor:
    top, left, bottom, right = (int(edge) for edge in window)
    return image[top:bottom, left:right]
