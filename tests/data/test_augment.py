"""Does every augmentation do what it says, from its key alone, and the same to a batch as to single images?"""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.data.augment import AUGMENTATIONS, Augmentation, augmentations
from mezzotint.data.augment.crop import RandomCrop, RandomResizedCrop, pad, resize_crop
from mezzotint.data.augment.erase import Cutout
from mezzotint.data.augment.flip import HorizontalFlip
from mezzotint.data.preprocess import preprocess
from mezzotint.data.random import Key, Keys
from mezzotint.data.transform import Compose, Evaluate, build_augmentation, build_transform
from mezzotint.errors import ConfigError, DataError, NotRegistered

NAMES = list(AUGMENTATIONS)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, 250, (height, width, channels), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 21, 1), (300, 200, 3)])
def test_augmentation_is_a_pure_function_of_image_and_key(name: str, shape: tuple[int, int, int]) -> None:
    augmentation = augmentations()[name]
    image = picture(*shape)
    before = image.clone()
    results = [augmentation(image, Key(1, 2, 3)) for _ in range(2)]
    assert torch.equal(image, before)
    assert torch.equal(results[0], results[1])
    assert results[0].dtype == torch.uint8
    assert results[0].shape[2] == shape[2]
    parameters = augmentation.sample(Key(1, 2, 3), *shape[:2])
    assert torch.equal(augmentation.apply(image, json.loads(json.dumps(parameters))), results[0])


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_depends_on_its_key(name: str) -> None:
    augmentation, image = augmentations()[name], picture(32, 32)
    results = {augmentation(image, Key(0, 0, sample)).numpy().tobytes() for sample in range(40)}
    assert len(results) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_tells_what_it_is(name: str) -> None:
    augmentation = augmentations()[name]
    assert augmentation.name == name
    assert len(augmentation.describe()) > 20
    assert (type(augmentation).__doc__ or "").strip()
    assert build_augmentation({"name": name, **augmentation.settings()}) == augmentation
    with pytest.raises(dataclasses.FrozenInstanceError):
        augmentation.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize("name", [name for name in NAMES if AUGMENTATIONS[name].batched])
@given(st.integers(1, 7), st.integers(6, 20), st.integers(6, 20), st.sampled_from([1, 3]), st.integers(0, 99))
def test_batches_equal_single_images(name: str, count: int, height: int, width: int, channels: int, seed: int) -> None:
    augmentation = augmentations()[name]
    images = torch.stack([picture(height, width, channels, seed + number) for number in range(count)])
    samples = np.arange(count, dtype=np.int64) * 7
    singles = [augmentation(image, Key(seed, 1, int(sample))) for image, sample in zip(images, samples, strict=True)]
    parameters = augmentation.sample(Keys(seed, 1, samples), height, width)
    assert torch.equal(augmentation.apply_batch(images.clone(), parameters), torch.stack(singles))


