"""Do the protocols with settings give the values of their libraries, and are they named, checked and told apart?

``golden/peers.json`` was made by the libraries themselves (``golden/make.py``). Beside it stand slow implementations
of the documented rules, for sizes that no golden value has.
"""

from __future__ import annotations

import io
import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mezzotint.data.preprocess import preprocess
from mezzotint.data.preview import draw_preview
from mezzotint.data.protocols import FAMILIES, PROTOCOLS, Protocol, get_protocol, settings_of
from mezzotint.data.protocols.grammar import parse, written_out
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, CropOrPad, CropSquare, ResizeLonger, Window
from mezzotint.data.resize import INTERPOLATIONS, resize
from mezzotint.data.transform import Evaluate
from mezzotint.errors import ConfigError, ImageError, InputError, NotRegistered

Array = np.ndarray[Any, Any]
GOLDEN = Path(__file__).parent / "golden"
MADE = runpy.run_path(str(GOLDEN / "make.py"))
PEERS = json.loads((GOLDEN / "peers.json").read_text())
IMAGES = [(name, image) for name, made in PEERS.items() for image in made["images"]]
pattern = MADE["pattern"]


def noise(height: int, width: int) -> Array:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Values of the libraries


def test_every_protocol_of_the_script_is_stored() -> None:
    assert list(PEERS) == list(MADE["PROTOCOLS"])
    assert all(get_protocol(name).name == name for name in PEERS)
    families = {name.partition(":")[0] for name in PEERS}
    assert families == set(FAMILIES) - {"squash256", "central875", "squash256-tf", "central875-tf"}


@pytest.mark.parametrize(
    ("name", "golden"), IMAGES, ids=lambda value: value if isinstance(value, str) else value["size"]
)
def test_golden_values(name: str, golden: dict[str, Any]) -> None:
    protocol, image = get_protocol(name), pattern(*golden["size"])
    values = preprocess(image, name, normalise=protocol.normalisation is not None).double().numpy()
    scale = 255 if name.startswith("keras") and settings_of(name)["mode"] == "caffe" else 1
    assert np.abs(MADE["at_points"](values) - golden["values"]).max() < 1e-4 * scale
    assert values.mean() == pytest.approx(golden["mean"], abs=1e-5 * scale)
    if "levels" in golden:
        assert MADE["digest"](MADE["levels"](values, protocol.normalisation)) == golden["levels"]


def timm_by_hand(image: Array, side: int, crop_pct: float, mode: str, kernel: Image.Resampling) -> Array:
    """timm's ``transforms_imagenet_eval`` with Pillow, up to the levels."""
    picture, scaled = Image.fromarray(image), math.floor(side / crop_pct)
    width, height = picture.size
    if mode == "squash":
        size = (scaled, scaled)
    elif mode == "center":
        long = int(scaled * max(width, height) / min(width, height))
        size = (scaled, long) if width < height else (long, scaled)
    else:
        ratio = max(height / scaled, width / scaled)
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    picture = picture.resize(size, kernel)
    left, top = (n // 2 if (n := side - length) > 0 else -round(-n / 2) for length in size)
    canvas = Image.new("RGB", (side, side), (124, 116, 104))
    canvas.paste(picture, (left, top))
    return np.array(canvas)


@given(
    st.integers(8, 200),
    st.integers(8, 200),
    st.integers(16, 96),
    st.floats(0.5, 1.0),
    st.sampled_from(["center", "squash", "border"]),
    st.sampled_from(INTERPOLATIONS["pillow"]),
)
def test_timm_is_exact(height: int, width: int, side: int, crop_pct: float, mode: str, interpolation: str) -> None:
    image = noise(height, width)
    protocol = get_protocol("timm", img_size=side, crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation)
    expected = timm_by_hand(image, side, crop_pct, mode, Image.Resampling[interpolation.upper()])
    assert torch.equal(protocol(torch.from_numpy(image)), torch.from_numpy(expected) / 255)


def area_by_hand(image: Array, height: int, width: int) -> Array:
    """Means over areas in float64: every output pixel, every pixel below it."""
    for axis, size in ((1, width), (0, height)):
        length = image.shape[axis]
        edges = np.arange(size + 1) * length / size
        places = np.arange(length)
        shares = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
        shares = shares.clip(0) / (length / size)
        image = np.moveaxis(np.tensordot(shares, image.astype(np.float64), (1, axis)), 0, axis)
    return image


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.integers(1, 60))
def test_area_is_a_mean_where_it_shrinks_and_lies_between_where_it_grows(
    h: int, w: int, height: int, width: int
) -> None:
    image = noise(h, w)
    made = resize(torch.from_numpy(image), height, width, resampling="opencv", interpolation="area").numpy()
    floats = torch.from_numpy(image.astype(np.float32))
    unrounded = resize(floats, height, width, resampling="opencv", interpolation="area").numpy()
    assert np.abs(made - unrounded).max() <= 1  # two halves of fixed point, or one of rounding
    if height <= h and width <= w:
        # overlaps up to a thousandth of a pixel are left out, on either side of an area of at least one
        assert np.abs(unrounded - area_by_hand(image, height, width)).max() < 255 * 4e-3
    else:
        assert image.min() <= made.min() <= made.max() <= image.max()


