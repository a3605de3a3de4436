"""Do the protocols give the values of the libraries that they are named after, and do they say what they do?"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mezzotint.data.decode import read_image
from mezzotint.data.preprocess import preprocess
from mezzotint.data.protocols import PROTOCOLS, Protocol, get_protocol, protocols
from mezzotint.data.protocols.steps import CenterCrop, CropFraction, Resize, ResizeShorter, Window
from mezzotint.data.resize import resize
from mezzotint.errors import ImageError, NotRegistered

Array = np.ndarray[Any, Any]
NAMES = list(PROTOCOLS)
SIZES = [(375, 500), (500, 375), (224, 224), (256, 256), (600, 601), (31, 47), (3, 500), (500, 3), (1, 1), (1, 2)]
TENSORFLOW = json.loads((Path(__file__).parent / "golden" / "tensorflow.json").read_text())


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pattern(height: int, width: int) -> Array:
    """A test image by a formula, so that golden values need no stored image: slopes, edges and wrap-arounds."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    values = x * (7 + 2 * c) + y * (13 - 3 * c) + (x * y) // 5 + (x // 8 ^ y // 8) * 31 * (c + 1)
    return (values % 256).astype(np.uint8)


def photograph_like(height: int, width: int) -> Array:
    """Soft waves, a few edges and mild noise."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    waves = 120 + 60 * np.sin(x / 17 + c) + 40 * np.cos(y / 23 - c) + 20 * ((x // 40 + y // 30) % 2)
    return (waves + np.random.default_rng(height + width).normal(0, 4, waves.shape)).clip(0, 255).astype(np.uint8)


def pillow_values(image: Array, name: str) -> Array:
    """A protocol done with Pillow and written out independently of the steps."""
    picture = Image.fromarray(image)
    width, height = picture.size
    if name == "squash256":
        picture = picture.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    elif name == "central875":
        w, h = max(1, width * 7 // 8), max(1, height * 7 // 8)
        left, top = (width - w) // 2, (height - h) // 2
        picture = picture.crop((left, top, left + w, top + h)).resize((224, 224), Image.Resampling.BILINEAR)
    else:
        size = (256, int(256 * height / width)) if width < height else (int(256 * width / height), 256)
        left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
        picture = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    return np.array(picture).astype(np.int64)


def levels(values: torch.Tensor) -> Array:
    return np.rint(values.numpy().astype(np.float64) * 255).astype(np.int64)


def half_pixel(image: Array, height: int, width: int) -> Array:
    """TensorFlow's bilinear resize in float64, from its documentation and one axis at a time."""
    for axis, size in ((0, height), (1, width)):
        place = (np.arange(size) + 0.5) * image.shape[axis] / size - 0.5
        low = np.floor(place).astype(int)
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        last = image.shape[axis] - 1
        near, far = (np.take(image, np.clip(at, 0, last), axis).astype(np.float64) for at in (low, low + 1))
        image = near * (1 - share) + far * share
    return image


# Values


@pytest.mark.parametrize("name", ["squash256", "central875", "torchvision"])
def test_pillow_to_the_bit_on_photographs(name: str, shared_data: Path) -> None:
    files = sorted((shared_data / "imagenet_samples").iterdir())[::4]
    assert len(files) > 50
    for path in files:
        image = read_image(path)
        assert np.array_equal(levels(preprocess(path, name)), pillow_values(image.numpy(), name)), path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["squash256", "central875"])
def test_pillow_to_the_bit_on_made_images(name: str, size: tuple[int, int]) -> None:
    for image in (photograph_like(*size), pattern(*size)):
        assert np.array_equal(levels(PROTOCOLS[name](torch.from_numpy(image))), pillow_values(image, name))


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=20)
def test_pillow_to_the_bit_on_black_and_white_noise(height: int, width: int) -> None:
    image = np.random.default_rng(height * 701 + width).integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    values = PROTOCOLS["squash256"](torch.from_numpy(image))
    assert np.array_equal(levels(values), pillow_values(image, "squash256"))


@pytest.mark.parametrize("size", [size for size in SIZES if max(size) / min(size) < 200])
def test_torchvision_is_exact(size: tuple[int, int]) -> None:
    image = pattern(*size)
    assert np.array_equal(
        levels(PROTOCOLS["torchvision"](torch.from_numpy(image))), pillow_values(image, "torchvision")
    )


