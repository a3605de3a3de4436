"""Does every registered augmentation keep the contract? Type, repeatability, untouched input, words."""

from __future__ import annotations

import pytest
import torch

from mezzotint import data
from mezzotint.data.random import Key

AUGMENTATIONS = data.augmentations()


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_augmentation_is_a_function_of_image_and_key(name: str, channels: int) -> None:
    augmentation = AUGMENTATIONS[name]
    image = torch.randint(30, 220, (32, 40, channels), dtype=torch.uint8)  # a full range has no contrast to gain
    before = image.clone()
    first = augmentation(image, Key(seed=1, epoch=2, sample=3))
    again = augmentation(image, Key(seed=1, epoch=2, sample=3))
    assert torch.equal(image, before), "the input was changed"
    assert torch.equal(first, again), "the same key gave two results"
    assert first.dtype == torch.uint8
    assert first.dim() == 3
    assert first.shape[2] == channels
    others = [augmentation(image, Key(seed=1, epoch=2, sample=sample)) for sample in range(20)]
    if channels == 1 and augmentation.needs_colour:
        assert all(torch.equal(other, image) for other in others), "grey images have no colour to change"
        return
    assert any(o.shape != first.shape or not torch.equal(o, first) for o in others), "the key has no effect"


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_says_what_it_does(name: str) -> None:
    assert AUGMENTATIONS[name].name == name
    assert len(AUGMENTATIONS[name].describe()) > 15
