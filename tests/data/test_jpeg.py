"""Is a part of a JPEG file what Pillow decodes there, whatever its sampling; and is every fault left to Pillow?"""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint import _native
from mezzotint.data import jpeg
from mezzotint.data.augment import RandomResizedCrop
from mezzotint.data.decode import read_image, read_part
from mezzotint.data.random import Key
from mezzotint.data.transform import build_transform
from mezzotint.errors import ConfigError, ImageError
from mezzotint.kernels import images
from mezzotint.kernels.images import Box, Resizing, Size

pytestmark = pytest.mark.skipif(jpeg.turbo_problem() is not None, reason=str(jpeg.turbo_problem()))

KINDS: list[dict[str, Any]] = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "restart_marker_blocks": 3},
    {"subsampling": 1, "optimize": True, "quality": 30},
    {"keep_rgb": True},
    {"mode": "L"},
]


def picture(height: int, width: int) -> Image.Image:
    """Smooth shapes with sharp edges of colour, so that wrong interpolation of the colours shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 120 * np.sin(x / 7) * np.cos(y / 5)
    blue = np.where((x // 9 + y // 7) % 2 == 0, 30, 220)
    return Image.fromarray(np.stack([red, (x + y) % 256, blue], -1).astype(np.uint8))


def encoded(image: Image.Image, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> Tensor:
    with Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


def cut(image: Tensor, box: Box) -> Tensor:
    return image[box.top :, box.left :][: box.height, : box.width]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(st.data(), st.integers(1, 90), st.integers(1, 130))
def test_any_part_is_pillows(kind: dict[str, Any], data: st.DataObject, height: int, width: int) -> None:
    file = encoded(picture(height, width), **kind)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left)))
    part = read_part(file, lambda size: box, name="a file")
    assert part.size == (height, width)
    assert part.box == box
    assert torch.equal(part.levels, cut(by_pillow(file), box))


def test_any_part_of_a_photograph_is_pillows(shared_data: Path) -> None:
    draw = random.Random(0)
    for path in sorted((shared_data / "imagenet_samples").iterdir())[::5]:
        whole = by_pillow(path.read_bytes())
        height, width = whole.shape[:2]
        top, left = draw.randrange(height), draw.randrange(width)
        box = Box(top, left, draw.randint(1, height - top), draw.randint(1, width - left))
        part = read_part(path.read_bytes(), lambda size, box=box: box, name=path.name)  # type: ignore[misc]
        assert torch.equal(part.levels, cut(whole, part.box)), path


def test_the_huffman_codes_are_our_own_business() -> None:
    assert _native.jpeg_own_entropy()
    assert "Huffman codes by mezzotint" in jpeg.decoder()


@given(st.data(), st.sampled_from([kind for kind in KINDS if "progressive" not in kind]))
def test_damage_is_left_to_pillow_or_has_its_levels(data: st.DataObject, kind: dict[str, Any]) -> None:
    file = bytearray(encoded(picture(60, 70), **kind))
    begin = file.index(b"\xff\xda")
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(begin, len(file) - 3))] = data.draw(st.integers(0, 255))
    size = Size(60, 70)
    levels = jpeg.decode(bytes(file), size.whole, size)
    if levels is not None:
        assert torch.equal(levels, by_pillow(bytes(file)))


def without_segments(file: bytes, mark: int) -> bytes:
    """The file without the segments of one kind."""
    kept, at = file[:2], 2
    while file[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        kept += b"" if file[at + 1] == mark else file[at:end]
        at = end
    return kept + file[at:]


def test_no_file_is_decoded_with_the_tables_of_another() -> None:
    file, size = encoded(picture(40, 50), quality=60), Size(40, 50)
    without_quantisers, without_codes = without_segments(file, 0xDB), without_segments(file, 0xC4)
    for _ in range(2):
        assert jpeg.decode(file, size.whole, size) is not None
        assert jpeg.header(without_quantisers) is None
        assert jpeg.decode(without_quantisers, size.whole, size) is None
        codes = jpeg.decode(without_codes, size.whole, size)  # some readers know the usual ones, as for motion JPEG
        assert codes is None or torch.equal(codes, by_pillow(without_codes))
        assert torch.equal(read_image(file), by_pillow(file))


def test_threads_do_not_disturb_each_other() -> None:
    files = [encoded(picture(30 + 7 * n, 150 - 9 * n), **KINDS[n % len(KINDS)]) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(read_image, files * 5))
    for file, levels in zip(files * 5, made, strict=True):
        assert torch.equal(levels, by_pillow(file))


@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_noise_has_all_codes(quality: int, subsampling: int) -> None:
    noise = Image.fromarray(np.random.default_rng(quality).integers(0, 256, (83, 109, 3), dtype=np.uint8))
    for options in ({}, {"optimize": True}, {"restart_marker_rows": 1}):
        file = encoded(noise, quality=quality, subsampling=subsampling, **options)
        assert torch.equal(jpeg.decode(file, Size(83, 109).whole, Size(83, 109)), by_pillow(file))


def test_without_the_library_the_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    file, box = encoded(picture(70, 90), subsampling=2), Box(11, 13, 30, 40)
    fast = read_part(file, lambda size: box, name="a file")
    monkeypatch.setattr(jpeg, "turbo_problem", lambda: "not here")
    if jpeg.simplejpeg is not None:
        other = read_part(file, lambda size: box, name="a file")
        assert (other.box, other.size) == (fast.box, fast.size)
        assert torch.equal(other.levels, fast.levels)
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    whole = read_part(file, lambda size: box, name="a file")  # Pillow reads no parts
    assert whole.box == Size(70, 90).whole
    assert torch.equal(cut(whole.levels, box), fast.levels)


def test_a_file_that_is_not_jpeg_is_read_whole() -> None:
    buffer = io.BytesIO()
    picture(20, 30).save(buffer, "PNG")
    part = read_part(buffer.getvalue(), lambda size: Box(1, 1, 2, 2), name="a file")
    assert part.box == (0, 0, 20, 30)
    assert torch.equal(part.levels, torch.from_numpy(np.array(picture(20, 30))))


def test_a_file_that_is_cut_off_is_an_error_wherever_the_part_lies() -> None:
    file = encoded(picture(200, 200), subsampling=2)
    for kept in (len(file) - 1, len(file) - 100, len(file) // 2, len(file) // 4):
        assert jpeg.decode(file[:kept], Box(0, 0, 8, 200), Size(200, 200)) is None
    with pytest.raises(ImageError, match=r"halved.jpg: .*cannot be decoded"):
        read_part(file[: len(file) // 2], lambda size: Box(0, 0, 8, 200), name="halved.jpg")


def test_a_fault_before_the_end_of_the_part_is_left_to_pillow() -> None:
    file = bytearray(encoded(picture(200, 200), restart_marker_blocks=1, quality=90))
    at = file.rindex(b"\xff\xd3", 0, len(file) // 2)
    file[at + 1] = 0xD6  # a restart mark out of its order
    size = Size(200, 200)
    assert jpeg.decode(bytes(file), Box(0, 0, 8, 200), size) is not None
    assert jpeg.decode(bytes(file), size.whole, size) is None
    assert torch.equal(read_image(bytes(file)), by_pillow(bytes(file)))  # with whatever Pillow makes of it


def test_padding_behind_the_last_mark_is_no_fault() -> None:
    file = encoded(picture(40, 40))
    assert torch.equal(read_image(file + bytes(20)), by_pillow(file))


def test_other_colours_are_pillows_business() -> None:
    file = encoded(picture(30, 30), mode="CMYK")
    header = jpeg.header(file)
    assert header is not None
    assert header.channels == 0
    assert torch.equal(read_part(file, lambda size: Box(0, 0, 1, 1), name="a file").levels, by_pillow(file))


def test_a_library_that_is_none_is_refused_and_the_one_in_use_stays(tmp_path: Path) -> None:
    assert "none.so" in images.jpeg_use(str(tmp_path / "none.so"))
    assert "lacks a function of libjpeg-turbo" in images.jpeg_use(_native.__file__)
    assert images.jpeg_header(encoded(picture(4, 5))) == (4, 5, 3)


def by_draft(file: bytes, reduction: int) -> Image.Image:
    """Pillow's own way to a reduced image."""
    with Image.open(io.BytesIO(file)) as image:
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        return image.convert("RGB")


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(st.data(), st.sampled_from([2, 4, 8]), st.integers(8, 300), st.integers(8, 300))
def test_reduced_decoding_is_pillows(
    kind: dict[str, Any], data: st.DataObject, reduction: int, height: int, width: int
) -> None:
    file = encoded(picture(height, width), **kind)
    top, left = data.draw(st.integers(0, height - 8)), data.draw(st.integers(0, width - 8))
    box = Box(top, left, data.draw(st.integers(8, height - top)), data.draw(st.integers(8, width - left)))
    to = Size(5, 7)
    (made,) = jpeg.resize([(file, Resizing(box, box, to, to.whole, "bilinear", reduction=reduction))])
    assert made is not None
    first = left // reduction, top // reduction
    end = first[0] + box.width // reduction, first[1] + box.height // reduction
    expected = by_draft(file, reduction).crop((*first, *end)).resize((to.width, to.height), Image.Resampling.BILINEAR)
    assert np.array_equal(made.numpy(), np.asarray(expected))