def test_area_by_hand() -> None:
    row = torch.tensor([0, 100, 200], dtype=torch.uint8).reshape(1, 3, 1).expand(1, 3, 3)
    area = {"resampling": "opencv", "interpolation": "area"}
    assert resize(row, 1, 1, **area)[0, :, 0].tolist() == [100]
    assert resize(row, 1, 2, **area)[0, :, 0].tolist() == [33, 167]
    assert resize(row, 1, 6, **area)[0, :, 0].tolist() == [0, 0, 100, 100, 200, 200]
    assert resize(row, 1, 4, **area)[0, :, 0].tolist() == [0, 67, 133, 200]
    four = torch.tensor([[0, 0], [0, 2]], dtype=torch.uint8)[:, :, None].expand(2, 2, 3)
    assert resize(four, 1, 1, **area)[0, 0, 0] == 1  # the half goes up, and not to the even number


def keys_by_hand(image: Array, height: int, width: int) -> Array:
    """Keys' cubic convolution at half-pixel centres in float64, weights beyond the edge shared out among the others."""
    for axis, size in ((0, height), (1, width)):
        length = image.shape[axis]
        place = (np.arange(size) + 0.5) * length / size - 0.5
        x = np.abs(place[:, None] - np.arange(length))
        inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights = np.where(x <= 1, inner, np.where(x < 2, outer, 0))
        weights /= weights.sum(axis=1, keepdims=True)
        image = np.moveaxis(np.tensordot(weights, image.astype(np.float64), (1, axis)), 0, axis)
    return image


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.integers(1, 60))
def test_tensorflow_bicubic_is_keys_interpolation(h: int, w: int, height: int, width: int) -> None:
    image = noise(h, w)
    made = resize(torch.from_numpy(image), height, width, resampling="tensorflow", interpolation="bicubic").numpy()
    # TensorFlow takes the weights from a table of 1024 places a pixel; without it, noise differs by half a level
    assert np.abs(made - keys_by_hand(image, height, width)).max() < 0.6


def test_tensorflow_1_by_hand() -> None:
    row = torch.tensor([0, 100], dtype=torch.uint8).reshape(1, 2, 1).expand(1, 2, 3)
    assert resize(row, 1, 4, resampling="tensorflow1")[0, :, 0].tolist() == [0, 50, 100, 100]
    row = torch.tensor([9, 50, 9, 70, 9, 9], dtype=torch.uint8).reshape(1, 6, 1).expand(1, 6, 3)
    assert resize(row, 1, 2, resampling="tensorflow1")[0, :, 0].tolist() == [9, 70]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS["pillow"])
