"""Do the augmentations give Pillow's pixels, the published tables, and the distributions that they promise?"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.augment.augmix import AugMix
from mezzotint.data.augment.automatic import DRAWN, AutoAugment, RandAugment, TrivialAugmentWide, narrow, wide
from mezzotint.data.augment.blur import Elastic, displace, smooth
from mezzotint.data.augment.colour import ColourJitter
from mezzotint.data.augment.draws import beta, dirichlet, log_gamma
from mezzotint.data.augment.erase import RandomErasing, random_box
from mezzotint.data.augment.geometry import inverse_affine, perspective_coefficients
from mezzotint.data.augment.pillow_ops import OPERATIONS, Surface, shift_hue, to_image, to_picture
from mezzotint.data.augment.policies import POLICIES, Step
from mezzotint.data.random import Key, Keys
from mezzotint.data.transform import build_augmentation
from mezzotint.errors import ConfigError


def picture(height: int = 24, width: int = 31, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, 250, (height, width, channels), generator=generator, dtype=torch.uint8)


PILLOW: dict[str, tuple[float, Any]] = {
    "identity": (0, lambda p: p),
    "shear_x": (0.2, lambda p: p.transform(p.size, Image.Transform.AFFINE, (1, 0.2, 0, 0, 1, 0))),
    "shear_y": (-0.3, lambda p: p.transform(p.size, Image.Transform.AFFINE, (1, 0, 0, -0.3, 1, 0))),
    "translate_x": (5.9, lambda p: p.transform(p.size, Image.Transform.AFFINE, (1, 0, -5, 0, 1, 0))),
    "translate_y": (-3, lambda p: p.transform(p.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, 3))),
    "rotate": (20, lambda p: p.rotate(20)),
    "brightness": (0.4, lambda p: ImageEnhance.Brightness(p).enhance(1.4)),
    "color": (-0.4, lambda p: ImageEnhance.Color(p).enhance(0.6)),
    "contrast": (0.5, lambda p: ImageEnhance.Contrast(p).enhance(1.5)),
    "sharpness": (0.9, lambda p: ImageEnhance.Sharpness(p).enhance(1.9)),
    "posterize": (3, lambda p: ImageOps.posterize(p, 3)),
    "solarize": (100, lambda p: ImageOps.solarize(p, 100)),
    "autocontrast": (0, ImageOps.autocontrast),
    "equalize": (0, ImageOps.equalize),
    "invert": (0, ImageOps.invert),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_pillows(name: str, channels: int) -> None:
    value, expected = PILLOW[name]
    original = to_picture(picture(channels=channels))
    assert np.array_equal(np.array(OPERATIONS[name](original, value, Surface())), np.array(expected(original)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0.0) for name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness")),
        *((name, 0.0) for name in ("color", "contrast", "sharpness")),
        ("posterize", 8.0),
        ("solarize", 256.0),
    ],
)
def test_strength_of_nothing_changes_nothing(name: str, value: float) -> None:
    for channels in (1, 3):
        image = picture(channels=channels)
        assert torch.equal(to_image(OPERATIONS[name](to_picture(image), value, Surface())), image)


IDENTITIES: list[dict[str, Any]] = [
    {"name": "rotation", "degrees": 0},
    {"name": "shear", "amount": 0},
    {"name": "translate", "amount": 0},
    {"name": "affine", "degrees": 0, "translate": 0, "scale": [1, 1], "shear": 0},
    {"name": "perspective", "distortion": 0, "p": 1},
    {"name": "elastic", "alpha": 0, "p": 1},
    {"name": "colour_jitter", "brightness": 0, "contrast": 0, "saturation": 0},
    {"name": "gaussian_blur", "sigma": [0, 0], "p": 1},
    {"name": "gaussian_noise", "std": [0, 0], "p": 1},
    {"name": "brightness", "amount": 0},
    {"name": "solarize", "threshold": 256, "p": 1},
    {"name": "posterize", "bits": 8, "p": 1},
]


@pytest.mark.parametrize("settings", IDENTITIES, ids=lambda settings: settings["name"])
def test_settings_of_nothing_change_nothing(settings: dict[str, Any]) -> None:
    augmentation = build_augmentation(settings)
    for sample in range(3):
        image = picture(seed=sample)
        assert torch.equal(augmentation(image, Key(0, 0, sample)), image)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if hasattr(AUGMENTATIONS[name], "p")])
def test_probability_of_zero_changes_nothing(name: str) -> None:
    image = picture()
    for sample in range(5):
        assert torch.equal(AUGMENTATIONS[name](p=0.0)(image, Key(0, 0, sample)), image)  # type: ignore[call-arg]


@given(
    st.sampled_from(sorted(set(AUGMENTATIONS) - {"random_crop", "random_resized_crop"})),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.integers(0, 1 << 40),
)
def test_size_type_and_input_are_kept(name: str, height: int, width: int, channels: int, sample: int) -> None:
    image = picture(height, width, channels)
    before = image.clone()
    result = AUGMENTATIONS[name]()(image, Key(7, 1, sample))
    assert result.shape == image.shape
    assert result.dtype == torch.uint8
    assert torch.equal(image, before)


def test_jitter_is_pillows_in_the_order_drawn() -> None:
    augmentation, image = ColourJitter(hue=0.2), picture()
    orders = set()
    for sample in range(200):
        steps = augmentation.sample(Key(0, 0, sample), 24, 31)["steps"]
        orders.add(tuple(part for part, _ in steps))
        assert all(abs(factor - (part != "hue")) <= (0.2 if part == "hue" else 0.4) for part, factor in steps)
    assert len(orders) == 24
    expected = to_picture(image)
    for part, factor in steps:
        kind = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast}.get(part, ImageEnhance.Color)
        expected = shift_hue(expected, factor) if part == "hue" else kind(expected).enhance(factor)
    result = augmentation.apply(image, {"steps": steps})
    assert int((result.int() - to_image(expected).int()).abs().max()) == 0


def test_hue_turns_red_to_green_to_blue() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    turned = np.array(shift_hue(red, 1 / 3))[0, 0]
    assert turned[1] == 255
    assert turned[0] < 10
    assert np.array(shift_hue(red, -1 / 3))[0, 0, 2] == 255
    assert np.array_equal(np.array(shift_hue(red, 0.0)), np.array(red))


def test_blur_and_grey_are_pillows() -> None:
    image = picture()
    blur = build_augmentation({"name": "gaussian_blur", "p": 1, "sigma": [1.5, 1.5]})
    expected = to_picture(image).filter(ImageFilter.GaussianBlur(1.5))
    assert np.array_equal(blur(image, Key(0)).numpy(), np.array(expected))
    grey = build_augmentation({"name": "grayscale", "p": 1})(image, Key(0)).numpy()
    luma = np.array(to_picture(image).convert("L"))
    assert all(np.array_equal(grey[..., channel], luma) for channel in range(3))


def test_noise_has_the_deviation_asked_for() -> None:
    image = torch.full((200, 200, 3), 128, dtype=torch.uint8)
    noisy = build_augmentation({"name": "gaussian_noise", "p": 1, "std": [0.05, 0.05]})(image, Key(3))
    assert float(noisy.float().std()) == pytest.approx(255 * 0.05, rel=0.02)
    assert float(noisy.float().mean()) == pytest.approx(128, abs=0.2)


@given(st.integers(0, 99), st.floats(-80, 80), st.floats(0.5, 2), st.floats(-40, 40))
def test_affine_keeps_the_centre_and_undoes_the_forward_map(
    sample: int, degrees: float, scale: float, shear: float
) -> None:
    height, width, right, down = 20 + sample, 31, 3.0, -2.0
    a, b, c, d, e, f = inverse_affine(height, width, degrees, right, down, scale, shear)
    x, y = width / 2 + right, height / 2 + down
    assert (a * x + b * y + c, d * x + e * y + f) == pytest.approx((width / 2, height / 2))
    assert a * e - b * d == pytest.approx(1 / scale**2)  # areas shrink by the square of the scale


def test_affine_turns_clockwise_and_by_the_angle() -> None:
    image = torch.zeros(41, 41, 3, dtype=torch.uint8)
    image[5, 20] = 255  # above the centre
    augmentation = build_augmentation({"name": "affine", "interpolation": "nearest"})
    drawn = {"apply": True, "degrees": 90.0, "right": 0, "down": 0, "scale": 1.0, "shear": 0.0}
    assert augmentation.apply(image, drawn)[..., 0].nonzero().tolist() == [[20, 35]]  # to the right of it
    assert torch.equal(augmentation.apply(image, {**drawn, "degrees": 0.0, "right": 4})[:, 4:], image[:, :-4])


def test_perspective_takes_corners_to_corners() -> None:
    old, new = [(0, 0), (30, 0), (30, 20), (0, 20)], [(2, 3), (27, 1), (30, 16), (4, 20)]
    a, b, c, d, e, f, g, h = perspective_coefficients(old, new)
    for (x_old, y_old), (x, y) in zip(old, new, strict=True):
        scale = g * x + h * y + 1
        assert ((a * x + b * y + c) / scale, (d * x + e * y + f) / scale) == pytest.approx((x_old, y_old), abs=1e-9)


def test_elastic_field_moves_pixels_as_told() -> None:
    image = picture()
    field = torch.zeros(2, 24, 31)
    field[0] = 2.0
    moved = displace(image, field)
    assert torch.equal(moved[:, :-2], image[:, 2:])
    assert torch.equal(moved[:, -1], image[:, -1])  # the edge goes on
    flat = smooth(np.ones((1, 60, 60), dtype=np.float32), 2.0)
    assert flat[0, 20:40, 20:40] == pytest.approx(1.0, abs=1e-5)
    assert not torch.equal(Elastic(p=1.0)(image, Key(0)), image)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_have_25_pairs_of_known_operations(name: str) -> None:
    policy = POLICIES[name]
    assert len(policy) == 25
    for step in (step for pair in policy for step in pair):
        assert step.operation in OPERATIONS
        assert 0 <= step.p <= 1
        assert (step.strength is None) == (step.operation in ("autocontrast", "equalize", "invert"))


def test_rows_of_the_published_tables() -> None:
    assert POLICIES["imagenet"][0] == (Step("posterize", 0.4, 8), Step("rotate", 0.6, 9))
    assert POLICIES["imagenet"][18] == (Step("shear_x", 0.6, 5), Step("equalize", 1.0, None))
    assert POLICIES["cifar10"][0] == (Step("invert", 0.1, None), Step("contrast", 0.2, 6))
    assert POLICIES["cifar10"][24] == (Step("translate_y", 0.7, 9), Step("autocontrast", 0.9, None))
    assert POLICIES["svhn"][12] == (Step("equalize", 0.9, None), Step("translate_y", 0.6, 6))
    assert POLICIES["svhn"][24] == (Step("shear_x", 0.7, 2), Step("invert", 0.1, None))
    counts = {name: Counter(step.operation for pair in policy for step in pair) for name, policy in POLICIES.items()}
    assert counts["svhn"]["invert"] == 12
    assert counts["imagenet"]["translate_x"] == 0
    assert counts["cifar10"]["rotate"] == 1


def test_strengths_at_their_ends() -> None:
    assert narrow("rotate", 1, 9, 9) == 30
    assert narrow("shear_y", 0.5, 9, 9) == 0.15
    assert narrow("translate_x", 1, 224, 331) == pytest.approx(150)
    assert narrow("translate_y", 1, 331, 224) == pytest.approx(150)
    assert [narrow("posterize", strength / 9, 9, 9) for strength in (0, 5, 6, 7, 8, 9)] == [8, 6, 5, 5, 4, 4]
    assert (narrow("solarize", 0, 9, 9), narrow("solarize", 1, 9, 9)) == (255, 0)
    assert (wide("rotate", 1), wide("shear_x", 1), wide("translate_y", 1), wide("posterize", 1)) == (135, 0.99, 32, 2)
    assert narrow("equalize", 1, 9, 9) == wide("identity", 1) == 0


def test_policies_are_drawn_with_the_published_odds() -> None:
    seen: Counter[str] = Counter()
    for sample in range(6000):
        seen.update(name for name, _ in AutoAugment(policy="svhn").operations(Key(0, 0, sample), 32, 32))
    expected: Counter[str] = Counter()
    for step in (step for pair in POLICIES["svhn"] for step in pair):
        expected[step.operation] += step.p / 25  # type: ignore[assignment]
    for name, share in expected.items():
        assert seen[name] / 6000 == pytest.approx(share, abs=0.03), name


def test_rand_augment_draws_each_operation_and_sign_equally_often() -> None:
    drawn = [RandAugment().operations(Key(0, 0, sample), 64, 64) for sample in range(4000)]
    assert all(len(pairs) == 2 for pairs in drawn)
    counts = Counter(name for pairs in drawn for name, _ in pairs)
    assert set(counts) == set(DRAWN)
    assert all(count == pytest.approx(8000 / 14, rel=0.2) for count in counts.values())
    angles = Counter(value for pairs in drawn for name, value in pairs if name == "rotate")
    assert set(angles) == {-9.0, 9.0}
    assert angles[9.0] / sum(angles.values()) == pytest.approx(0.5, abs=0.08)


def test_trivial_augment_draws_one_operation_of_any_strength() -> None:
    drawn = [TrivialAugmentWide().operations(Key(0, 0, sample), 64, 64) for sample in range(4000)]
    assert all(len(pairs) == 1 for pairs in drawn)
    angles = {round(abs(pairs[0][1]) / 4.5) for pairs in drawn if pairs[0][0] == "rotate"}
    assert angles == set(range(31))


def test_automatic_pixels_are_those_of_the_operations_told() -> None:
    image = picture()
    augmentation = RandAugment(fill=9, interpolation="bilinear")
    for sample in range(30):
        drawn = augmentation.sample(Key(1, 1, sample), 24, 31)
        expected = to_picture(image)
        for name, value in drawn["operations"]:
            expected = OPERATIONS[name](expected, value, Surface("bilinear", 9))
        assert torch.equal(augmentation.apply(image, drawn), to_image(expected))


def test_aug_mix_weighs_its_chains() -> None:
    image, augmentation = picture(), AugMix(width=2)
    drawn = {"chains": [[["posterize", 2.0]], [["rotate", 10.0]]], "weights": [0.25, 0.75], "share": 0.4}
    one, two = ImageOps.posterize(to_picture(image), 2), to_picture(image).rotate(10, Image.Resampling.BILINEAR)
    parts = [np.asarray(part, dtype=np.float64) for part in (image.numpy(), one, two)]
    expected = 0.6 * parts[0] + 0.1 * parts[1] + 0.3 * parts[2]
    assert np.abs(augmentation.apply(image, drawn).numpy() - expected).max() <= 0.501
    assert torch.equal(augmentation.apply(image, {**drawn, "share": 0.0}), image)
    sampled = augmentation.sample(Key(0), 24, 31)
    assert sum(sampled["weights"]) == pytest.approx(1)
    assert 0 <= sampled["share"] <= 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_gamma_beta_and_dirichlet_have_their_moments(alpha: float) -> None:
    keys = [Key(5, 0, sample) for sample in range(4000)]
    gammas = np.exp([log_gamma(key, alpha) for key in keys])
    assert gammas.mean() == pytest.approx(alpha, abs=5 * math.sqrt(alpha / 4000))
    betas = np.array([beta(key, alpha) for key in keys])
    assert betas.mean() == pytest.approx(0.5, abs=0.03)
    assert betas.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert sum(dirichlet(keys[0], alpha, 7)) == pytest.approx(1)


def test_beta_of_a_tiny_concentration_is_finite() -> None:
    assert all(0 <= beta(Key(0, 0, sample), 0.001) <= 1 for sample in range(200))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 9999))
def test_erased_boxes_lie_inside_and_are_smaller(height: int, width: int, sample: int) -> None:
    top, left, tall, broad = random_box(Key(0, 0, sample), height, width, (0.02, 0.33), (0.3, 3.3))
    assert 0 <= top <= height - tall
    assert 0 <= left <= width - broad
    if tall and min(height, width) > 50:
        assert 0.015 < tall * broad / (height * width) < 0.35
        assert 0.28 < tall / broad < 3.6


def test_erasing_changes_the_box_only() -> None:
    image, augmentation = picture(), RandomErasing(p=1.0)
    drawn = {"apply": True, "top": 3, "left": 5, "height": 8, "width": 9, "state": 1}
    changed = (augmentation.apply(image, drawn) != image).any(-1).nonzero()
    assert changed.min(0).values.tolist() == [3, 5]
    assert changed.max(0).values.tolist() == [10, 13]
    assert bool((RandomErasing(p=1.0, fill=77).apply(image, drawn)[3:11, 5:14] == 77).all())


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "rotation", "degrees": -1},
        {"name": "rotation", "interpolation": "lanczos"},
        {"name": "rotation", "fill": 300},
        {"name": "affine", "scale": [2, 1]},
        {"name": "perspective", "distortion": 1},
        {"name": "elastic", "sigma": 0},
        {"name": "colour_jitter", "hue": 0.6},
        {"name": "gaussian_blur", "sigma": 2},
        {"name": "gaussian_noise", "std": [0.2, 0.1]},
        {"name": "solarize", "threshold": 300},
        {"name": "posterize", "bits": 0},
        {"name": "sharpness", "amount": 1.5},
        {"name": "invert", "p": 2},
        {"name": "random_erasing", "fill": "black"},
        {"name": "auto_augment", "policy": "cifar"},
        {"name": "rand_augment", "magnitude": 31},
        {"name": "trivial_augment_wide", "bins": 1},
        {"name": "aug_mix", "severity": 11},
        {"name": "aug_mix", "depth": 0},
        {"name": "three_augment", "jitter": -0.1},
    ],
)
def test_settings_are_checked_at_the_door(settings: dict[str, Any]) -> None:
    option = next(option for option in settings if option != "name")
    with pytest.raises(ConfigError, match=rf"{settings['name']}\.{option}"):
        build_augmentation(settings)


def test_three_augment_draws_each_choice_and_keys_of_one_image_only() -> None:
    augmentation = AUGMENTATIONS["three_augment"]()
    choices = Counter(augmentation.sample(Key(0, 0, sample), 9, 9)["choice"] for sample in range(900))
    assert set(choices) == {"grayscale", "solarize", "gaussian_blur"}
    assert min(choices.values()) > 240
    with pytest.raises(TypeError, match="one image at a time"):
        augmentation.sample(Keys(0, 0, np.arange(2)), 9, 9)
