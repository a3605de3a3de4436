"""What is an augmentation? A pure function of (image, parameters), and a sampler of parameters from a key.

Because the two are apart, an augmented sample can be shown again from its parameters, or from (seed, epoch, sample)
alone. The settings of an augmentation are the fields of a frozen dataclass, checked when it is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from mezzotint.data.random import Key, Keys
from mezzotint.errors import ConfigError, message
from mezzotint.kernels.images import Box, Resizing

Parameters = Mapping[str, Any]
"""The sampled parameters by name: plain numbers for one image, arrays with one number per image for a batch."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """Base of all augmentations.

    Subclasses set ``name`` (as in configuration files) and give ``sample`` and ``apply``; those that can work on a
    whole batch of equally large images set ``batched`` and give ``apply_batch``. A call samples and applies.
    """

    name: ClassVar[str]
    batched: ClassVar[bool] = False
    needs_colour: ClassVar[bool] = False  # whether images of one channel stay as they are

    @abstractmethod
    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """Draw the parameters for an image (or, from ``Keys``, for each image of a batch) of the given size."""

    @abstractmethod
    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The augmented image.

        Args:
            image: uint8 [H, W, C]; it is not changed.
            parameters: as ``sample`` gives them for a ``Key``.

        Returns:
            uint8 [H', W', C]; it may share memory with ``image``.
        """

    def wanted(self, parameters: Parameters) -> Box | None:
        """The part of the image that ``apply`` looks at, where that is less than the whole; otherwise None.

        What gives a part also takes it in place of the image, with ``top`` and ``left`` counted from its corner.
        """
        return None

    def resizing(self, parameters: Parameters) -> Resizing | None:
        """``apply`` as a resize that can be done while the image is decoded, where it is no more than that."""
        return None

    def apply_batch(self, images: Tensor, parameters: Parameters) -> Tensor:
        """The augmented images, uint8 [N, H', W', C], equal to ``apply`` on each; ``images`` may be changed."""
        raise NotImplementedError(f"{self.name} works on one image at a time")

    @abstractmethod
    def describe(self) -> str:
        """One sentence: what it does, with its settings."""

    def __call__(self, image: Tensor, key: Key) -> Tensor:
        """Sample parameters from ``key`` and apply them to ``image``, uint8 [H, W, C]."""
        return self.apply(image, self.sample(key, int(image.shape[0]), int(image.shape[1])))

    def settings(self) -> dict[str, Any]:
        """The settings by name, as a configuration file would give them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _repr_html_(self) -> str:
        """What it does to a drawn scene, for notebooks."""
        from mezzotint.data.notebook import chain_html
        from mezzotint.data.transform import Compose

        return chain_html(Compose([self]))


def require(condition: bool, name: str, received: object, allowed: str) -> None:
    """Raise a ``ConfigError`` about the setting ``name`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(message(name, received=received, allowed=allowed))


def is_integer(value: object, low: int) -> bool:
    """Whether ``value`` is an integer (not a bool) of at least ``low``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def is_number(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is a number (not a bool) in low..high."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def as_size(value: object, name: str) -> tuple[int, int]:
    """(height, width) from one positive integer or two.

    Raises:
        ConfigError: it is neither.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    require(len(pair) == 2 and all(is_integer(side, 1) for side in pair), name, value, "a positive integer, or two")
    return int(pair[0]), int(pair[1])


def as_range(value: object, name: str) -> tuple[float, float]:
    """(low, high) from two positive numbers in ascending order.

    Raises:
        ConfigError: it is something else.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    ascending = len(pair) == 2 and all(is_number(end, 0.0, float("inf")) for end in pair) and 0 < pair[0] <= pair[1]
    require(ascending, name, value, "two numbers, 0 < low <= high")
    return float(pair[0]), float(pair[1])
