"""Are the images that test a network always the same ones, never trained on, and a fair share of each class?"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mezzotint.data.held_out import part_held_out
from mezzotint.data.source import EncodedSource, open_source
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError


def arrays(counts: list[int]) -> ArraySource:
    """Images of 1 x 1 pixel whose level is their place."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = torch.arange(labels.size, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    classes = tuple(map(str, range(len(counts))))
    return ArraySource(images, labels, classes, description="arrays", name="image {}".format)


def names(source: EncodedSource | ArraySource) -> list[str]:
    return [source.name(index) for index in range(len(source))]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.floats(0.01, 0.99))
def test_every_image_is_in_one_part_and_every_class_gives_its_share(counts: list[int], share: float) -> None:
    source = arrays(counts)
    if max(counts) < 2:
        with pytest.raises(DataError, match="no class with two images"):
            part_held_out(source, share, "test")
        return
    train, test = (part_held_out(source, share, role) for role in ("train", "test"))
    assert sorted(names(train) + names(test)) == sorted(names(source))
    for label, count in enumerate(counts):
        held = int((test.labels == label).sum())
        assert held == (0 if count < 2 else min(max(1, round(share * count)), count - 1))
    for part in (train, test):
        for index in range(len(part)):
            image, label = part.read(index)
            place = int(image)
            assert part.name(index) == f"image {place}"
            assert label == source.labels[place]


def test_the_choice_depends_on_names_alone() -> None:
    few, many = arrays([20, 20]), arrays([20, 25])  # class 1 grows: class 0 must not notice
    held = set(names(part_held_out(few, 0.2, "test"))[:4])
    assert held == set(names(part_held_out(many, 0.2, "test"))[:4])


def test_files_are_neither_read_nor_copied_and_travel_to_other_processes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for place in range(10):
            Image.new("RGB", (3, 2), (place, 0, 0)).save(tmp_path / name / f"{place}.png")
    source = open_source(tmp_path)
    test = pickle.loads(pickle.dumps(part_held_out(source, 0.3, "test")))
    assert isinstance(test, EncodedSource)
    assert len(test) == 6
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    image, label = test.read(4)
    assert label == 1
    assert test.place(4) == str(tmp_path / test.name(4))
    assert image[0, 0, 0] == int(Path(test.name(4)).stem)
    assert "30 % held out for testing: 6" in test.describe()
