"""How are images kept that are decoded already? As one uint8 tensor from which whole batches are gathered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.quarantine import OnError
from mezzotint.data.source import BatchSource, Source
from mezzotint.errors import DataError, ImageError, MezzotintError, message


class ArraySource:
    """Images uint8 [N, H, W, C] and labels in memory. A ``BatchSource``."""

    def __init__(
        self,
        images: Tensor,
        labels: NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        description: str,
        name: Callable[[int], str],
        unread: Mapping[int, MezzotintError] | None = None,
    ) -> None:
        """Keep the arrays, without a copy.

        ``unread``: the samples that could not be read, with the errors that reading them raises; their pixels and
        labels in the arrays mean nothing.

        Raises:
            DataError: the types or the lengths do not go together, or a label has no class.
        """
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[0] != labels.size:
            raise DataError(
                message(
                    "images of an in-memory source",
                    received=f"{images.dtype} {list(images.shape)} with {labels.size} labels",
                    allowed="uint8 [N, H, W, C] with N labels",
                )
            )
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
            raise DataError(
                message(
                    f"labels of {description}",
                    received=f"values from {labels.min()} to {labels.max()}",
                    allowed=f"0 to {len(classes) - 1}",
                )
            )
        self.images = images
        self.labels = labels.astype(np.int64, copy=False)
        self.classes = classes
        self._label_tensor = torch.from_numpy(self.labels.copy())
        self._description = description
        self._name = name
        self._unread = dict(unread or {})

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def _repr_html_(self) -> str:
        """A few images with their classes, for notebooks."""
        from mezzotint.data.notebook import source_html

        return source_html(self)

    def read(self, index: int) -> tuple[Tensor, int]:
        """Sample ``index``: a copy of its image [H, W, C], and its label."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        self._check_read([index])
        return self.images[index].clone(), int(self.labels[index])

    def read_batch(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Copies of the images [N, H, W, C] and labels int64 [N].

        Raises:
            ImageError, DataError: one of them could not be read; the first.
        """
        self._check_read(indices.tolist())
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return self.images.index_select(0, rows), self._label_tensor.index_select(0, rows)

    def _check_read(self, indices: Sequence[int]) -> None:
        if self._unread:
            for index in indices:
                if index in self._unread:
                    raise type(self._unread[index])(str(self._unread[index]))

    def name(self, index: int) -> str:
        """The sample's name."""
        return self._name(index)

    def describe(self) -> str:
        """One line about the source."""
        return self._description


def in_memory(source: Source, on_error: OnError = "fail") -> ArraySource:
    """Decode every image of ``source`` once and keep it: N * H * W * C bytes.

    Args:
        source: images of one size.
        on_error: "fail" raises the error of the first image that cannot be read; "quarantine" keeps such errors, and
            the source raises them whenever one of these samples is asked for.

    Raises:
        ImageError, DataError: an image cannot be read; under "quarantine": none can.
        DataError: the images differ in size; the first that differs is named.
    """
    if isinstance(source, ArraySource):
        return source
    if isinstance(source, BatchSource):
        images, labels = source.read_batch(np.arange(len(source)))
        return _array_source(source, images, labels.numpy(), {})
    if len(source) == 0:
        raise DataError(message(source.describe(), received="no images", allowed="at least one image"))
    kept: Tensor | None = None
    labels_read = np.zeros(len(source), dtype=np.int64)
    unread: dict[int, MezzotintError] = {}
    for index in range(len(source)):
        try:
            image, labels_read[index] = source.read(index)
        except (ImageError, DataError) as error:
            if on_error == "fail":
                raise
            unread[index] = error
            continue
        if kept is None:
            kept = torch.zeros((len(source), *image.shape), dtype=torch.uint8)
        if image.shape != kept.shape[1:]:
            raise _unequal(source, index, image, kept[0])
        kept[index] = image
    if kept is None:
        raise unread[0]
    return _array_source(source, kept, labels_read, unread)


def _array_source(
    source: Source, images: Tensor, labels: NDArray[np.int64], unread: Mapping[int, MezzotintError]
) -> ArraySource:
    text = f"{source.describe()}, kept in memory"
    return ArraySource(images, labels, source.classes, description=text, name=source.name, unread=unread)


def _unequal(source: Source, index: int, image: Tensor, first: Tensor) -> DataError:
    return DataError(
        message(
            f"cache of {source.describe()}",
            received=f"an image {list(image.shape)} ({source.name(index)}) after images {list(first.shape)}",
            allowed="images of one size",
            fix='Leave out cache="memory", or resize the images first.',
        )
    )
