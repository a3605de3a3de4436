"""Do sources and PyTorch's data sets stand in for each other, to the last bit, in workers too?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loader_parts import CROP, Drawn, write_folder
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from mezzotint.data import Loader, as_dataset, build_transform, from_dataset, open_source
from mezzotint.errors import ConfigError, DataError, ImageError

NORMALISED: dict[str, Any] = {"seed": 5, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
Item = tuple[Any, Any]


class Given(Dataset[Item]):
    """A map-style data set of given items; an item that is an error is raised."""

    classes = ("a", "b", "c")

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        item: Item = self.items[index]
        return item


def levels(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_all_kinds_of_images_and_labels() -> None:
    array = levels(6, 9, 3)
    dataset = Given(
        (array, 0),
        (torch.from_numpy(array).permute(2, 0, 1), np.int64(1)),
        [Image.fromarray(array), torch.tensor(2)],
        (array[:, :, 0], 0),
        (Image.fromarray(array[:, :, 0]), 0),
        (torch.from_numpy(array).permute(2, 0, 1).float() / 255, 0),
    )
    source = from_dataset(dataset)
    assert source.describe() == "data set Given: 6 images, 3 classes"
    expected = torch.from_numpy(array)
    grey = expected[:, :, :1].expand(6, 9, 3)
    for index, (image, label) in enumerate(
        [(expected, 0), (expected, 1), (expected, 2), (grey, 0), (grey, 0), (expected, 0)]
    ):
        found, number = source.read(index)
        assert torch.equal(found, image)
        assert (number, type(number)) == (label, int)
    with pytest.raises(IndexError):
        source.read(6)


@pytest.mark.parametrize(
    ("item", "kind", "match"),
    [
        (levels(4, 4, 3), DataError, r"Given\[0\]: received a ndarray; allowed: a pair"),
        ((levels(4, 4, 3), 3), DataError, r"label of Given\[0\]: received 3; allowed: a whole number from 0 to 2"),
        ((levels(4, 4, 3), 1.0), DataError, r"label of Given\[0\]: received 1\.0"),
        ((levels(4, 4, 3), "a"), DataError, r"label of Given\[0\]: received 'a'"),
        (("a.png", 1), DataError, r"Given\[0\]: received an image of type str"),
        ((levels(5, 5, 7), 1), ImageError, r"Given\[0\]"),
        (OSError("cut short"), ImageError, r"Given\[0\]: received OSError: cut short"),
    ],
)
def test_items_that_cannot_be_used_are_named(item: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        from_dataset(Given(item)).read(0)


def test_where_the_classes_come_from() -> None:
    plain = TensorDataset(torch.zeros(4, 3, 5, 5, dtype=torch.uint8), torch.arange(4))
    with pytest.raises(DataError, match=r"classes of the data set TensorDataset.*classes=10"):
        from_dataset(plain)
    assert from_dataset(plain, 4).classes == ("0", "1", "2", "3")
    assert from_dataset(plain, ["w", "x", "y", "z"]).classes == ("w", "x", "y", "z")
    assert from_dataset(Given()).classes == ("a", "b", "c")


def test_what_is_no_map_style_data_set() -> None:
    class Stream(IterableDataset[Item]):
        def __iter__(self) -> Any:
            return iter(())

    with pytest.raises(DataError, match="Stream without length or index"):
        from_dataset(Stream())
    with pytest.raises(ConfigError, match=r"source: received an object of type Given.*from_dataset"):
        Loader(Given((levels(4, 4, 3), 1)), batch_size=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_data_set_in_our_loader_with_quarantine_and_resumption(threads: int) -> None:
    items = [(levels(20 + number, 30, 3), number % 3) for number in range(20)]
    dataset = Given(*items[:7], OSError("cut short"), *items[8:])
    source = from_dataset(Subset(dataset, range(1, 20)), dataset.classes)
    loader = Loader(source, CROP, batch_size=4, threads=threads, on_error="quarantine", max_bad=0.1)
    whole = [batch.images for batch in loader]
    assert [(sample.index, sample.name) for sample in loader.quarantine] == [(6, "Subset[6]")]
    other = Loader(source, CROP, batch_size=4, on_error="quarantine", max_bad=0.1)
    other.load_state_dict({**other.state_dict(), "position": 2})
    assert all(torch.equal(batch.images, expected) for batch, expected in zip(other, whole[2:], strict=True))


def test_files_keep_their_names() -> None:
    dataset = Given((levels(4, 4, 3), 1))
    dataset.samples = [("cats/1.jpg", 1)]  # type: ignore[attr-defined]
    assert from_dataset(dataset).name(0) == "cats/1.jpg"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_our_source_in_pytorchs_loader_has_our_pixels(context: str, tmp_path: Path) -> None:
    """With workers that live through all epochs, and the source's file opened anew in them."""
    source = open_source(write_folder(tmp_path, 12))
    dataset = as_dataset(source, CROP, **NORMALISED)
    theirs: DataLoader[tuple[Tensor, int]] = DataLoader(
        dataset, batch_size=5, num_workers=1, persistent_workers=True, multiprocessing_context=context
    )
    ours = Loader(source, CROP, batch_size=5, shuffle=False, **NORMALISED)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for (images, labels), batch in zip(theirs, ours, strict=True):
            assert torch.equal(images, batch.images)
            assert torch.equal(labels, batch.labels)
    del theirs