def test_pillow_of_floats_is_close_to_that_of_levels(interpolation: Any) -> None:
    image = torch.from_numpy(noise(40, 50) // 4 + 96)  # mild, since levels are clipped between the directions
    levels = resize(image, 30, 60, resampling="pillow", interpolation=interpolation)
    floats = resize(image.float(), 30, 60, resampling="pillow", interpolation=interpolation)
    assert (levels - floats).abs().max() <= (0 if interpolation == "nearest" else 1.1)


def test_a_library_has_no_interpolation_but_its_own() -> None:
    with pytest.raises(InputError, match=r"'tensorflow1'.*received bicubic; allowed: bilinear"):
        resize(torch.zeros(2, 2, 3), 1, 1, resampling="tensorflow1", interpolation="bicubic")
    with pytest.raises(InputError, match="received cv2; allowed: pillow, tensorflow"):
        resize(torch.zeros(2, 2, 3), 1, 1, resampling="cv2")  # type: ignore[arg-type]


# Roundings


def test_crop_rules() -> None:
    even, ceil = CropFraction(fraction=0.875, offset="half_even"), CenterCrop(side=224, offset="ceil")
    assert [even.window(n, 8).top for n in (8, 500, 501, 502)] == [0, 32, 32, 32]
    assert [CropFraction(fraction=0.875).window(n, 8).top for n in (8, 500, 501, 502)] == [0, 31, 31, 31]
    assert [ceil.window(n, 224).top for n in (224, 225, 226, 227)] == [0, 1, 1, 2]
    assert CropSquare(fraction=0.875, offset="floor").window(333, 500) == Window(21, 104, 312, 395)
    assert CropSquare(fraction=0.875, offset="ceil").window(333, 500) == Window(21, 105, 312, 396)
    assert CropSquare(fraction=0.1, offset="floor").size(5, 9) == (1, 1)
    assert ResizeLonger(side=235, resampling="pillow").size(375, 500) == (176, 235)
    assert ResizeLonger(side=10, resampling="pillow").size(1, 1000) == (1, 10)


def test_single_precision_decides_about_whole_numbers() -> None:
    double = CropSquare(fraction=45 / 77, offset="ceil")
    single = CropSquare(fraction=45 / 77, offset="ceil", precision="float32")
    assert [double.size(n, 999)[0] for n in (76, 77, 154)] == [44, 45, 90]
    assert [single.size(n, 999)[0] for n in (76, 77, 154)] == [
        int(np.float32(45 / 77) * np.float32(n)) for n in (76, 77, 154)
    ]
    assert single.size(77, 999) != double.size(77, 999)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_crop_or_pad_shows_what_its_window_says(height: int, width: int, side: int) -> None:
    step = CropOrPad(side=side, fill=(1, 2, 3), offset="half_even")
    image = torch.from_numpy(noise(height, width).clip(4))
    made, window = step(image), step.window(height, width)
    assert made.shape == (side, side, 3)
    for y in range(side):
        for x in range(side):
            row, column = y + int(window.top), x + int(window.left)
            inside = 0 <= row < height and 0 <= column < width
            assert made[y, x].tolist() == (image[row, column].tolist() if inside else [1, 2, 3])
    assert torch.allclose(step(image / 255) * 255, made.float(), atol=1e-4)


def test_central875_takes_both_roundings() -> None:
    image = torch.from_numpy(noise(101, 205))
    tensorflow = get_protocol("central875", rounding="tensorflow")
    assert tensorflow.name == "central875:rounding=tensorflow"
    assert tensorflow.steps[0] == PROTOCOLS["central875-tf"].steps[0]
    assert tensorflow.steps[1] == PROTOCOLS["central875"].steps[1]
    assert not torch.equal(tensorflow(image), PROTOCOLS["central875"](image))
    assert get_protocol("central875:offset=floor")(image).equal(PROTOCOLS["central875"](image))
    assert not get_protocol("central875:offset=ceil")(image).equal(PROTOCOLS["central875"](image))


# Names and settings


def test_settings_behind_the_name_and_as_arguments_are_the_same() -> None:
    one = get_protocol("timm:interpolation=bilinear,crop_pct=0.95,mean=0.5/0.25/0.5")
    other = get_protocol("timm:crop_pct=0.95", interpolation="bilinear", mean=(0.5, 0.25, 0.5))
    assert one == other
    assert one.name == "timm:crop_pct=0.95,interpolation=bilinear,mean=0.5/0.25/0.5"
    assert get_protocol(one.name) == one
    assert get_protocol("timm:img_size=224") is PROTOCOLS["timm"]
    assert settings_of(one.name)["mean"] == (0.5, 0.25, 0.5)
    assert settings_of(one.name)["img_size"] == 224


_values = st.one_of(st.integers(-9, 999), st.floats(0.001, 9), st.none(), st.sampled_from(["center", "lanczos"]))


@given(st.dictionaries(st.sampled_from(["img_size", "mean", "mode"]), _values | st.tuples(_values, _values)))
def test_names_are_read_back(given_settings: dict[str, Any]) -> None:
    assert parse(written_out("timm", given_settings)) == ("timm", given_settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:crop=0.9", "setting of timm: received crop; allowed: img_size, crop_pct.*Did you mean 'crop_pct'"),
        ("timm:", "received ''"),
        ("timm:crop_pct", "received 'crop_pct'"),
        ("timm:crop_pct=0.9,crop_pct=0.8", "a second time"),
        ("timm:crop_pct=0", "crop_pct: received 0; allowed: a number above 0"),
        ("timm:crop_pct=1.5", "crop_pct"),
        ("timm:img_size=0", "img_size: received 0; allowed: a whole number of pixels"),
        ("timm:img_size=224.5", "img_size"),
        ("timm:crop_mode=stretch", "allowed: center, squash, border"),
        ("timm:interpolation=area", "allowed: nearest, box"),
        ("timm:mean=0.5/0.5", "mean"),
        ("timm:std=0", "std"),
        ("timm:mean=none", "mean"),
        ("timm:mean=none,std=none,crop_mode=border", "mean colour"),
        ("torchvision:resize_size=200", "img_size.*1 to 200"),
        ("squash256:img_size=257", "1 to 256"),
        ("squash256:offset=round", "allowed: floor, half_even, ceil"),
        ("central875:rounding=round", "allowed: floor, tensorflow"),
        ("central875:rounding=tensorflow,offset=floor", "offset"),
        ("inception:fraction=2", "fraction"),
        ("ffcv:ratio=x", "ratio"),
        ("keras:mode=coffee", "allowed: caffe, tf, torch"),
        ("keras:reader=image_dataset,interpolation=lanczos", "allowed: nearest, bilinear, bicubic, none"),
    ],
)
def test_unusable_settings(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        get_protocol(name)


def test_a_setting_given_twice_and_a_name_misspelt() -> None:
    with pytest.raises(ConfigError, match="crop_pct twice"):
        get_protocol("timm:crop_pct=0.9", crop_pct=0.9)
    with pytest.raises(NotRegistered, match="Did you mean 'timm'"):
        get_protocol("tim:crop_pct=0.9")


def test_every_setting_is_part_of_the_fingerprint() -> None:
    other = {"img_size": 64, "crop_pct": 0.9, "interpolation": "bicubic", "mean": 0.4, "std": 0.4, "ratio": 0.5}
    other |= {"fraction": 0.5, "resize_size": 300, "rounding": "tensorflow", "offset": "ceil", "mode": "tf"}
    other |= {"crop_mode": "squash", "reader": "image_dataset"}
    prints = {protocol.fingerprint() for protocol in PROTOCOLS.values()}
    count = len(prints)
    for name in FAMILIES:
        for key, default in settings_of(name).items():
            value = "bilinear" if other[key] == default else other[key]
            together = {"mean": 0.4, "std": 0.4} if name == "torchvision" and key == "mean" else {key: value}
            if name != "torchvision" or key != "std":
                prints.add(get_protocol(name, **together).fingerprint())
                count += 1
    assert len(prints) == count


def test_words_of_the_settings() -> None:
    border = get_protocol("timm", crop_mode="border", crop_pct=0.9).describe()
    assert "Resize the longer side to 248" in border
    assert "pad with the colour (124, 116, 104)" in border
    assert "(value - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)" in border
    caffe = PROTOCOLS["keras"].describe()
    assert "nearest pixel (Pillow, to the bit)" in caffe
    assert "Order the channels BGR. Normalise: 255 * value - (103.939, 116.779, 123.68)." in caffe
    assert "without half-pixel centres (TensorFlow 1)" in PROTOCOLS["inception"].describe()
    assert "(surplus + 1) // 2" in PROTOCOLS["efficientnet-tf"].describe()
    assert "values beyond [0, 1] are kept" in PROTOCOLS["efficientnet-tf"].describe()
    assert "INTER_AREA (OpenCV, to the bit)" in PROTOCOLS["ffcv"].describe()


# Normalisation


def test_normalisation_by_hand() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 51, 0
    tf = preprocess(image, "keras:mode=tf", normalise=True)
    assert tf[0, 0].tolist() == pytest.approx([1, -0.6, -1])
    caffe = preprocess(image, "keras", normalise=True)
    assert caffe[0, 0].tolist() == pytest.approx([-103.939, 51 - 116.779, 255 - 123.68], abs=1e-4)
    torch_mode = preprocess(image, "keras:mode=torch", normalise=True)
    assert torch_mode[0, 0].tolist() == pytest.approx([0.515 / 0.229, -0.256 / 0.224, -0.406 / 0.225])


def test_statistics_for_a_loader() -> None:
    assert PROTOCOLS["timm"].normalisation is not None
    assert PROTOCOLS["timm"].normalisation.statistics() == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert PROTOCOLS["keras"].normalisation is not None
    with pytest.raises(InputError, match="BGR"):
        PROTOCOLS["keras"].normalisation.statistics()


def test_overshoot_is_kept_where_the_library_keeps_it() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[:, 150:] = 255
    assert preprocess(image, "efficientnet-tf:img_size=300").max() > 1.01
    assert preprocess(image, "timm:interpolation=bicubic").max() == 1
    floats = preprocess((image / 255).astype(np.float32), "timm:interpolation=bicubic")
    assert 0 <= floats.min() <= floats.max() <= 1


# Several images


def test_lists_and_batches() -> None:
    images = [noise(50, 60), noise(50, 60)]
    expected = torch.stack([preprocess(image, "ffcv") for image in images])
    png = io.BytesIO()
    Image.fromarray(images[1]).save(png, "PNG")
    for several in (
        images,
        tuple(images),
        [Image.fromarray(images[0]), png.getvalue()],
        np.stack(images),
        np.stack(images).transpose(0, 3, 1, 2),
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
    ):
        assert torch.equal(preprocess(several, "ffcv"), expected)
    assert preprocess([noise(9, 9), noise(300, 20)], "keras").shape == (2, 224, 224, 3)
    assert preprocess(np.stack(images), "keras", normalise=True).min() < -100
    assert preprocess(images[:1]).shape == (1, 224, 224, 3)


def test_a_damaged_image_of_several_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"image 1: received .*allowed: a complete"):
        preprocess([noise(9, 9), b"nothing"])
    with pytest.raises(ImageError, match="image 1 ndarray"):
        preprocess([noise(9, 9), noise(9, 9).astype(np.int64)])
    with pytest.raises(ImageError, match=r"gone\.png"):
        preprocess([noise(9, 9), tmp_path / "gone.png"])
    for none in ([], np.zeros((0, 5, 5, 3), np.uint8)):
        with pytest.raises(ImageError, match="at least one image"):
            preprocess(none)


# Elsewhere


@settings(max_examples=5)
@given(st.sampled_from(["timm:crop_mode=border,crop_pct=1.0", "inception", "keras:mode=tf", "efficientnet-tf"]))
def test_a_transform_takes_settings(name: str) -> None:
    image = torch.from_numpy(noise(40, 70))
    made = Evaluate(name)(image, None)  # type: ignore[arg-type]
    values = made / 255 if made.dtype == torch.uint8 else made
    assert torch.equal(values, preprocess(image, name).permute(2, 0, 1))


def test_previews_show_settings(tmp_path: Path) -> None:
    Image.fromarray(noise(60, 90)).save(tmp_path / "a.png")
    names = ("timm:crop_mode=border,crop_pct=0.9", "efficientnet-tf", "keras", "inception")
    assert draw_preview(tmp_path / "a.png", tmp_path / "sheet.png", protocols=names).protocols == names
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 2 * 299


def test_what_a_border_keeps_is_the_whole_image() -> None:
    window = get_protocol("timm", crop_mode="border", crop_pct=1.0).kept(100, 200)
    assert (window.left, window.right) == (0, 200)
    assert window.top < 0
    assert window.bottom > 100
    assert isinstance(get_protocol("timm"), Protocol)
