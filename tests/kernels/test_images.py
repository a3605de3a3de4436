"""Are images resized to Pillow's bits, in every instruction set and in any part; and normalised to torchvision's?"""

from __future__ import annotations

import io

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.errors import InputError
from mezzotint.kernels import images, native
from mezzotint.kernels.images import FILTERS, Box, Size

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

ISAS = native.isas() if native.unavailable() is None else ()
SIDE = st.integers(1, 70)


def levels(seed: int, height: int, width: int, channels: int) -> Tensor:
    """Noise of black, white and everything between: sums overflow where they can."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (height, width, channels))
    extremes = rng.integers(0, 2, (height, width, channels)) * 255
    return torch.from_numpy(np.where(rng.random((height, width, 1)) < 0.5, values, extremes).astype(np.uint8))


def by_pillow(image: Tensor, to: Size, name: str) -> Tensor:
    height, width, channels = image.shape
    picture = Image.fromarray(image.numpy() if channels == 3 else image.numpy()[:, :, 0])
    filter_ = getattr(Image.Resampling, name.upper())
    old = int(PIL.__version__.split(".")[0]) < 13  # then the width was always resized first
    if old and height > to.height and height - to.height > 2 * (width - to.width):
        picture = picture.resize((width, to.height), filter_)
    resized = picture.resize((to.width, to.height), filter_)
    return torch.from_numpy(np.array(resized).reshape(*to, channels))


def resized(image: Tensor, to: Size, window: Box, name: str) -> Tensor:
    size = Size(image.shape[0], image.shape[1])
    held = images.resize_reach(size, to, window, resampling_filter=name)
    part = image[held.top :, held.left :][: held.height, : held.width]
    return images.resize(part, to, window, resampling_filter=name, held=held, size=size)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Size, Box]:
    to = Size(draw(SIDE), draw(SIDE))
    top, left = draw(st.integers(0, to.height - 1)), draw(st.integers(0, to.width - 1))
    height, width = draw(st.integers(1, to.height - top)), draw(st.integers(1, to.width - left))
    return to, Box(top, left, height, width)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", FILTERS)
@given(st.integers(0, 99), SIDE, SIDE, st.sampled_from([1, 3]), windows())
def test_any_part_of_a_resized_image_is_pillows(
    isa: str, name: str, seed: int, height: int, width: int, channels: int, wanted: tuple[Size, Box]
) -> None:
    image = levels(seed, height, width, channels)
    to, window = wanted
    with native.using_isa(isa):
        part = resized(image, to, window, name)
    expected = by_pillow(image, to, name)[window.top :, window.left :][: window.height, : window.width]
    assert torch.equal(part, expected)


@pytest.mark.parametrize("isa", ISAS)
def test_a_photograph_large_enough_for_threads(isa: str) -> None:
    image = levels(1, 500, 375, 3)
    for to in (Size(341, 256), Size(256, 256), Size(700, 256), Size(500, 200), Size(100, 375)):
        with native.using_isa(isa):
            assert torch.equal(resized(image, to, to.whole, "bilinear"), by_pillow(image, to, "bilinear"))


def test_views_are_resized_where_they_lie() -> None:
    image = levels(2, 40, 50, 3)
    part = image[5:35, 10:40]
    size, to = Size(30, 30), Size(20, 20)
    assert not part.is_contiguous()
    got = images.resize(part, to, to.whole, resampling_filter="bicubic", held=size.whole, size=size)
    assert torch.equal(got, by_pillow(part.contiguous(), to, "bicubic"))
    turned = part.transpose(0, 1)
    got = images.resize(turned, to, to.whole, resampling_filter="bicubic", held=size.whole, size=size)
    assert torch.equal(got, by_pillow(turned.contiguous(), to, "bicubic"))


def test_too_small_a_part_is_refused() -> None:
    size, to = Size(40, 40), Size(20, 20)
    image = levels(3, 40, 40, 3)
    held = Box(0, 0, 30, 40)
    with pytest.raises(InputError, match="does not hold"):
        images.resize(image[:30], to, to.whole, resampling_filter="bilinear", held=held, size=size)
    with pytest.raises(InputError, match="end of the window: received 21; allowed: at most 20"):
        images.resize_reach(size, to, Box(0, 0, 21, 20), resampling_filter="bilinear")
    with pytest.raises(InputError, match="side of the image: received 0"):
        images.resize_reach(Size(0, 4), to, to.whole, resampling_filter="bilinear")
    four = torch.zeros(40, 40, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"\[H, W, 1\] or \[H, W, 3\]"):
        images.resize(four, to, to.whole, resampling_filter="bilinear", held=size.whole, size=size)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 3), (5, 63, 3), (7, 64, 1), (224, 224, 3)])
def test_normalising_has_torchvisions_bits(isa: str, height: int, width: int, channels: int) -> None:
    image = levels(4, height, width, channels)
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:channels], torch.tensor([0.229, 0.224, 0.225])[:channels]
    plain, normalised = torch.full((2, channels, height, width), torch.nan)
    with native.using_isa(isa):
        images.normalise([image.permute(2, 0, 1)], plain[None], None, None)
        images.normalise([image.flip(1).permute(2, 0, 1)], normalised[None], mean, std)
    expected = image.permute(2, 0, 1).float().div(255)
    assert torch.equal(plain, expected)
    expected = image.flip(1).permute(2, 0, 1).float().div(255)
    assert torch.equal(normalised, expected.sub(mean[:, None, None]).div(std[:, None, None]))


@pytest.mark.parametrize("isa", ISAS)
def test_several_images_are_normalised_one_after_the_other(isa: str) -> None:
    several = [levels(seed, 9, 40, 3).permute(2, 0, 1) for seed in range(5)]
    several[3] = several[3].contiguous()
    # A deviation whose products with a reciprocal are not always rounded as its quotients, and a usual one.
    for std in (0.229, 0.3137255, 1e-20, 3e38):
        mean, deviation = torch.tensor([0.1, 0.0, -3.0]), torch.tensor([std, 0.5, std])
        planes = torch.empty(5, 3, 9, 40)
        with native.using_isa(isa):
            images.normalise(several, planes, mean, deviation)
        expected = torch.stack(several).float().div(255)
        expected = expected.sub(mean[:, None, None]).div(deviation[:, None, None])
        assert torch.equal(planes, expected)


def test_what_is_no_jpeg_is_no_error() -> None:
    for data in (b"", b"\xff\xd8", b"nothing", bytes(1000)):
        assert images.jpeg_header(data) is None
        assert images.jpeg_decode(data, Box(0, 0, 1, 1), Size(1, 1)) is None


def test_a_box_outside_of_the_file_is_none() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG")
    for box in (Box(0, 0, 11, 20), Box(0, 1, 10, 20), Box(9, 0, 2, 5)):
        assert images.jpeg_decode(buffer.getvalue(), box, Size(10, 20)) is None