@pytest.mark.parametrize("golden", TENSORFLOW["images"], ids=lambda golden: f"{golden['height']}x{golden['width']}")
@pytest.mark.parametrize("name", ["squash256-tf", "central875-tf"])
def test_tensorflow_golden_values(name: str, golden: dict[str, Any]) -> None:
    values = PROTOCOLS[name](torch.from_numpy(pattern(golden["height"], golden["width"]))).double().numpy() * 255
    for point, expected in zip(golden["points"], golden[name]["values"], strict=True):
        assert values[tuple(point)] == pytest.approx(expected, abs=1e-2)
    assert values.mean() == pytest.approx(golden[name]["mean"], abs=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_tensorflow_against_its_formula(size: tuple[int, int]) -> None:
    image = pattern(*size)
    squashed = half_pixel(image, 256, 256)[16:240, 16:240] / 255
    assert np.abs(PROTOCOLS["squash256-tf"](torch.from_numpy(image)).numpy() - squashed).max() < 1e-4
    top, left = int((size[0] - size[0] * 0.875) / 2), int((size[1] - size[1] * 0.875) / 2)
    central = half_pixel(image[top : size[0] - top, left : size[1] - left], 224, 224) / 255
    assert np.abs(PROTOCOLS["central875-tf"](torch.from_numpy(image)).numpy() - central).max() < 1e-4


def test_tensorflow_by_hand() -> None:
    # Two pixels to four: places -0.25, 0.25, 0.75, 1.25, the outer ones held at the edge.
    row = torch.tensor([0, 100], dtype=torch.uint8).reshape(1, 2, 1).expand(1, 2, 3)
    wide = resize(row, 1, 4, resampling="tensorflow")
    assert wide[0, :, 0].tolist() == [0, 25, 75, 100]
    # Six to two without antialiasing: places 1 and 4, and nothing of the rest counts.
    row = torch.tensor([9, 50, 9, 9, 70, 9], dtype=torch.uint8).reshape(1, 6, 1).expand(1, 6, 3)
    assert resize(row, 1, 2, resampling="tensorflow")[0, :, 0].tolist() == [50, 70]
    assert resize(row, 1, 2, resampling="pillow")[0, 0, 0] < 40


# Rounding


def test_crop_rules() -> None:
    assert [CropFraction(fraction=0.875).size(n, 8)[0] for n in (1, 2, 8, 500, 375)] == [1, 1, 7, 437, 328]
    tensorflow = CropFraction(fraction=0.875, rounding="tensorflow")
    assert [tensorflow.size(n, 8)[0] for n in (1, 2, 8, 500, 375)] == [1, 2, 8, 438, 329]
    assert CropFraction(fraction=0.875).window(500, 375) == Window(31, 23, 468, 351)
    down = [CenterCrop(side=224).window(n, 224).top for n in (224, 225, 226, 227, 229, 231)]
    even = [CenterCrop(side=224, offset="half_even").window(n, 224).top for n in (224, 225, 226, 227, 229, 231)]
    assert down == [0, 0, 1, 1, 2, 3]
    assert even == [0, 0, 1, 2, 2, 4]
    assert ResizeShorter(side=256, resampling="pillow").size(375, 500) == (256, 341)
    assert ResizeShorter(side=256, resampling="pillow").size(500, 375) == (341, 256)


def test_a_crop_larger_than_the_image_is_an_error() -> None:
    with pytest.raises(ImageError, match="224 x 224"):
        CenterCrop(side=224)(torch.zeros(200, 300, 3))


def test_a_panorama_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ImageError, match="squash256"):
        preprocess(torch.zeros(1, 9000, 3, dtype=torch.uint8), "torchvision")


@pytest.mark.parametrize("name", NAMES)
def test_kept_window_is_what_the_result_shows(name: str) -> None:
    protocol = PROTOCOLS[name]
    height, width = 400, 600
    window = protocol.kept(height, width)
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    top, left, bottom, right = (round(edge) for edge in window)
    image[top:bottom, left:right] = 255
    assert protocol(image).mean() > 0.995
    assert protocol(255 - image).mean() < 0.005
    outside = torch.full_like(image, 0)
    outside[top + 5 : bottom - 5, left + 5 : right - 5] = 255
    assert protocol(outside)[0].max() < 0.1
    assert protocol(outside)[:, -1].max() < 0.1


# Form


@given(st.integers(1, 320), st.integers(1, 320), st.sampled_from(NAMES))
@example(1, 1, "central875")
@example(1, 300, "torchvision")
@settings(max_examples=25)
def test_every_size_gives_the_stated_form(height: int, width: int, name: str) -> None:
    image = torch.from_numpy(pattern(height, width))
    before = image.clone()
    values = PROTOCOLS[name](image)
    assert values.shape == ((299, 299, 3) if name == "inception" else (224, 224, 3))
    assert values.shape[:2] == PROTOCOLS[name].size(height, width)
    assert values.dtype == torch.float32
    assert values.is_contiguous()
    assert 0 <= values.min() <= values.max() <= 1 or PROTOCOLS[name].overshoot == "keep"
    assert torch.equal(image, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [(37, 91), (1200, 901)])