def test_reduced_decoding_only_where_the_box_is_large_enough() -> None:
    crop = RandomResizedCrop(size=(20, 30), reduced_decoding=True)
    for height, width, reduction in ((39, 60, 1), (40, 59, 1), (40, 60, 2), (159, 240, 4), (400, 600, 8), (9, 9, 1)):
        how = crop.resizing({"top": 3, "left": 5, "height": height, "width": width})
        assert how is not None
        assert how.reduction == reduction
    how = RandomResizedCrop(size=20).resizing({"top": 0, "left": 0, "height": 400, "width": 400})
    assert how is not None
    assert how.reduction == 1
    with pytest.raises(ConfigError, match="true or false"):
        RandomResizedCrop(reduced_decoding=2)  # type: ignore[arg-type]


def test_a_reduced_crop_looks_like_the_exact_one() -> None:
    file = encoded(picture(1200, 1600), quality=95)
    exact, reduced = (
        build_transform([{"name": "random_resized_crop", "size": 64, "scale": (0.9, 1.0), "reduced_decoding": on}])
        for on in (False, True)
    )
    for key in map(Key, range(5)):
        one, other = (chain.finish(read_part(file, partial(chain.first, key=key)), key) for chain in (exact, reduced))
        assert one.shape == other.shape
        assert not torch.equal(one, other)
        assert (one.float() - other.float()).abs().mean() < 8
