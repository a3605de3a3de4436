"""Do mixes of a batch keep its type, the sum of its labels, and the areas that labels speak of?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.data.augment.mix import MIXES, CutMix, MixUp, Mosaic, Synthesis, build_mix, mix_batch, normalise_batch
from mezzotint.data.batch import Normalise
from mezzotint.data.random import Key
from mezzotint.errors import ConfigError, DataError, NotRegistered

HALVES = [torch.float32, torch.bfloat16, torch.float16]


def batch(
    count: int = 6, height: int = 12, width: int = 10, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, 3, height, width, generator=generator)
    return images.to(dtype), torch.arange(count) % 3


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_mix_keeps_shape_type_and_the_sum_of_labels(name: str, dtype: torch.dtype) -> None:
    (images, labels), mix = batch(dtype=dtype), MIXES[name]()
    before, targets = images.clone(), F.one_hot(labels, 3).float()
    for position in range(8):
        results = [mix(images, targets, Key(1, 2, position)) for _ in range(2)]
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])
        mixed, soft = results[0]
        assert mixed.shape == images.shape
        assert mixed.dtype == dtype
        assert soft.sum(1) == pytest.approx(1.0, abs=1e-6)
        assert float(soft.min()) >= 0
        assert float(mixed.abs().max()) <= float(images.abs().max()) * 1.01
    assert torch.equal(images, before)
    assert any(not torch.equal(mix(images, targets, Key(0, 0, place))[0], images) for place in range(8))
    drawn = mix.sample(Key(3), 6, 12, 10)
    again = mix.apply(images, targets, json.loads(json.dumps(drawn)))
    assert torch.equal(again[0], mix.apply(images, targets, drawn)[0])


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_tells_what_it_is_and_can_be_left_out(name: str) -> None:
    mix, (images, labels) = MIXES[name](), batch()
    assert mix.name == name
    assert len(mix.describe()) > 20
    targets = F.one_hot(labels, 3).float()
    assert MIXES[name](p=0)(images, targets, Key(0)) == (images, targets)


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.sampled_from(sorted(MIXES)), st.integers(0, 999))
def test_mixes_of_any_size(count: int, height: int, width: int, name: str, position: int) -> None:
    images, labels = batch(count, height, width)
    mixed, soft = mix_batch([MIXES[name]()], images, labels, 3, Key(0, 0, position))
    assert mixed.shape == images.shape
    assert soft.sum(1) == pytest.approx(1.0, abs=1e-6)


def test_mixup_is_its_formula() -> None:
    images, labels = batch()
    targets, partners = F.one_hot(labels, 3).float(), [1, 2, 3, 4, 5, 0]
    mixed, soft = MixUp().apply(images, targets, {"partners": partners, "share": 0.7})
    assert torch.allclose(mixed, 0.7 * images + 0.3 * images[partners], atol=1e-6)
    assert torch.allclose(soft, 0.7 * targets + 0.3 * targets[partners], atol=1e-6)
    assert torch.equal(MixUp().apply(images, targets, {"partners": partners, "share": 1.0})[0], images)
    half = MixUp().apply(images.half(), targets, {"partners": partners, "share": 0.7})[0]
    assert torch.allclose(half.float(), mixed, atol=4e-3)


def test_cutmix_counts_the_pixels_that_it_pastes() -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 16, 20).contiguous()
    targets, augmentation = torch.eye(4), CutMix()
    for position in range(60):
        drawn = augmentation.sample(Key(0, 0, position), 4, 16, 20)
        mixed, soft = augmentation.apply(images, targets, drawn)
        for place in range(4):
            shares = torch.bincount(mixed[place].long().flatten(), minlength=4) / 320
            assert shares.tolist() == pytest.approx(soft[place].tolist(), abs=1e-6)


def test_mosaic_counts_its_quadrants_and_keeps_corners_at_the_point() -> None:
    images = torch.arange(4.0).reshape(4, 1, 1, 1) * 1000 + torch.arange(80.0).reshape(1, 1, 8, 10)
    drawn = {"row": 3, "column": 6, "partners": [[1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]}
    mixed, soft = Mosaic().apply(images, torch.eye(4), drawn)
    assert torch.equal(mixed[0, 0, :3, :6], images[0, 0, 5:, 4:])
    assert torch.equal(mixed[0, 0, :3, 6:], images[1, 0, 5:, :4])
    assert torch.equal(mixed[0, 0, 3:, :6], images[2, 0, :5, 4:])
    assert torch.equal(mixed[0, 0, 3:, 6:], images[3, 0, :5, :4])
    assert soft[0].tolist() == pytest.approx([18 / 80, 12 / 80, 30 / 80, 20 / 80])


def test_synthesis_stays_between_an_image_and_its_nearest_of_the_class() -> None:
    values = torch.tensor([0.0, 1.0, 5.0, 0.2, 9.0])
    images = values.reshape(5, 1, 1, 1).expand(5, 1, 2, 2).contiguous()
    targets = F.one_hot(torch.tensor([0, 0, 0, 1, 2]), 3).float()
    drawn = {"rank": [0.0, 0.99, 0.0, 0.5, 0.5], "way": [0.5] * 5}
    mixed, soft = Synthesis(neighbours=2).apply(images, targets, drawn)
    assert mixed[:, 0, 0, 0].tolist() == pytest.approx([0.5, 3.0, 3.0, 0.2, 9.0])
    assert torch.equal(soft, targets)


def test_normalising_on_the_device_is_the_loaders() -> None:
    images = torch.randint(0, 256, (3, 3, 9, 8), dtype=torch.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = Normalise(mean, std)(images)
    assert torch.allclose(normalise_batch(images, mean, std, torch.float32), expected, atol=1e-5)
    for dtype in HALVES[1:]:
        result = normalise_batch(images.contiguous(memory_format=torch.channels_last), mean, std, dtype)
        assert result.dtype == dtype
        assert torch.allclose(result.float(), expected, atol=2e-2)
        assert result.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(DataError, match="uint8"):
        normalise_batch(images.float(), mean, std, torch.float16)
    with pytest.raises(DataError, match="one a channel"):
        normalise_batch(images, mean[:1], std[:1], torch.float16)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "mixup", "alpha": 0},
        {"name": "cutmix", "p": 2},
        {"name": "sample_pairing", "share": 0.2},
        {"name": "synthesis", "neighbours": 0},
        {"name": "mosaic", "margin": 0.6},
        {"name": "erase_batch", "scale": [0.5, 2]},
    ],
)
def test_settings_of_mixes_are_checked(settings: dict[str, Any]) -> None:
    option = next(option for option in settings if option != "name")
    with pytest.raises(ConfigError, match=rf"{settings['name']}\.{option}"):
        build_mix(settings)


def test_unknown_mixes_and_integer_images() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'mixup'"):
        build_mix({"name": "mix_up"})
    with pytest.raises(ConfigError, match="Did you mean 'alpha'"):
        build_mix({"name": "mixup", "alfa": 1})
    with pytest.raises(DataError, match="normalised floats"):
        mix_batch([MixUp()], torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), 2, Key(0))


def test_shares_of_mixup_follow_their_distribution() -> None:
    shares = np.array([MixUp(alpha=1.0).sample(Key(0, 0, place), 2, 4, 4)["share"] for place in range(2000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(shares, 0.25) == pytest.approx(0.25, abs=0.04)
