"""What are the steps of an evaluation protocol? Resizes and centre crops, each with its rounding rule as an argument.

A step knows how to do itself, the size that it gives, which window of its input it keeps, and how to say what it does.
It also knows on which part of its input a part of its output depends, and can do that part alone. The rules in use
elsewhere differ by a pixel here and there, which is why they are spelt out:

=================  ==============================================================  =================================
rule               meaning, for a side of ``n`` pixels and ``d = n - size``        who does so
=================  ==============================================================  =================================
offset floor       ``d // 2``                                                      TensorFlow, Albumentations, FFCV
offset half_even   ``int(round(d / 2))``, Python's banker's rounding; one more     torchvision, timm
                   than floor where ``d % 4 == 3`` (227 to 224: 2, not 1)
offset ceil        ``(d + 1) // 2``                                                EfficientNet in TensorFlow
size floor         ``floor(fraction * n)``                                         ``central875``, FFCV
size tensorflow    start ``int((n - n * fraction) / 2)``, size ``n - 2 * start``   ``tf.image.central_crop``
size float32       ``floor(fraction * n)`` in single precision                     EfficientNet in TensorFlow
=================  ==============================================================  =================================

A crop never becomes empty: at least one pixel remains, as in ``floor(0.875 * 1)``, which would be 0. Nor does a resize.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.part import Part
from mezzotint.data.resize import Interpolation, Resampling, resize, resizes_in_part
from mezzotint.errors import ImageError, message
from mezzotint.kernels import images
from mezzotint.kernels.images import Box, Size

Offset: TypeAlias = Literal["floor", "half_even", "ceil"]

_MAX_INTERMEDIATE = 2**28

_HOW: dict[Resampling, str] = {
    "pillow": "antialiased (Pillow, to the bit)",
    "tensorflow": "not antialiased (TensorFlow)",
    "tensorflow1": "not antialiased, without half-pixel centres (TensorFlow 1)",
    "opencv": "as INTER_AREA (OpenCV, to the bit)",
}

_OFFSETS: dict[Offset, str] = {
    "floor": "surplus // 2",
    "half_even": "round(surplus / 2), halves to the even number",
    "ceil": "(surplus + 1) // 2",
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

    def reach(self, size: Size, wanted: Box) -> Box:
        """The part of an input of ``size`` that ``part`` needs for the part ``wanted`` of the output."""
        return size.whole

    def part(self, part: Part, wanted: Box) -> Tensor:
        """The part ``wanted`` of what the step makes of an image, from what ``reach`` says of it."""
        return _box_of(self(part.levels), wanted)

    def kernel(self) -> str | None:
        """The filter of a resize that the native library can do in part; None: the step is none."""
        return None

    @abstractmethod
    def words(self) -> str:
        """What the step does, as a sentence."""

    @property
    @abstractmethod
    def verb(self) -> str:
        """What the step does, in the words that go before the size that comes out, as in "resized to 256 x 256"."""

    def rules(self) -> dict[str, object]:
        """The step's name and fields, JSON-ready, without those that are None."""
        return {"step": type(self).__name__, **{key: value for key, value in asdict(self).items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class _Resizing(Step):
    """What the resizes share."""

    resampling: Resampling
    interpolation: Interpolation = "bilinear"

    def __call__(self, image: Tensor) -> Tensor:
        to = self._checked_size(Size(image.shape[0], image.shape[1]))
        return resize(image, *to, resampling=self.resampling, interpolation=self.interpolation)

    def reach(self, size: Size, wanted: Box) -> Box:
        if not resizes_in_part(self.resampling, self.interpolation):
            return size.whole
        return images.resize_reach(size, self._checked_size(size), wanted, resampling_filter=self.interpolation)

    def part(self, part: Part, wanted: Box) -> Tensor:
        if part.levels.dtype != torch.uint8 or not resizes_in_part(self.resampling, self.interpolation):
            return super().part(part, wanted)
        kernel, to = self.interpolation, self._checked_size(part.size)
        return images.resize(part.levels, to, wanted, resampling_filter=kernel, held=part.box, size=part.size)

    def kernel(self) -> str | None:
        return self.interpolation if resizes_in_part(self.resampling, self.interpolation) else None

    def _checked_size(self, size: Size) -> Size:
        to = Size(*self.size(*size))
        if to.height * to.width > _MAX_INTERMEDIATE:
            received = f"an image of {size.width} x {size.height} pixels, which would grow to {to.width} x {to.height}"
            allowed = f"at most {_MAX_INTERMEDIATE} pixels after resizing"
            fix = 'Use a protocol that does not keep the aspect ratio, such as "squash256".'
            raise ImageError(message("image", received=received, allowed=allowed, fix=fix))
        return to

    def window(self, height: int, width: int) -> Window:
        return Window(0, 0, height, width)

    @property
    def verb(self) -> str:
        return "resized to"

    @property
    def how(self) -> str:
        """The interpolation in words."""
        if self.interpolation == "nearest":
            return f"nearest pixel ({self.resampling.capitalize()}, to the bit)"
        return (
            _HOW[self.resampling] if self.resampling == "opencv" else f"{self.interpolation}, {_HOW[self.resampling]}"
        )


@dataclass(frozen=True, kw_only=True)
class Resize(_Resizing):
    """Resize to a fixed size; the aspect ratio is not kept."""

    height: int
    width: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.height, self.width

    def words(self) -> str:
        return f"Resize to {self.height} x {self.width}, whatever the aspect ratio, {self.how}."


@dataclass(frozen=True, kw_only=True)
class ResizeShorter(_Resizing):
    """Resize so that the shorter side has ``side`` pixels; the longer one becomes ``int(side * long / short)``."""

    side: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        if height <= width:
            return self.side, int(self.side * width / height)
        return int(self.side * height / width), self.side

    def words(self) -> str:
        return f"Resize the shorter side to {self.side}, the longer one in proportion (rounded down), {self.how}."


@dataclass(frozen=True, kw_only=True)
class ResizeLonger(_Resizing):
    """Resize so that the longer side has ``side`` pixels; the shorter one becomes ``round(short / (long / side))``."""

    side: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        ratio = max(height / self.side, width / self.side)
        return max(1, round(height / ratio)), max(1, round(width / ratio))

    def words(self) -> str:
        rule = "rounded, halves to the even number"
        return f"Resize the longer side to {self.side}, the shorter one in proportion ({rule}), {self.how}."


@dataclass(frozen=True, kw_only=True)
class Cropping(Step):
    """What the crops share: the output is the window of the input."""

    def __call__(self, image: Tensor) -> Tensor:
        top, left, bottom, right = (int(edge) for edge in self.window(image.shape[0], image.shape[1]))
        return image[top:bottom, left:right]

    def reach(self, size: Size, wanted: Box) -> Box:
        window = self.window(*size)
        return wanted._replace(top=wanted.top + int(window.top), left=wanted.left + int(window.left))

    def part(self, part: Part, wanted: Box) -> Tensor:
        box = self.reach(part.size, wanted)
        return _box_of(part.levels, box._replace(top=box.top - part.box.top, left=box.left - part.box.left))

    @property
    def verb(self) -> str:
        return "centre cut to"


@dataclass(frozen=True, kw_only=True)
class CenterCrop(Cropping):
    """Cut a square of ``side`` pixels out of the centre."""

    side: int
    offset: Offset = "floor"

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.side, self.side

    def window(self, height: int, width: int) -> Window:
        if min(height, width) < self.side:
            received = f"an image of {width} x {height} pixels at the crop"
            raise ImageError(message("image", received=received, allowed=f"at least {self.side} x {self.side}"))
        top, left = (_start(side - self.side, self.offset) for side in (height, width))
        return Window(top, left, top + self.side, left + self.side)

    def words(self) -> str:
        return f"Cut the centre {self.side} x {self.side} out, at offset {_OFFSETS[self.offset]}."


@dataclass(frozen=True, kw_only=True)
class CropOrPad(Step):
    """Bring to a square of ``side`` pixels: cut where a side is longer, fill up with a colour where it is shorter.

    Of an odd number of pixels to fill, the one more goes to the bottom or to the right.
    """

    side: int
    fill: tuple[int, int, int]
    offset: Offset

    def __call__(self, image: Tensor) -> Tensor:
        top, left, bottom, right = (int(edge) for edge in self.window(image.shape[0], image.shape[1]))
        fill = torch.tensor(self.fill, dtype=torch.uint8)
        colour = fill if image.dtype == torch.uint8 else fill / 255
        padded = colour.expand(self.side, self.side, 3).clone()
        rows, columns = slice(max(0, -top), self.side), slice(max(0, -left), self.side)
        shown = image[max(0, top) : bottom, max(0, left) : right]
        padded[rows, columns][: shown.shape[0], : shown.shape[1]] = shown
        return padded

    def size(self, height: int, width: int) -> tuple[int, int]:
        return self.side, self.side

    def window(self, height: int, width: int) -> Window:
        """The square in the input; it reaches beyond the input where that is padded."""
        top, left = (
            -((self.side - side) // 2) if side < self.side else _start(side - self.side, self.offset)
            for side in (height, width)
        )
        return Window(top, left, top + self.side, left + self.side)

    @property
    def verb(self) -> str:
        return "centre cut or padded to"

    def words(self) -> str:
        cut = f"cut the centre out at offset {_OFFSETS[self.offset]}"
        pad = f"pad with the colour {self.fill}, lack // 2 above or at the left"
        return f"Bring to {self.side} x {self.side}: {cut}, or {pad}."


@dataclass(frozen=True, kw_only=True)
class CropFraction(Cropping):
    """Cut the central ``fraction`` of each side out; the aspect ratio stays that of the image.

    With rounding ``"tensorflow"`` the start is part of the rule, and ``offset`` must be None; with ``"floor"`` None
    means ``"floor"``.
    """

    fraction: float
    rounding: Literal["floor", "tensorflow"] = "floor"
    offset: Offset | None = None

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
        return _start(side - length, self.offset or "floor"), length

    def words(self) -> str:
        if self.rounding == "tensorflow":
            rule = f"start = int((side - side * {self.fraction:g}) / 2), size = side - 2 * start"
        else:
            offset = _OFFSETS[self.offset or "floor"].replace("surplus", "(side - size)")
            rule = f"size = floor({self.fraction:g} * side), at least 1, start = {offset}"
        return f"Cut the central {self.fraction:.1%} of each side out: {rule}."


@dataclass(frozen=True, kw_only=True)
class CropSquare(Cropping):
    """Cut a square out of the centre whose side is ``fraction`` of the image's shorter one, rounded down.

    ``precision`` is that of the product; where it comes close to a whole number, the precision decides.
    """

    fraction: float
    offset: Offset
    precision: Literal["float32", "float64"] = "float64"

    def size(self, height: int, width: int) -> tuple[int, int]:
        kind = np.dtype(self.precision).type
        side = max(1, int(kind(self.fraction) * kind(min(height, width))))
        return side, side

    def window(self, height: int, width: int) -> Window:
        side, _ = self.size(height, width)
        top, left = _start(height - side, self.offset), _start(width - side, self.offset)
        return Window(top, left, top + side, left + side)

    def words(self) -> str:
        rule = f"side = floor({self.fraction:g} * shorter side) in {self.precision}, at least 1"
        return f"Cut the central square out: {rule}, at offset {_OFFSETS[self.offset]}."


def _start(surplus: int, offset: Offset) -> int:
    """Where a crop starts on a side that is ``surplus`` pixels longer."""
    if offset == "half_even":
        return round(surplus / 2)
    return (surplus + (offset == "ceil")) // 2


def _box_of(image: Tensor, box: Box) -> Tensor:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]