def test_one_colour_stays_that_colour(name: str, level: int, size: tuple[int, int]) -> None:
    values = preprocess(np.full((*size, 3), level, np.uint8), name)
    assert (values * 255 - level).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_source_gives_the_same(name: str, tmp_path: Path) -> None:
    image = pattern(60, 80)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    sources = [
        tmp_path / "a.jpg",
        str(tmp_path / "a.jpg"),
        buffer.getvalue(),
        Image.fromarray(image),
        image,
        image.transpose(2, 0, 1),
        torch.from_numpy(image),
        torch.from_numpy(image).permute(2, 0, 1),
    ]
    first, *others = [preprocess(source, name) for source in sources]
    assert all(torch.equal(first, other) for other in others)
    assert torch.equal(first, preprocess(image, PROTOCOLS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_finer_types_are_not_rounded_on_the_way(name: str) -> None:
    image = photograph_like(90, 70)
    exact = preprocess(image.astype(np.float64) / 255, name)
    assert (exact - preprocess(image, name)).abs().max() < 1.6 / 255
    assert (preprocess(image.astype(np.uint16) * 257, name) - exact).abs().max() < 1e-6
    faint = preprocess(np.full((9, 9, 3), 7, np.uint16), name)
    assert (faint - 7 / 65535).abs().max() < 1e-9


def test_levels_passed_as_floats_are_an_error() -> None:
    with pytest.raises(ImageError, match="Divide by 255"):
        preprocess(pattern(9, 9).astype(np.float32))


def test_identity_sizes_do_not_hand_out_the_source() -> None:
    image = torch.rand(224, 224, 3)
    kept = image.clone()
    only_crop = Protocol(name="crop", summary="", steps=(CenterCrop(side=224),))
    only_crop(image).zero_()
    assert torch.equal(image, kept)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8, dtype=torch.uint8),
        torch.zeros(0, 8, 3, dtype=torch.uint8),
        torch.zeros(8, 8, 3, dtype=torch.int64),
        torch.full((8, 8, 3), 2.0),
        torch.full((8, 8, 3), torch.nan),
    ],
)
def test_a_protocol_takes_nothing_else(image: torch.Tensor) -> None:
    with pytest.raises(ImageError):
        PROTOCOLS["squash256"](image)


# Names, words, fingerprints


def test_the_table() -> None:
    assert {"squash256", "central875", "squash256-tf", "central875-tf"} <= set(NAMES)
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())
    copy = protocols()
    copy.clear()
    assert protocols() == PROTOCOLS
    assert get_protocol("squash256") is PROTOCOLS["squash256"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotRegistered) as caught:
        preprocess(pattern(4, 4), "squash-256")
    assert "Did you mean 'squash256'?" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


def test_fingerprints_never_change() -> None:
    assert {name: protocol.fingerprint() for name, protocol in PROTOCOLS.items()} == {
        "squash256": "b6a6092cefa60980",
        "central875": "7fc7d86291505317",
        "squash256-tf": "61d8b75a9ea7fde8",
        "central875-tf": "c070fcef80a9afef",
        "torchvision": "207a11d619aba33b",
        "timm": "b0702d8c118d5ef8",
        "inception": "b7016fad7f075054",
        "efficientnet-tf": "72e728c71035d0d0",
        "ffcv": "09ecda39922818dc",
        "keras": "b0188223bcc736bb",
    }


def test_the_fingerprint_follows_the_rules_and_not_the_name() -> None:
    steps = PROTOCOLS["squash256"].steps
    same = Protocol(name="mine", summary="the same rules", steps=steps)
    assert same.fingerprint() == PROTOCOLS["squash256"].fingerprint()
    turned = Protocol(name="squash256", summary="", steps=steps, orientation="apply")
    other = Protocol(
        name="squash256", summary="", steps=(Resize(height=256, width=256, resampling="tensorflow"), steps[1])
    )
    assert len({same.fingerprint(), turned.fingerprint(), other.fingerprint()}) == 3
    json.dumps(same.rules())


@pytest.mark.parametrize("name", NAMES)
def test_descriptions_state_the_rules(name: str) -> None:
    text = PROTOCOLS[name].describe()
    assert text.startswith(f"{name}: ")
    assert "ignoring the EXIF orientation" in text
    assert f"{PROTOCOLS[name].size(300, 400)[0]} x " in text
    assert ("not antialiased" in text) == (name.endswith("-tf") or name == "inception")
    assert text.count("\n") == len(PROTOCOLS[name].steps) + 2 + (PROTOCOLS[name].normalisation is not None)


def test_a_protocol_decides_about_the_orientation() -> None:
    exif = Image.Exif()
    exif[274] = 3
    buffer = io.BytesIO()
    Image.fromarray(pattern(60, 80)).save(buffer, "PNG", exif=exif)
    upright = Protocol(name="upright", summary="", steps=PROTOCOLS["squash256"].steps, orientation="apply")
    assert torch.equal(preprocess(buffer.getvalue()), preprocess(pattern(60, 80)))
    assert torch.equal(preprocess(buffer.getvalue(), upright), preprocess(pattern(60, 80)[::-1, ::-1]))