@pytest.mark.parametrize("name", [name for name in NAMES if not AUGMENTATIONS[name].batched])
def test_what_works_on_one_image_only_says_so(name: str) -> None:
    augmentation = augmentations()[name]
    with pytest.raises(TypeError):
        augmentation.sample(Keys(0, 0, np.arange(2)), 9, 9)
    with pytest.raises(NotImplementedError, match=name):
        augmentation.apply_batch(torch.zeros(2, 9, 9, 3, dtype=torch.uint8), {})


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 8), st.sampled_from(["zero", "reflect"]))
def test_padding_is_numpys(height: int, width: int, padding: int, fill: str) -> None:
    image = picture(height, width)
    if fill == "reflect" and padding >= min(height, width):
        with pytest.raises(DataError, match="sides of the image"):
            pad(image, padding, "reflect")
        return
    mode = {"zero": "constant", "reflect": "reflect"}[fill]
    expected = np.pad(image.numpy(), ((padding, padding), (padding, padding), (0, 0)), mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(pad(image, padding, fill).numpy(), expected)  # type: ignore[arg-type]


def test_random_crop_cuts_a_window_of_the_padded_image() -> None:
    image = picture(6, 8)
    padded = np.pad(image.numpy(), ((2, 2), (2, 2), (0, 0)))
    corners = set()
    for sample in range(400):
        augmentation = RandomCrop(padding=2)
        drawn = augmentation.sample(Key(0, 0, sample), 6, 8)
        corners.add((drawn["top"], drawn["left"]))
        window = padded[drawn["top"] : drawn["top"] + 6, drawn["left"] : drawn["left"] + 8]
        assert np.array_equal(augmentation(image, Key(0, 0, sample)).numpy(), window)
    assert corners == {(top, left) for top in range(5) for left in range(5)}


def test_random_crop_of_another_size() -> None:
    assert RandomCrop(padding=0, size=4)(picture(6, 8), Key(0)).shape == (4, 4, 3)
    assert RandomCrop(padding=1, size=(8, 3))(picture(6, 8), Key(0)).shape == (8, 3, 3)
    with pytest.raises(DataError, match="at most 8 x 10"):
        RandomCrop(padding=1, size=9)(picture(6, 8), Key(0))


def test_flip() -> None:
    image = picture(3, 4)
    assert torch.equal(HorizontalFlip(p=1.0)(image, Key(0)), torch.from_numpy(image.numpy()[:, ::-1].copy()))
    assert torch.equal(HorizontalFlip(p=0.0)(image, Key(0)), image)
    share = HorizontalFlip(p=0.25).sample(Keys(0, 0, np.arange(20_000)), 3, 4)["flip"].mean()
    assert abs(share - 0.25) < 0.02


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 1000))
def test_random_box_lies_inside_with_the_area_and_ratio_asked_for(height: int, width: int, sample: int) -> None:
    augmentation = RandomResizedCrop(size=8)
    box = augmentation.sample(Key(0, 0, sample), height, width)
    assert 0 <= box["top"] <= height - box["height"]
    assert 0 <= box["left"] <= width - box["width"]
    assert min(box["height"], box["width"]) >= 1
    if min(height, width) >= 60 and 0.5 < width / height < 2:  # then rounding hardly matters
        assert 0.07 < box["height"] * box["width"] / (height * width) <= 1.0
        assert 0.7 < box["width"] / box["height"] < 1.43


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10)), (20, 20, (0, 0, 20, 20)), (1, 50, (0, 24, 1, 1))],
)
def test_central_box_when_no_attempt_fits(height: int, width: int, expected: tuple[int, ...]) -> None:
    """torchvision's fallback; scale above the whole area is what makes all ten attempts fail."""
    box = RandomResizedCrop(scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3))._central_box(height, width)
    assert box == expected


def test_sampling_rule_is_torchvisions() -> None:
    """The rule written out a second time, after torchvision's ``RandomResizedCrop.get_params``."""

    def written_out(key: Key, height: int, width: int) -> tuple[int, int, int, int]:
        for _ in range(10):
            target = height * width * (0.08 + 0.92 * key.uniform())
            aspect = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * key.uniform())
            w, h = int(round(math.sqrt(target * aspect))), int(round(math.sqrt(target / aspect)))  # noqa: RUF046
            if 0 < w <= width and 0 < h <= height:
                return key.integers(0, height - h + 1), key.integers(0, width - w + 1), h, w
        if width / height < 3 / 4:
            w, h = width, int(round(width / (3 / 4)))  # noqa: RUF046
        elif width / height > 4 / 3:
            w, h = int(round(height * (4 / 3))), height  # noqa: RUF046
        else:
            w, h = width, height
        return (height - h) // 2, (width - w) // 2, h, w

    for sample in range(300):
        for height, width in ((375, 500), (30, 400), (400, 25), (1, 1), (7, 5)):
            drawn = RandomResizedCrop().sample(Key(0, 0, sample), height, width)
            assert tuple(drawn.values()) == pytest.approx(written_out(Key(0, 0, sample), height, width))


