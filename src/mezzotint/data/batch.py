"""What does a loader hand over, and how is it made from single images? A batch: stacked, converted, normalised once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.quarantine import BadSample
from mezzotint.errors import ConfigError, DataError, message
from mezzotint.kernels import arena
from mezzotint.kernels.images import normalise


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Images and labels of N samples. ``images, labels = batch`` works, as does ``for images, labels in loader``.

    Attributes:
        images: float32 [N, C, H, W], contiguous; in [0, 1], or normalised.
        labels: int64 [N].
        indices: int64 [N]: which samples of the source these are.
        bad: those among them that could not be read: image and label are a stand-in's.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    bad: tuple[BadSample, ...] = ()

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.images, self.labels))

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.images.nbytes + self.labels.nbytes + self.indices.nbytes

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The batch with images and labels on ``device``; the indices stay where they are."""
        images = self.images.to(device, non_blocking=non_blocking)
        return Batch(images, self.labels.to(device, non_blocking=non_blocking), self.indices, self.bad)


class Normalise:
    """uint8 or float32 images [N, C, H, W] -> float32: divide uint8 by 255, subtract ``mean``, divide by ``std``.

    The operations and their order are those of torchvision's ``ToTensor`` and ``Normalize``; so are the bits.
    """

    def __init__(self, mean: float | Sequence[float] | None, std: float | Sequence[float] | None) -> None:
        """Keep one value per channel, or one for all; None for no normalisation.

        Raises:
            ConfigError: only one of the two is given, their lengths differ, or a deviation is not positive.
        """
        if (mean is None) != (std is None):
            raise ConfigError(message("mean and std", received=f"{mean!r} and {std!r}", allowed="both or neither"))
        self.mean = None if mean is None else _per_channel(mean, "mean")
        self.std = None if std is None else _per_channel(std, "std")
        if self.mean is not None and self.std is not None and self.mean.shape != self.std.shape:
            lengths = f"{self.mean.shape[0]} and {self.std.shape[0]} values"
            raise ConfigError(message("mean and std", received=lengths, allowed="equally many"))
        if self.std is not None and not bool((self.std > 0).all()):
            raise ConfigError(message("std", received=std, allowed="positive numbers, in units of the range 0 to 1"))
        self._expanded: dict[int, tuple[Tensor | None, Tensor | None]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """The normalised batch, contiguous; float32 input is taken to be in [0, 1].

        Raises:
            DataError: another type, or another number of channels than there are means.
        """
        if images.dtype not in (torch.uint8, torch.float32):
            raise DataError(message("images", received=str(images.dtype), allowed="uint8, or float32 in [0, 1]"))
        scaled = images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        if images.dtype == torch.uint8:
            scaled.div_(255)
        if self.mean is None or self.std is None:
            return scaled
        if self.mean.shape[0] not in (1, images.shape[1]):
            allowed = f"1 or {images.shape[1]}, one per channel of the images"
            raise DataError(message("number of means", received=int(self.mean.shape[0]), allowed=allowed))
        return scaled.sub_(self.mean).div_(self.std)

    def stacked(self, images: Sequence[Tensor]) -> Tensor:
        """N normalised images [C, H, W] of one size and type as a batch, in one pass where they are uint8."""
        first = images[0]
        if first.dtype != torch.uint8 or (self.mean is not None and self.mean.shape[0] not in (1, first.shape[0])):
            return self(torch.stack(list(images)))
        batch = arena.empty_batch(
            (len(images), *first.shape), torch.float32
        )  # the system would clear fresh pages each time
        normalise(images, batch, *self._constants(first.shape[0]))
        return batch

    def _constants(self, channels: int) -> tuple[Tensor | None, Tensor | None]:
        """Mean and deviation, float32 [channels]; kept, since a loader asks for the same ones every time."""
        if channels not in self._expanded:
            both = [None if of is None else of.flatten().expand(channels).contiguous() for of in (self.mean, self.std)]
            self._expanded[channels] = both[0], both[1]
        return self._expanded[channels]


def _per_channel(values: float | Sequence[float], name: str) -> Tensor:
    """float32 [C, 1, 1]."""
    listed = [values] if isinstance(values, int | float) else list(values)
    if not listed or not all(isinstance(value, int | float) and np.isfinite(value) for value in listed):
        raise ConfigError(message(name, received=values, allowed="a finite number, or one for each channel"))
    return torch.tensor(listed, dtype=torch.float32).reshape(-1, 1, 1)


def check_alike(images: Sequence[Tensor], name: Callable[[int], str]) -> None:
    """Refuse images [C, H, W] that make no batch; ``name`` gives the name of the i-th for messages.

    Raises:
        DataError: they differ in size or type; the first that differs is named.
    """
    first = images[0]
    for place, image in enumerate(images):
        if image.shape != first.shape or image.dtype != first.dtype:
            raise DataError(
                message(
                    f"image {name(place)} in a batch",
                    received=f"{image.dtype} {list(image.shape)}",
                    allowed=f"{first.dtype} {list(first.shape)}, as the first image ({name(0)})",
                    fix="Use a transform that gives all images one size, such as random_resized_crop or a protocol.",
                )
            )


def index_tensor(indices: NDArray[np.int64]) -> Tensor:
    """int64 [N], with memory of its own."""
    return torch.from_numpy(indices.copy())
