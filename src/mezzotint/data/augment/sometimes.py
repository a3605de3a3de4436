"""How is a change made to some images only? It happens with probability ``p``, and else the image stays as it is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint.data.augment.base import Augmentation, Parameters, is_number, require
from mezzotint.data.random import Key, Keys
from mezzotint.errors import ConfigError, message


@dataclass(frozen=True, kw_only=True)
class Sometimes(Augmentation):
    """Base of the augmentations that happen with probability ``p``, one image at a time.

    Subclasses give ``check`` (of their own settings), ``draw``, ``change`` and ``describe``. The parameters say under
    ``apply`` whether the change happens; they are drawn in any case, so that a new ``p`` disturbs nothing else.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        require(is_number(self.p, 0.0, 1.0), f"{self.name}.p", self.p, "a probability from 0 to 1")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Refuse settings that cannot be used; ``p`` is checked already."""

    @abstractmethod
    def draw(self, key: Key, height: int, width: int) -> dict[str, Any]:
        """The parameters of a change that happens."""

    @abstractmethod
    def change(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The changed image."""

    def sample(self, key: Key | Keys, height: int, width: int) -> dict[str, Any]:
        """``apply``: whether the change happens; and what ``draw`` gives."""
        one = single(key, self.name)
        return {"apply": one.uniform() < self.p, **self.draw(one, height, width)}

    def apply(self, image: Tensor, parameters: Parameters) -> Tensor:
        """The image, changed or as it is."""
        return self.change(image, parameters) if parameters["apply"] else image

    def odds(self) -> str:
        """How often it happens, as the end of a sentence; nothing where it always does."""
        return "" if self.p == 1 else f", with probability {self.p:g}"


def single(key: Key | Keys, name: str) -> Key:
    """The key, which must be that of one image.

    Raises:
        TypeError: it stands for a batch.
    """
    if not isinstance(key, Key):
        raise TypeError(f"{name} draws for one image at a time")
    return key


def interval(value: object, name: str, low: float, high: float) -> tuple[float, float]:
    """(from, to) from two numbers in low..high, in ascending order.

    Raises:
        ConfigError: it is something else.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(is_number(end, low, high) for end in pair) or pair[0] > pair[1]:
        raise ConfigError(
            message(name, received=value, allowed=f"two numbers from {low:g} to {high:g} in ascending order")
        )
    return float(pair[0]), float(pair[1])