def test_without_workers_and_from_memory() -> None:
    source, transform = open_source("digits"), build_transform([{"name": "random_crop", "padding": 2}])
    dataset = as_dataset(source, transform, seed=5)
    dataset.set_epoch(3)
    loader = Loader(source, transform, batch_size=100, seed=5, shuffle=False)
    loader.seek(3)
    first = next(iter(loader))
    images, labels = next(iter(DataLoader(dataset, batch_size=100)))
    assert torch.equal(images, first.images)
    assert torch.equal(labels, first.labels)
    one, label = dataset[42]
    assert torch.equal(one, first.images[42])
    assert (label, len(dataset), dataset.classes) == (int(first.labels[42]), 1437, source.classes)
    with pytest.raises(IndexError):
        dataset[1437]


def test_a_bad_file_is_named_in_pytorchs_loader_too() -> None:
    with pytest.raises(ImageError, match="drawn-2"):
        list(DataLoader(as_dataset(Drawn(5, frozenset({2})), CROP), batch_size=2))


def test_there_and_back() -> None:
    source = Drawn(9)
    again = from_dataset(as_dataset(source), layout="CHW")
    for index in range(9):
        assert torch.equal(again.read(index)[0], source.read(index)[0])
    assert again.classes == source.classes


@pytest.mark.parametrize("whole", [np.int64, np.uint8, torch.tensor])
@pytest.mark.parametrize("encoded", [False, True])
def test_integers_of_any_type_are_indices(whole: Any, encoded: bool, tmp_path: Path) -> None:
    source = open_source(write_folder(tmp_path, 6)) if encoded else open_source("digits")
    transform = CROP if encoded else build_transform([{"name": "random_crop", "padding": 2}])
    dataset, loader = as_dataset(source, transform), Loader(source, transform, batch_size=whole(2), seed=whole(0))
    json.dumps(loader.state_dict())
    few = DataLoader(Subset(dataset, [whole(index) for index in range(4)]), batch_size=4)
    images, _ = next(iter(few))
    for index in range(4):
        expected, label = dataset[index]
        assert torch.equal(images[index], expected)
        assert torch.equal(dataset[whole(index)][0], expected)
        assert loader.sample_at(0, whole(index))[1] == label
        assert torch.equal(loader.sample_at(whole(0), whole(index))[0], loader.sample_at(0, index)[0])
    with pytest.raises(ConfigError, match="batch_size: received True; allowed: an integer of at least 1"):
        Loader(source, batch_size=True)
