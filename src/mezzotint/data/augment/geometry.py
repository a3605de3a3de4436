"""How are images turned, sheared, moved and tilted? By Pillow's affine and perspective maps, parameters drawn here.

Matrices map places of the result to places of the image, as Pillow takes them. Nothing is expanded: the result has the
image's size, and what comes in from outside has the level ``fill``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from mezzotint.data.augment.base import Parameters, as_range, is_number, require
from mezzotint.data.augment.pillow_ops import Surface, checked_surface, rotate, to_image, to_picture, warp
from mezzotint.data.augment.sometimes import Sometimes
from mezzotint.data.random import Key


@dataclass(frozen=True, kw_only=True)
class Geometry(Sometimes):
    """Base: an interpolation and a fill."""

    p: float = 1.0
    interpolation: str = "bilinear"
    fill: int = 0

    @property
    def surface(self) -> Surface:
        """Interpolation and fill together."""
        return Surface(self.interpolation, self.fill)

    def _require(self, setting: str, low: float, high: float) -> None:
        value = getattr(self, setting)
        require(is_number(value, low, high), f"{self.name}.{setting}", value, f"a number from {low:g} to {high:g}")


@dataclass(frozen=True, kw_only=True)
class Rotation(Geometry):
    """Turn about the centre by an angle uniform in -``degrees`` .. ``degrees``; ``PIL.Image.rotate``."""

    name: ClassVar[str] = "rotation"

    degrees: float = 15.0

    def check(self) -> None:
        """The settings are usable."""
        checked_surface(self.name, self.interpolation, self.fill)
        self._require("degrees", 0, 180)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``degrees``, counter-clockwise."""
        return {"degrees": key.uniform(-self.degrees, self.degrees)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image turned."""
        return to_image(rotate(to_picture(image), parameters["degrees"], self.surface))

    def describe(self) -> str:
        """One sentence."""
        return f"turns by up to {self.degrees:g} degrees, {self.interpolation}{self.odds()}"


@dataclass(frozen=True, kw_only=True)
class Affine(Geometry):
    """Turn, scale, shear and move at once, about the centre.

    ``degrees``, ``shear`` (degrees, along x) and ``translate`` (share of the side) are uniform in -x .. x, the scale in
    ``scale``. The map is torchvision's: first the shear, then turn and scale, then the move.
    """

    name: ClassVar[str] = "affine"

    degrees: float = 10.0
    translate: float = 0.1
    scale: tuple[float, float] = (0.9, 1.1)
    shear: float = 10.0

    def check(self) -> None:
        """The settings are usable."""
        checked_surface(self.name, self.interpolation, self.fill)
        self._require("degrees", 0, 180)
        self._require("translate", 0, 1)
        self._require("shear", 0, 89)
        as_range(self.scale, "affine.scale")

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``degrees`` (clockwise), ``right`` and ``down`` in pixels, ``scale``, ``shear`` in degrees."""
        return {
            "degrees": key.uniform(-self.degrees, self.degrees),
            "right": round(key.uniform(-self.translate, self.translate) * width),
            "down": round(key.uniform(-self.translate, self.translate) * height),
            "scale": key.uniform(*self.scale),
            "shear": key.uniform(-self.shear, self.shear),
        }

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image mapped."""
        values = (parameters[name] for name in ("degrees", "right", "down", "scale", "shear"))
        matrix = inverse_affine(int(image.shape[0]), int(image.shape[1]), *values)
        return to_image(warp(to_picture(image), matrix, self.surface))

    def describe(self) -> str:
        """One sentence."""
        return (
            f"turns by up to {self.degrees:g} degrees, moves by up to {self.translate:g} of the side, scales by "
            f"{self.scale[0]:g} to {self.scale[1]:g} and shears by up to {self.shear:g} degrees, "
            f"{self.interpolation}{self.odds()}"
        )


def inverse_affine(
    height: int, width: int, degrees: float, right: float, down: float, scale: float, shear: float
) -> tuple[float, ...]:
    """The six numbers of Pillow that undo shear, turn and scale about the centre, and the move.

    The forward map is move o centre o scale * turn(degrees) * [[1, -tan(shear)], [0, 1]] o centre^-1, with y pointing
    down, so that a positive angle turns clockwise; these are torchvision's conventions.
    """
    angle, slope = math.radians(degrees), math.tan(math.radians(shear))
    forward = scale * np.array(
        [
            [math.cos(angle), -math.cos(angle) * slope - math.sin(angle)],
            [math.sin(angle), -math.sin(angle) * slope + math.cos(angle)],
        ]
    )
    back = np.linalg.inv(forward)
    centre = np.array([width / 2, height / 2])
    offset = centre - back @ (centre + np.array([right, down]))
    return (*back[0].tolist(), float(offset[0]), *back[1].tolist(), float(offset[1]))


@dataclass(frozen=True, kw_only=True)
class Shear(Geometry):
    """Slide rows or columns by up to ``amount`` of their distance from the centre, along x or y with equal chance."""

    name: ClassVar[str] = "shear"

    amount: float = 0.3

    def check(self) -> None:
        """The settings are usable."""
        checked_surface(self.name, self.interpolation, self.fill)
        self._require("amount", 0, 2)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``x`` and ``y``: the slopes, one of them 0."""
        slope = key.uniform(-self.amount, self.amount)
        return {"x": slope, "y": 0.0} if key.uniform() < 0.5 else {"x": 0.0, "y": slope}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image sheared about its centre."""
        x, y = parameters["x"], parameters["y"]
        matrix = (1, x, -x * image.shape[0] / 2, y, 1, -y * image.shape[1] / 2)
        return to_image(warp(to_picture(image), matrix, self.surface))

    def describe(self) -> str:
        """One sentence."""
        return f"shears along x or y by a slope of up to {self.amount:g}, {self.interpolation}{self.odds()}"


@dataclass(frozen=True, kw_only=True)
class Translate(Geometry):
    """Move by whole pixels, up to ``amount`` of the side, along both axes."""

    name: ClassVar[str] = "translate"

    amount: float = 0.1

    def check(self) -> None:
        """The settings are usable."""
        checked_surface(self.name, self.interpolation, self.fill)
        self._require("amount", 0, 1)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``right`` and ``down`` in pixels."""
        most_right, most_down = int(self.amount * width), int(self.amount * height)
        right = key.integers(-most_right, most_right + 1)
        return {"right": right, "down": key.integers(-most_down, most_down + 1)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image moved."""
        matrix = (1, 0, -parameters["right"], 0, 1, -parameters["down"])
        return to_image(warp(to_picture(image), matrix, self.surface))

    def describe(self) -> str:
        """One sentence."""
        return f"moves by up to {self.amount:g} of each side{self.odds()}"


@dataclass(frozen=True, kw_only=True)
class Perspective(Geometry):
    """Tilt: each corner moves inwards by up to ``distortion`` of the half side.

    torchvision's ``RandomPerspective``; the map is the one that takes the four corners to their new places.
    """

    name: ClassVar[str] = "perspective"

    p: float = 0.5
    distortion: float = 0.5

    def check(self) -> None:
        """The settings are usable."""
        checked_surface(self.name, self.interpolation, self.fill)
        self._require("distortion", 0, 0.99)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``corners``: (x, y) of the new top left, top right, bottom right and bottom left corner."""
        across, along = int(self.distortion * (width // 2)), int(self.distortion * (height // 2))
        inward = [(key.integers(0, across + 1), key.integers(0, along + 1)) for _ in range(4)]
        signs = ((0, 0), (1, 0), (1, 1), (0, 1))
        return {
            "corners": [
                [width - 1 - x if right else x, height - 1 - y if low else y]
                for (x, y), (right, low) in zip(inward, signs, strict=True)
            ]
        }

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image tilted; where a side is a single pixel there is nothing to tilt."""
        height, width = int(image.shape[0]), int(image.shape[1])
        if min(height, width) < 2:
            return image
        corners = [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)]
        picture = to_picture(image)
        tilted = picture.transform(
            picture.size,
            Image.Transform.PERSPECTIVE,
            perspective_coefficients(corners, parameters["corners"]),
            resample=self.surface.resampling,
            fillcolor=self.surface.colour(picture),
        )
        return to_image(tilted)

    def describe(self) -> str:
        """One sentence."""
        return f"moves the corners inwards by up to {self.distortion:g} of the half side{self.odds()}"


def perspective_coefficients(old: Sequence[Sequence[float]], new: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """a .. h with x_old = (a x + b y + c) / (g x + h y + 1), y_old = (d x + e y + f) / (g x + h y + 1).

    Args:
        old: four corners (x, y) of the image.
        new: where they are in the result; no three on one line.
    """
    rows, right = [], []
    for (x_old, y_old), (x, y) in zip(old, new, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -x_old * x, -x_old * y], [0, 0, 0, x, y, 1, -y_old * x, -y_old * y]]
        right += [x_old, y_old]
    solved = np.linalg.solve(np.array(rows, dtype=np.float64), np.array(right, dtype=np.float64))
    return tuple(solved.tolist())
