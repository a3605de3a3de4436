"""How is a batch made? From (epoch, indices) alone, so that it is the same on any worker and at any time.

Where the source is in memory and the transform works on whole batches, a batch is made in one go; otherwise sample by
sample, and different threads may make different samples.

With the policy ``"quarantine"`` a sample that the source cannot read is replaced by another one, image and label: which
one is drawn by the key (seed, epoch, sample) among all others, again where that one is bad too. The other's image is
transformed with the key of the sample that it stands in for, so that it is not the same picture twice. Nothing else
changes: the length of the epoch, its order, and the pixels of every other sample are those of a whole data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.batch import Batch, Normalise, check_alike, index_tensor
from mezzotint.data.part import Part, Wanted
from mezzotint.data.quarantine import BadSample, OnError
from mezzotint.data.random import Key, Keys
from mezzotint.data.source import BatchSource, EncodedSource, Source
from mezzotint.data.transform import BatchTransform, PartTransform, ResizeTransform, Transform
from mezzotint.errors import DataError, ImageError, MezzotintError, message
from mezzotint.kernels.images import Box, Resizing, Size

PIECE = 16
"""Samples that are read together, and that a thread makes at a time: enough to make the hand-over cheap, few enough to
share one batch among threads. Their files lie in memory meanwhile."""
_DRAWS = 64  # of a stand-in: half of a data set may be bad, and still one of 2^64 draws fails


class Sample(NamedTuple):
    """A transformed image [C, H, W], not normalised, its label, and the bad sample that it stands in for, if any."""

    image: Tensor
    label: int
    bad: BadSample | None = None


class BatchMaker:
    """Makes batches of a source. Holds nothing that changes; may be called from several threads at once."""

    def __init__(
        self, source: Source, transform: Transform | None, normalise: Normalise, seed: int, on_error: OnError = "fail"
    ) -> None:
        self.source = source
        self.transform = transform
        self.normalise = normalise
        self.seed = seed
        self.on_error = on_error
        self.at_once = isinstance(source, BatchSource) and (
            transform is None or (isinstance(transform, BatchTransform) and transform.batched)
        )

        self._first = _first(source, transform)
        self._finish = transform.finish if isinstance(transform, PartTransform) else None

    def batch(self, epoch: int, indices: NDArray[np.int64]) -> Batch:
        """The batch of these samples in this epoch.

        Raises:
            ImageError: an image cannot be decoded; it is named.
            DataError: a sample cannot be read or used; it is named.
        """
        if self.at_once:
            try:
                return self._all_at_once(epoch, indices)
            except (ImageError, DataError):  # a sample that was not read when the others were; or a fault of no sample
                if self.on_error == "fail":
                    raise
        return self.assemble(indices, self.samples(epoch, indices))

    def samples(self, epoch: int, indices: NDArray[np.int64]) -> list[Sample]:
        """Some of the samples of a batch; a few at a time are read together."""
        made: list[Sample] = []
        for start in range(0, len(indices), PIECE):
            few = indices[start : start + PIECE].tolist()
            keys = [Key(self.seed, epoch, index) for index in few]
            made += map(self._sample, few, keys, self._read_together(few, keys))
        return made

    def sample(self, epoch: int, index: int) -> Sample:
        """One sample, or what stands in for it; errors name it."""
        return self._sample(index, Key(self.seed, epoch, index), None)

    def _sample(self, index: int, key: Key, read: tuple[Part, int] | None) -> Sample:
        with self._naming(index):
            try:
                part, label = read or self._read(index, key)
            except (ImageError, DataError) as error:
                if self.on_error == "fail":
                    raise
                bad = BadSample(index=index, name=self.source.name(index), reason=str(error))
            else:
                return Sample(self._transformed(part, key), label)
        other, part, label = self._stand_in(key, bad)
        with self._naming(other):
            return Sample(self._transformed(part, key), label, bad)

    def normalised(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """One sample as it stands in a batch: float32 [C, H, W] and its label."""
        sample = self.sample(epoch, index)
        return self.normalise.stacked([sample.image])[0], sample.label

    def assemble(self, indices: NDArray[np.int64], samples: list[Sample]) -> Batch:
        """One normalised batch from its samples, which are in the order of ``indices``."""
        images = [sample.image for sample in samples]
        check_alike(images, lambda place: self.source.name(int(indices[place])))
        labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        bad = tuple(sample.bad for sample in samples if sample.bad is not None)
        return Batch(self.normalise.stacked(images), labels, index_tensor(indices), bad)

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

    def _read(self, index: int, key: Key) -> tuple[Part, int]:
        """Of a sample what the transform will look at, or all of it; and its label."""
        if self._first is None or not isinstance(self.source, EncodedSource):
            image, label = self.source.read(index)
            size = Size(image.shape[0], image.shape[1])
            return Part(image, size.whole, size), label
        return self.source.read_part(index, _wanted(self._first, key))

    def _read_together(self, indices: list[int], keys: list[Key]) -> list[tuple[Part, int] | None]:
        """What `_read` gives for each, or None: it shall be asked."""
        if self._first is None or not isinstance(self.source, EncodedSource):
            return [None] * len(indices)
        return self.source.read_parts(indices, [_wanted(self._first, key) for key in keys])

    def _transformed(self, part: Part, key: Key) -> Tensor:
        if self.transform is None:
            return part.levels.permute(2, 0, 1)
        if self._finish is not None:
            return _checked(self._finish(part, key))
        return _checked(self.transform(part.levels, key))

    def _stand_in(self, key: Key, bad: BadSample) -> tuple[int, Part, int]:
        """(index, part, label) of the first readable sample that is drawn; reading it is no news to the report."""
        draws = key.child("stand-in")
        for _ in range(_DRAWS if len(self.source) > 1 else 0):
            drawn = draws.integers(0, len(self.source) - 1)
            other = drawn + (drawn >= bad.index)
            try:
                return other, *self._read(other, key)
            except (ImageError, DataError):
                continue
        raise DataError(
            message(
                f"stand-in for {bad.name}, which cannot be read",
                received=f"none among {len(self.source) - 1} other samples ({bad.reason})",
                allowed="a source most of whose samples can be read",
                fix="Repair the data set.",
            )
        )

    @contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        try:
            yield
        except MezzotintError as error:
            name = self.source.name(index)
            if name in str(error):
                raise
            raise type(error)(f"{name} (sample {index} of {self.source.describe()}): {error}") from error
        except Exception as error:
            error.add_note(f"while making sample {index} ({self.source.name(index)}) of {self.source.describe()}")
            raise


def _first(source: Source, transform: Transform | None) -> Callable[[Size, Key], Box | Resizing] | None:
    """What tells how much of an image is read; None: all of it. (Asking for protocols takes longer than drawing.)"""
    if not isinstance(source, EncodedSource):
        return None
    if isinstance(transform, ResizeTransform):
        return transform.first
    return transform.wanted if isinstance(transform, PartTransform) else None


def _wanted(first: Callable[[Size, Key], Box | Resizing], key: Key) -> Wanted:
    def wanted(size: Size) -> Box | Resizing:
        try:
            return first(size, key)
        except MezzotintError:  # nothing is wrong with the file: the transform itself shall refuse it
            return size.whole

    return wanted


def _checked(image: Tensor) -> Tensor:
    if not isinstance(image, Tensor) or image.dim() != 3 or image.dtype not in (torch.uint8, torch.float32):
        shown = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(
            message("result of the transform", received=shown, allowed="a tensor [C, H, W], uint8 or float32 in [0, 1]")
        )
    return image