def test_resized_crop_is_within_one_level_of_pillow_and_sees_the_box_only() -> None:
    image = picture(90, 120)
    box = (13, 22, 50, 71)
    result = resize_crop(image, box, (24, 32))
    part = Image.fromarray(image.numpy()).crop((22, 13, 22 + 71, 13 + 50))
    expected = np.asarray(part.resize((32, 24), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(result.numpy().astype(int) - expected).max() <= 1
    outside = picture(90, 120, seed=5)
    outside[13:63, 22:93] = image[13:63, 22:93]
    assert torch.equal(resize_crop(outside, box, (24, 32)), result)


def test_cutout_hides_one_square_cut_off_at_the_edge() -> None:
    image = torch.full((10, 12, 3), 200, dtype=torch.uint8)
    augmentation = Cutout(size=4, fill=7)
    hidden = augmentation.apply(image, {"row": 5, "column": 6})
    assert (hidden == 7).all(dim=2).nonzero().tolist() == [[row, col] for row in range(3, 7) for col in range(4, 8)]
    assert int((augmentation.apply(image, {"row": 0, "column": 0}) == 7).sum()) == 2 * 2 * 3
    assert int((augmentation.apply(image, {"row": 9, "column": 11}) == 7).sum()) == 3 * 3 * 3
    assert bool((Cutout(size=99)(image, Key(0)) == 0).all())


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "random_crop", "padding": -1},
        {"name": "random_crop", "padding": 1.5},
        {"name": "random_crop", "padding": True},
        {"name": "random_crop", "fill": "edge"},
        {"name": "random_crop", "size": [3]},
        {"name": "random_crop", "size": 0},
        {"name": "horizontal_flip", "p": 1.2},
        {"name": "horizontal_flip", "p": "half"},
        {"name": "random_resized_crop", "size": "big"},
        {"name": "random_resized_crop", "interpolation": "cubic"},
        {"name": "random_resized_crop", "scale": [0.5, 0.2]},
        {"name": "random_resized_crop", "scale": [0.5, 1.2]},
        {"name": "random_resized_crop", "ratio": [0, 1]},
        {"name": "random_resized_crop", "ratio": 1},
        {"name": "cutout", "size": 0},
        {"name": "cutout", "fill": 256},
    ],
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    option = next(option for option in settings if option != "name")
    with pytest.raises(ConfigError, match=rf"{settings['name']}\.{option}"):
        build_augmentation(settings)


def test_unknown_names_and_settings_get_a_suggestion() -> None:
    with pytest.raises(NotRegistered, match="Did you mean 'random_crop'"):
        build_transform([{"name": "randomcrop"}])
    with pytest.raises(ConfigError, match=r"setting of random_crop.*Did you mean 'padding'"):
        build_transform([{"name": "random_crop", "pading": 4}])
    with pytest.raises(ConfigError, match='a table with a "name"'):
        build_transform([{"padding": 4}])
    with pytest.raises(NotRegistered, match="Did you mean 'squash256'"):
        Evaluate("squash265")


STEPS = [{"name": "random_crop", "padding": 2}, {"name": "horizontal_flip"}, {"name": "cutout", "size": 3}]


def test_chain_applies_its_steps_in_order_with_keys_of_their_own() -> None:
    chain, image, key = build_transform(STEPS), picture(12, 10), Key(4, 5, 6)
    expected = image
    for step in (RandomCrop(padding=2), HorizontalFlip(), Cutout(size=3)):
        expected = step(expected, key.child(step.name))
    assert torch.equal(chain(image, Key(4, 5, 6)), expected.permute(2, 0, 1))
    assert build_transform(chain.settings()).steps == chain.steps
    assert "horizontal_flip: mirrors" in chain.describe()
    assert build_transform().describe() == "no augmentation"


def test_a_step_draws_the_same_whatever_stands_before_it() -> None:
    alone, last = build_transform(STEPS[1:2]), build_transform([STEPS[2], STEPS[1]])
    for sample in range(20):
        key = Key(0, 0, sample)
        assert alone.parameters(key, 9, 9)["horizontal_flip"] == last.parameters(key, 9, 9)["horizontal_flip"]


def test_two_steps_of_one_name_draw_different_numbers() -> None:
    chain = Compose([RandomCrop(), RandomCrop()])
    drawn = [chain.parameters(Key(0, 0, sample), 32, 32) for sample in range(10)]
    assert list(drawn[0]) == ["random_crop", "random_crop#2"]
    assert any(parameters["random_crop"] != parameters["random_crop#2"] for parameters in drawn)


def test_chain_on_a_batch_equals_chain_on_each() -> None:
    chain = build_transform(STEPS)
    assert chain.batched
    assert not build_transform([{"name": "random_resized_crop"}]).batched
    images = torch.stack([picture(12, 10, seed=number) for number in range(5)])
    singles = [chain(image, Key(1, 2, sample)) for sample, image in enumerate(images)]
    assert torch.equal(chain.batch(images.clone(), Keys(1, 2, np.arange(5))), torch.stack(singles))


def test_evaluation_protocol_as_a_transform() -> None:
    image = picture(60, 80)
    transform = Evaluate("squash256")
    levels = transform(image, Key(0))
    assert levels.dtype == torch.uint8  # the protocol rounds, so nothing is lost
    assert levels.shape == (3, 224, 224)
    assert torch.equal(levels / 255, preprocess(image, protocol="squash256").permute(2, 0, 1))
    assert transform.describe()


def test_every_augmentation_is_in_the_table_under_its_own_name() -> None:
    assert all(issubclass(kind, Augmentation) and kind.name == name for name, kind in AUGMENTATIONS.items())
    assert len(set(AUGMENTATIONS.values())) == len(AUGMENTATIONS)
