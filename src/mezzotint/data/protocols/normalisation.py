"""What does a network subtract from its input and divide it by? The usual constants, and one rule for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from mezzotint.data.augment.base import is_number, require
from mezzotint.errors import InputError, message

Triple: TypeAlias = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)  # as mean and as std: (x - 0.5) * 2, from -1 to 1


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """``(white * value - mean) / std`` a channel, for values in [0, 1].

    Attributes:
        mean, std: a number a channel, in the order of ``channels``.
        white: the value of white where the mean is subtracted: 1, or 255 where the network works with levels.
        channels: the order of the channels that the network expects.
    """

    mean: Triple
    std: Triple
    white: float = 1
    channels: Literal["RGB", "BGR"] = "RGB"

    def __call__(self, values: Tensor) -> Tensor:
        """Float RGB values [..., 3] in [0, 1] -> float32 [..., 3] in the network's range and order."""
        ordered = values if self.channels == "RGB" else values.flip(-1)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (ordered * self.white - mean) / std

    def words(self) -> str:
        """What is done, as a sentence."""
        order = "" if self.channels == "RGB" else f"Order the channels {self.channels}. "
        value = "value" if self.white == 1 else f"{self.white:g} * value"
        divisor = "" if self.std == (1, 1, 1) else f" / {_spoken(self.std)}"
        difference = f"{value} - {_spoken(self.mean)}"
        return f"{order}Normalise: {f'({difference}){divisor}' if divisor else difference}."

    def statistics(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation of RGB values in [0, 1], as a loader takes them.

        Raises:
            InputError: the network expects another order of the channels, which no mean can express.
        """
        if self.channels != "RGB":
            fix = "Set data.mean and data.std, or use a protocol whose network takes RGB."
            received = f"channels in the order {self.channels}"
            raise InputError(message("normalisation", received=received, allowed="channels in the order RGB", fix=fix))
        first, second, third = (value / self.white for value in self.mean)
        return (first, second, third), _triple([value / self.white for value in self.std])


def normalisation(mean: object, std: object) -> Normalisation | None:
    """A normalisation from settings: one number or three each, or None for both.

    Raises:
        ConfigError: one is missing or no such number.
    """
    if mean is None and std is None:
        return None
    return Normalisation(mean=_checked("mean", mean, least=-1e6), std=_checked("std", std, least=1e-6))


def _checked(name: str, value: object, *, least: float) -> Triple:
    numbers: list[Any] = list(value) if isinstance(value, tuple | list) else [value] * 3
    usable = len(numbers) == 3 and all(is_number(number, least, 1e6) for number in numbers)
    require(usable, name, value, "one number for all channels or one for each of three, std above 0; none for both")
    return _triple(numbers)


def _triple(numbers: list[float]) -> Triple:
    red, green, blue = (float(number) for number in numbers)
    return red, green, blue


def _spoken(numbers: Triple) -> str:
    return f"{numbers[0]:g}" if len(set(numbers)) == 1 else f"({', '.join(f'{number:g}' for number in numbers)})"
