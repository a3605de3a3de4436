"""How is a batch made? From (epoch, indices) alone, so that it is the same on any thread and at any time.

Where the source is in memory and the transform works on whole batches, a batch is made in one go; otherwise sample by
sample, and different threads may make different samples.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.batch import Batch, Normalise, index_tensor, stack
from mezzotint.data.random import Key, Keys
from mezzotint.data.source import BatchSource, Source
from mezzotint.data.transform import BatchTransform, Transform
from mezzotint.errors import DataError, MezzotintError, message

Sample = tuple[Tensor, int]
"""A transformed image [C, H, W], not normalised, and its label."""


class BatchMaker:
    """Makes batches of a source. Holds nothing that changes; may be called from several threads at once."""

    def __init__(self, source: Source, transform: Transform | None, normalise: Normalise, seed: int) -> None:
        self.source = source
        self.transform = transform
        self.normalise = normalise
        self.seed = seed
        self.at_once = isinstance(source, BatchSource) and (
            transform is None or (isinstance(transform, BatchTransform) and transform.batched)
        )

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """The batch of these samples in this epoch.

        Raises:
            ImageError: an image cannot be decoded; it is named.
            DataError: a sample cannot be read or used; it is named.
        """
        if self.at_once:
            return self._all_at_once(epoch, indices)
        return self.assemble(indices, self.samples(epoch, indices))

    def samples(self, epoch: int, indices: NDArray[np.int64]) -> list[Sample]:
        """Some of the samples of a batch."""
        return [self.sample(epoch, index) for index in indices.tolist()]

    def sample(self, epoch: int, index: int) -> Sample:
        """One sample; errors name it."""
        try:
            image, label = self.source.read(index)
            if self.transform is None:
                return image.permute(2, 0, 1), label
            return _checked(self.transform(image, Key(self.seed, epoch, index))), label
        except MezzotintError as error:
            name = self.source.name(index)
            if name in str(error):
                raise
            raise type(error)(f"{name} (sample {index} of {self.source.describe()}): {error}") from error
        except Exception as error:
            error.add_note(f"while making sample {index} ({self.source.name(index)}) of {self.source.describe()}")
            raise

    def assemble(self, indices: NDArray[np.int64], samples: list[Sample]) -> Batch:
        """One normalised batch from its samples, which are in the order of ``indices``."""
        images = stack([image for image, _ in samples], lambda place: self.source.name(int(indices[place])))
        labels = torch.tensor([label for _, label in samples], dtype=torch.int64)
        return Batch(self.normalise(images), labels, index_tensor(indices))

    def _all_at_once(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        source, transform = self.source, self.transform
        if not isinstance(source, BatchSource):
            raise TypeError("only a BatchSource hands over whole batches")
        images, labels = source.read_batch(indices)
        if isinstance(transform, BatchTransform):
            images = transform.batch(images, Keys(self.seed, epoch, indices))
        else:
            images = images.permute(0, 3, 1, 2)
        return Batch(self.normalise(images), labels, index_tensor(indices))


def _checked(image: Tensor) -> Tensor:
    if not isinstance(image, Tensor) or image.dim() != 3 or image.dtype not in (torch.uint8, torch.float32):
        shown = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(
            message("result of the transform", received=shown, allowed="a tensor [C, H, W], uint8 or float32 in [0, 1]")
        )
    return image
