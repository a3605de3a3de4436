"""How are fine details disturbed? By a Gaussian blur, by noise, and by an elastic deformation of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import ImageFilter
from torch import Tensor

from mezzotint.data.augment.base import Parameters, is_number, require
from mezzotint.data.augment.pillow_ops import to_image, to_picture
from mezzotint.data.augment.sometimes import Sometimes, interval
from mezzotint.data.random import Key

_WORDS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Sometimes):
    """Blur by ``PIL.ImageFilter.GaussianBlur`` with a standard deviation uniform in ``sigma``, in pixels.

    Sigma 0.1 to 2 is that of MoCo v2, BYOL and DeiT III. 0 changes nothing.
    """

    name: ClassVar[str] = "gaussian_blur"

    sigma: tuple[float, float] = (0.1, 2.0)

    def check(self) -> None:
        """Sigma is an interval."""
        interval(self.sigma, "gaussian_blur.sigma", 0, 100)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``sigma`` in pixels."""
        return {"sigma": key.uniform(*self.sigma)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image blurred."""
        return gaussian_blur(image, parameters["sigma"])

    def describe(self) -> str:
        """One sentence."""
        return f"blurs with a standard deviation of {self.sigma[0]:g} to {self.sigma[1]:g} pixels{self.odds()}"


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """uint8 [H, W, C] blurred with standard deviation ``sigma`` in pixels, by Pillow."""
    return to_image(to_picture(image).filter(ImageFilter.GaussianBlur(radius=sigma)))


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Sometimes):
    """Add independent normal noise to every value; its deviation is uniform in ``std``, in units of the full range."""

    name: ClassVar[str] = "gaussian_noise"

    std: tuple[float, float] = (0.0, 0.1)

    def check(self) -> None:
        """The deviation is an interval."""
        interval(self.std, "gaussian_noise.std", 0, 1)

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``std``, and ``state``, from which the noise is made."""
        return {"std": key.uniform(*self.std), "state": key.integers(0, _WORDS)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image with noise, rounded and kept in 0 .. 255."""
        generator = Key.from_state(parameters["state"]).generator()
        noise = generator.standard_normal(tuple(image.shape), dtype=np.float32)
        noisy = image.numpy() + noise * np.float32(255 * parameters["std"])
        return torch.from_numpy(np.rint(noisy).clip(0, 255).astype(np.uint8))

    def describe(self) -> str:
        """One sentence."""
        return f"adds normal noise of {self.std[0]:g} to {self.std[1]:g} of the full range{self.odds()}"


@dataclass(frozen=True, kw_only=True)
class Elastic(Sometimes):
    """Deform the plane: every pixel is fetched from a place moved by a smooth random field.

    Simard et al., "Best practices for convolutional neural networks applied to visual document analysis" (2003): fields
    uniform in -1 .. 1 are smoothed by a Gaussian of deviation ``sigma`` and multiplied by ``alpha``, all in pixels.
    Bilinear; places outside take the nearest pixel of the edge.
    """

    name: ClassVar[str] = "elastic"

    alpha: float = 34.0
    sigma: float = 4.0

    def check(self) -> None:
        """Strength and smoothness are usable."""
        require(is_number(self.alpha, 0, 10_000), "elastic.alpha", self.alpha, "a number from 0 to 10000")
        require(is_number(self.sigma, 0.1, 100), "elastic.sigma", self.sigma, "a number from 0.1 to 100")

    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """``state``, from which the field is made."""
        return {"state": key.integers(0, _WORDS)}

    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image deformed."""
        height, width = int(image.shape[0]), int(image.shape[1])
        generator = Key.from_state(parameters["state"]).generator()
        field = smooth(generator.uniform(-1, 1, (2, height, width)).astype(np.float32), self.sigma)
        return displace(image, torch.from_numpy(field) * self.alpha)

    def describe(self) -> str:
        """One sentence."""
        return f"deforms by a random field of strength {self.alpha:g} and smoothness {self.sigma:g} pixels{self.odds()}"


def smooth(planes: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """float32 [N, H, W] convolved with a Gaussian cut off at 4 sigma; zero outside.

    Tap by tap, so that the sums do not depend on the number of threads.
    """
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        side = planes.shape[axis]
        widths = [(0, 0), (0, 0), (0, 0)]
        widths[axis] = (reach, reach)
        padded = np.pad(planes, widths)
        planes = np.zeros_like(planes)
        for tap, weight in enumerate(kernel):
            window = padded[:, tap : tap + side] if axis == 1 else padded[:, :, tap : tap + side]
            planes += weight * window
    return planes


def displace(image: Tensor, field: Tensor) -> Tensor:
    """The image uint8 [H, W, C] whose pixel (x, y) is the old one at (x + field[0], y + field[1]).

    Args:
        image: uint8 [H, W, C].
        field: float32 [2, H, W], pixels.
    """
    height, width = int(image.shape[0]), int(image.shape[1])
    x = torch.arange(width, dtype=torch.float32) + field[0]
    y = torch.arange(height, dtype=torch.float32).unsqueeze(1) + field[1]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).unsqueeze(0)
    values = image.permute(2, 0, 1).unsqueeze(0).float()
    moved = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.squeeze(0).permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
