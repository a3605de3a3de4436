"""How do our sources and those of ``torch.utils.data`` stand in for each other? One function each way.

``from_dataset`` lets a loader read a map-style data set of PyTorch; ``as_dataset`` lets PyTorch's ``DataLoader`` read a
source of ours, sample for sample with the pixels that our loader gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as whole_number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mezzotint.data.arrays import Layout
from mezzotint.data.batch import Normalise
from mezzotint.data.decode import read_image
from mezzotint.data.maker import BatchMaker
from mezzotint.data.pillow_file import PILLOW_ERRORS
from mezzotint.data.source import Source
from mezzotint.data.transform import Transform
from mezzotint.errors import DataError, ImageError, message


class DatasetSource:
    """A map-style ``torch.utils.data.Dataset`` as a source; made by :func:`from_dataset`."""

    def __init__(self, dataset: Dataset[Any], classes: tuple[str, ...], layout: Layout) -> None:
        self.dataset, self.classes, self.layout = dataset, classes, layout
        self._length = len(dataset)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> tuple[Tensor, int]:
        """Sample ``index``: a uint8 RGB image [H, W, 3] and its label.

        Raises:
            ImageError: the data set could not read it, or gave something that is no image.
            DataError: the data set gave something else than a pair, or a label that is no class.
            IndexError: there is no such sample.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        name = self.name(index)
        try:
            item = self.dataset[index]
        except PILLOW_ERRORS as error:
            reason = f"{type(error).__name__}: {error}"
            raise ImageError(message(name, received=reason, allowed="an image that the data set can read")) from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(message(name, received=f"a {type(item).__name__}", allowed="a pair (image, label)"))
        image, label = item
        if not isinstance(image, Image.Image | Tensor | np.ndarray):
            received = f"an image of type {type(image).__name__}"
            raise DataError(message(name, received=received, allowed="a Pillow image, a tensor or an array"))
        return read_image(image, layout=self.layout, name=name), self._class(label, name)

    def name(self, index: int) -> str:
        """The file, where the data set lists ``samples`` as torchvision's folders do; otherwise its type and number."""
        samples = getattr(self.dataset, "samples", None)
        if isinstance(samples, list) and index < len(samples) and isinstance(samples[index], tuple):
            return str(samples[index][0])
        return f"{type(self.dataset).__name__}[{index}]"

    def describe(self) -> str:
        """One line about the source."""
        return f"data set {type(self.dataset).__name__}: {len(self)} images, {len(self.classes)} classes"

    def _class(self, label: Any, name: str) -> int:
        try:
            number = whole_number(label)
        except TypeError:
            number = -1
        if not 0 <= number < len(self.classes):
            allowed = f"a whole number from 0 to {len(self.classes) - 1}, an index into the classes"
            raise DataError(message(f"label of {name}", received=repr(label), allowed=allowed))
        return number


def from_dataset(
    dataset: Dataset[Any], classes: Sequence[str] | int | None = None, *, layout: Layout = "auto"
) -> DatasetSource:
    """A source that reads from a map-style data set of PyTorch.

    Its items must be (image, label): a Pillow image, a tensor or an array as ``read_image`` takes them, and a whole
    number. Images become RGB. The data set is read from several threads at once, or copied to several processes, as the
    loader is told. What it draws at random itself is out of the loader's hands: leave random transforms to the loader.

    Args:
        dataset: has a length and ``dataset[index]``.
        classes: names of the classes, or how many there are; ``dataset.classes`` when not given.
        layout: where the channels of its tensors and arrays are.

    Raises:
        DataError: the data set cannot be indexed, or its classes are not known.
    """
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        received = f"a {type(dataset).__name__} without length or index"
        allowed = "a map-style data set; one that can only be iterated over cannot be shuffled or resumed"
        raise DataError(message("dataset", received=received, allowed=allowed))
    if classes is None:
        classes = getattr(dataset, "classes", None)
    if isinstance(classes, int):
        classes = [str(number) for number in range(classes)]
    if not classes:
        raise DataError(
            message(
                f"classes of the data set {type(dataset).__name__}",
                received="none",
                allowed="an attribute `classes`, or the argument",
                fix="Give their names, or their number: from_dataset(dataset, classes=10).",
            )
        )
    return DatasetSource(dataset, tuple(map(str, classes)), layout)


class SourceDataset(Dataset[tuple[Tensor, int]]):
    """A source as a map-style data set of PyTorch; made by :func:`as_dataset`."""

    def __init__(self, maker: BatchMaker) -> None:
        self._maker = maker
        self.classes = maker.source.classes
        # In shared memory, so that workers that outlive an epoch (persistent_workers=True) see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._maker.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """(image, label): float32 [C, H, W], as our loader gives it in this epoch, and the label.

        Args:
            index: an integer of any type, as samplers and subsets hold them: of Python, NumPy or a tensor.

        Raises:
            IndexError: there is no such sample.
            ImageError, DataError: it could not be read; it is named.
        """
        index = whole_number(index)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._maker.normalised(int(self._epoch), index)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Several samples, as ``DataLoader`` asks for them; a source in memory makes them in one go."""
        if not self._maker.at_once:
            return [self[index] for index in indices]
        wanted: NDArray[np.int64] = np.array([whole_number(index) for index in indices], dtype=np.int64)
        batch = self._maker.batch(int(self._epoch), wanted)
        return list(zip(batch.images, batch.labels.tolist(), strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that random numbers are drawn for; to be called before each pass over the data."""
        self._epoch.fill_(epoch)


def as_dataset(
    source: Source,
    transform: Transform | None = None,
    *,
    seed: int = 0,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> SourceDataset:
    """A map-style data set for ``torch.utils.data.DataLoader``, with any number of its workers.

    A sample's pixels are those of ``Loader(source, transform, seed=seed, mean=mean, std=std)`` in the same epoch. The
    order is the ``DataLoader``'s own.

    Args:
        source: the samples.
        transform: as for ``Loader``.
        seed: of the transform.
        mean: per channel, in units of the range 0 to 1; with ``std``.
        std: per channel.
    """
    return SourceDataset(BatchMaker(source, transform, Normalise(mean, std), seed))
