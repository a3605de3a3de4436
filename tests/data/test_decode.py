"""Does reading an image give the stated values for every kind of file, and a clear error for everything else?"""

from __future__ import annotations

import gc
import io
import os
import random
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mezzotint.data import decode, jpeg
from mezzotint.data.arrays import scale_16_bit
from mezzotint.data.decode import MAX_PIXELS, read_image
from mezzotint.data.magic import image_format
from mezzotint.errors import ImageError

Array = np.ndarray[Any, Any]


def smooth(height: int = 40, width: int = 56) -> Array:
    """A photograph-like image with all levels: waves of three lengths."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([128 + 127 * np.sin(x / (9 - 2 * c) + y / (6 + c)) for c in range(3)], -1).astype(np.uint8)


def noise(height: int, width: int, *channels: int, high: int = 256, dtype: Any = np.uint8) -> Array:
    return np.random.default_rng(height * width).integers(0, high, (height, width, *channels)).astype(dtype)


def encoded(image: Array | Image.Image, kind: str, **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(values: Array, colour_type: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    values: Array, order: str, *, deflate: bool = False, photometric: int = 2, planes: int = 1, **tags: int
) -> bytes:
    """A TIFF [H, W, C] of 16 bits a channel, little ("<") or big (">") endian."""
    height, width, channels = values.shape
    stored = values.astype(order + "u2")
    strips = [stored.tobytes()] if planes == 1 else [stored[..., c].tobytes() for c in range(channels)]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + b"\0\0\0\0")

    def put(data: bytes) -> int:
        out.extend(data)
        return len(out) - len(data)

    def numbers(code: str, *items: int) -> tuple[int, int, bytes]:
        data = struct.pack(f"{order}{len(items)}{code}", *items)
        inline = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", put(data))
        return {"H": 3, "I": 4}[code], len(items), inline

    offsets = [put(strip) for strip in strips]
    entries = {
        256: numbers("I", width),
        257: numbers("I", height),
        258: numbers("H", *[16] * channels),
        259: numbers("H", 8 if deflate else 1),
        262: numbers("H", photometric),
        273: numbers("I", *offsets),
        277: numbers("H", channels),
        278: numbers("I", height),
        279: numbers("I", *[len(strip) for strip in strips]),
        284: numbers("H", planes),
    }
    entries |= {int(tag.removeprefix("tag")): numbers("H", value) for tag, value in tags.items()}
    out[4:8] = struct.pack(order + "I", len(out))
    out += struct.pack(order + "H", len(entries))
    for tag in sorted(entries):
        kind, count, inline = entries[tag]
        out += struct.pack(order + "HHI", tag, kind, count) + inline
    return bytes(out + b"\0\0\0\0")


def nearest_level(values: Array) -> Array:
    return np.rint(values.astype(np.float64) * 255 / 65535).astype(np.uint8)


def message_of(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture(params=["libjpeg", "simplejpeg", "pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every link of the chain, as if those before it were not there."""
    if request.param != "libjpeg":
        monkeypatch.setattr(jpeg, "turbo_problem", lambda: "not here")
    if request.param != "simplejpeg":
        monkeypatch.setattr(jpeg, "simplejpeg", None)
    elif request.param == "simplejpeg" and jpeg.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
    return str(request.param)


# What comes out


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_every_value(kind: str) -> None:
    image = smooth() if kind != "GIF" else np.repeat(smooth()[:, :, :1], 3, axis=2)
    read = read_image(encoded(Image.fromarray(image[:, :, 0]) if kind == "GIF" else image, kind))
    assert read.dtype == torch.uint8
    assert read.is_contiguous()
    assert np.array_equal(read.numpy(), image)


def test_lossless_webp_keeps_every_value() -> None:
    assert np.array_equal(read_image(encoded(smooth(), "WEBP", lossless=True)).numpy(), smooth())


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"restart_marker_blocks": 2}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_jpeg_is_what_pillow_gives(decoder: str, mode: str, options: dict[str, Any]) -> None:
    data = encoded(Image.fromarray(smooth()).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.array(image.convert("RGB"))
    assert np.array_equal(read_image(data).numpy(), expected)


def test_all_decoders_agree_on_photographs(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((shared_data / "imagenet_samples").iterdir())[::12]
    assert files
    first = [read_image(path) for path in files]
    monkeypatch.setattr(jpeg, "turbo_problem", lambda: "not here")
    second = [read_image(path) for path in files]  # by simplejpeg, where it is installed
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    for path, one, two in zip(files, first, second, strict=True):
        assert torch.equal(one, two), path
        assert torch.equal(one, read_image(path)), path


def test_grey_has_three_equal_channels() -> None:
    grey = noise(9, 11)
    assert np.array_equal(read_image(encoded(grey, "PNG")).numpy(), np.stack([grey] * 3, -1))


def test_one_bit_is_black_and_white() -> None:
    bits = noise(9, 11, high=2)
    image = Image.fromarray(bits * np.uint8(255)).convert("1")
    for data in (encoded(image, "PNG"), encoded(image, "TIFF", compression="group4")):
        assert np.array_equal(read_image(data).numpy(), np.stack([bits * 255] * 3, -1))


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255, 7])])
def test_palette_gives_its_colours_whatever_is_transparent(transparency: int | bytes | None) -> None:
    colours = noise(4, 3)
    indices = noise(8, 9, high=4)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    assert np.array_equal(read_image(encoded(image, "PNG", **options)).numpy(), colours[indices])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_dropped_and_nothing_composited(kind: str) -> None:
    pixels = noise(7, 8, 4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert np.array_equal(read_image(encoded(pixels, kind, **options)).numpy(), pixels[:, :, :3])


def test_grey_with_alpha() -> None:
    pixels = noise(7, 8, 2)
    read = read_image(encoded(Image.fromarray(pixels, "LA"), "PNG"))
    assert np.array_equal(read.numpy(), np.repeat(pixels[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    first, second = Image.fromarray(noise(8, 9)), Image.fromarray(255 - noise(8, 9))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert np.array_equal(read_image(data).numpy(), np.array(first.convert("RGB")))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_goes_to_the_nearest_level(colour_type: int, channels: int) -> None:
    values = noise(21, 23, channels, high=65536, dtype=np.uint16)
    values[0, :3, 0] = (0, 65535, 65407)
    expected = nearest_level(values[:, :, :3] if channels > 2 else np.repeat(values[:, :, :1], 3, axis=2))
    assert np.array_equal(read_image(png16(values, colour_type)).numpy(), expected)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_goes_to_the_nearest_level(order: str, channels: int, deflate: bool) -> None:
    values = noise(12, 13, channels, high=65536, dtype=np.uint16)
    tags = {"tag338": 2} if channels == 4 else {}
    data = tiff(values, order, deflate=deflate, photometric=1 if channels == 1 else 2, **tags)
    expected = nearest_level(values[:, :, :3] if channels > 1 else np.repeat(values, 3, axis=2))
    assert np.array_equal(read_image(data).numpy(), expected)


def test_16_bit_grey_tiff_that_counts_from_white() -> None:
    values = noise(12, 13, 1, high=65536, dtype=np.uint16)
    read = read_image(tiff(values, "<", photometric=0))
    assert np.array_equal(read.numpy(), 255 - nearest_level(np.repeat(values, 3, axis=2)))


def test_compressed_16_bit_grey_tiff() -> None:
    values = noise(12, 13, high=65536, dtype=np.uint16)
    data = encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw")
    assert np.array_equal(read_image(data).numpy(), nearest_level(np.stack([values] * 3, -1)))


def test_16_bit_planes_that_pillow_would_garble_are_refused() -> None:
    values = noise(12, 13, 3, high=65536, dtype=np.uint16)
    assert "separate, uncompressed planes" in message_of(tiff(values, "<", planes=2))
    read = read_image(tiff(values, "<", planes=2, deflate=True)).numpy().astype(int)
    assert np.abs(read - nearest_level(values)).max() <= 1  # of compressed planes Pillow reads the high bytes only


def test_scaling_is_the_nearest_level_for_every_value() -> None:
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(scale_16_bit(every), nearest_level(every))
    assert np.array_equal(scale_16_bit(np.array([0, 8, 9, 4095]), 4095), [0, 0, 1, 255])


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_without_a_white_level_are_refused(mode: str) -> None:
    text = message_of(encoded(Image.new(mode, (5, 4)), "TIFF"))
    assert repr(mode) in text
    assert "float array" in text


def test_the_extension_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "n02105855_2933.JPEG"
    path.write_bytes(encoded(smooth(), "PNG"))
    assert np.array_equal(read_image(path).numpy(), smooth())
    assert np.array_equal(read_image(str(path)).numpy(), smooth())


def test_all_kinds_of_buffers() -> None:
    data = encoded(smooth(), "PNG")
    for source in (data, bytearray(data), memoryview(data)):
        assert np.array_equal(read_image(source).numpy(), smooth())


def test_what_only_pillow_tolerates_is_left_to_pillow() -> None:
    data = encoded(smooth(), "JPEG")
    end = 4 + int.from_bytes(data[4:6], "big")
    odd = data[:end] + b"junk" + data[end:]
    assert jpeg.header(odd) is None
    assert torch.equal(read_image(odd), read_image(data))


# Orientation


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_orientation(kind: str, tag: int, decoder: str) -> None:
    exif = Image.Exif()
    exif[274] = tag
    data = encoded(smooth(), kind, exif=exif)
    stored = read_image(encoded(smooth(), kind)).numpy()
    reference = Image.fromarray(stored)
    reference.getexif()[274] = tag
    assert np.array_equal(read_image(data).numpy(), stored)
    expected = np.array(ImageOps.exif_transpose(reference))
    assert np.array_equal(read_image(data, orientation="apply").numpy(), expected)


def test_orientation_of_a_pillow_image() -> None:
    image = Image.fromarray(smooth())
    image.getexif()[274] = 6
    assert read_image(image).shape == (40, 56, 3)
    assert np.array_equal(read_image(image, orientation="apply").numpy(), np.rot90(smooth(), -1))


def test_an_orientation_out_of_range_is_upright() -> None:
    exif = Image.Exif()
    exif[274] = 9
    data = encoded(smooth(), "PNG", exif=exif)
    assert np.array_equal(read_image(data, orientation="apply").numpy(), smooth())


def test_unknown_orientation_option() -> None:
    assert "orientation" in message_of(encoded(smooth(), "PNG"), orientation="auto")


# Arrays, tensors, Pillow images


def test_arrays_and_tensors_of_both_layouts() -> None:
    image = smooth()
    for source in (image, image.transpose(2, 0, 1), torch.from_numpy(image), torch.from_numpy(image).permute(2, 0, 1)):
        read = read_image(source)
        assert read.is_contiguous()
        assert np.array_equal(read.numpy(), image)


def test_the_result_shares_no_memory_with_the_source() -> None:
    image = smooth()
    read_image(image).zero_()
    assert image.any()


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (1, 6, 7)])
def test_grey_arrays(shape: tuple[int, ...]) -> None:
    grey = noise(6, 7)
    assert np.array_equal(read_image(grey.reshape(shape)).numpy(), np.stack([grey] * 3, -1))


def test_array_types_decide_the_scale() -> None:
    dark = np.ones((4, 5, 3), np.uint8)
    assert int(read_image(dark).max()) == 1
    assert int(read_image(dark.astype(np.float32)).max()) == 255
    assert int(read_image(dark.astype(bool)).max()) == 255
    assert int(read_image(dark.astype(np.uint16) * 257).max()) == 1
    assert int(read_image(dark.astype(">u2") * 257).max()) == 1
    assert int(read_image(torch.ones(3, 4, 5, dtype=torch.bfloat16)).max()) == 255
    assert int(read_image(torch.ones(3, 4, 5, requires_grad=True)).max()) == 255


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((4, 5, 3), np.int64), "int64"),
        (np.full((4, 5, 3), 2.0), "from 2 to 2"),
        (np.full((4, 5, 3), -0.1), "from -0.1"),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (np.full((4, 5, 3), np.inf), "inf"),
        (np.zeros((4, 5, 3), complex), "complex"),
        (np.zeros((2, 4, 5, 3), np.uint8), "one at a time"),
        (np.zeros((4,), np.uint8), "shape (4,)"),
        (np.zeros((8, 9, 5), np.uint8), "no axis"),
        (np.zeros((3, 9, 3), np.uint8), "layout"),
        (np.zeros((1, 9, 4), np.uint8), "layout"),
        (np.zeros((0, 5, 3), np.uint8), "at least one pixel"),
    ],
)
def test_arrays_that_are_no_images(array: Array, part: str) -> None:
    assert part in message_of(array)


def test_the_layout_can_be_said() -> None:
    array = noise(3, 9, 3)
    assert np.array_equal(read_image(array, layout="HWC").numpy(), array)
    assert np.array_equal(read_image(array, layout="CHW").numpy(), array.transpose(1, 2, 0))
    assert "layout" in message_of(array, layout="NHWC")
    assert "channels" in message_of(noise(8, 9, 7), layout="HWC")


@given(st.integers(1, 40), st.integers(1, 40))
def test_any_size_survives_png(height: int, width: int) -> None:
    image = noise(height, width, 3)
    assert np.array_equal(read_image(encoded(image, "PNG")).numpy(), image)
    assert np.array_equal(read_image(image, layout="HWC").numpy(), image)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "La", "RGBa", "RGBX"])
def test_pillow_images_of_every_mode(mode: str) -> None:
    image = Image.fromarray(smooth())
    image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    expected = image.convert("LA").convert("RGB") if mode == "La" else image.convert("RGB")
    assert np.array_equal(read_image(image).numpy(), np.array(expected))


def test_a_lazy_pillow_image_stays_open_and_a_closed_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(smooth(), "PNG"))
    with Image.open(path) as image:
        assert np.array_equal(read_image(image).numpy(), smooth())
        assert image.getpixel((0, 0)) == tuple(smooth()[0, 0])
    with Image.open(path) as closed:
        closed.close()
    assert "Pillow image" in message_of(closed)


def test_a_damaged_lazy_pillow_image() -> None:
    with Image.open(io.BytesIO(encoded(smooth(), "BMP")[:-500])) as image:
        assert "cannot be loaded" in message_of(image)


def test_objects_that_are_no_images() -> None:
    assert "type list" in message_of([1, 2, 3])
    assert "type NoneType" in message_of(None)


# What is refused

_ODD = [
    (b"", "empty file"),
    (b"\0" * 5000, "5000 zero bytes"),
    (b"hello, world", "text that begins with 'hello, world'"),
    (b"BMW is a car maker, and this is a text file about it", "text that begins with"),
    ("grüße ".encode() * 100, "text that begins with"),
    (b"\n <!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    (b"\xef\xbb\xbf<html>", "an HTML page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    (b"\0\0\0\x20ftypavif" + bytes(40), "an AVIF image"),
    (b"\0\0\0\x20ftypheic" + bytes(40), "a HEIC image"),
    (b"%PDF-1.7 ...", "a PDF document"),
    (b"PK\x03\x04" + bytes(40), "a ZIP archive"),
    (b"\x1f\x8b\x08" + bytes(range(60)), "gzip"),
    (b"\x93NUMPY\x01\0", "numpy.load"),
    (b"\x89P", "too short"),
    (bytes(range(128, 228)), "unknown kind (first bytes: 80 81"),
]


@pytest.mark.parametrize(("data", "part"), _ODD, ids=[part for _, part in _ODD])
def test_other_files_are_named_for_what_they_are(data: bytes, part: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    text = message_of(path)
    assert text.startswith(str(path))
    assert part in text
    assert image_format(data) is None


_CASES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(smooth(), "JPEG"),
    "progressive": lambda: encoded(smooth(), "JPEG", progressive=True),
    "cmyk": lambda: encoded(Image.fromarray(smooth()).convert("CMYK"), "JPEG"),
    "png": lambda: encoded(smooth(), "PNG"),
    "gif": lambda: encoded(smooth()[:, :, 0], "GIF"),
    "bmp": lambda: encoded(smooth(), "BMP"),
    "webp": lambda: encoded(smooth(), "WEBP"),
    "tiff": lambda: encoded(smooth(), "TIFF"),
    "lzw": lambda: encoded(smooth(), "TIFF", compression="tiff_lzw"),
    "png16": lambda: png16(noise(30, 31, 3, high=65536, dtype=np.uint16), 2),
}


@pytest.mark.parametrize("case", _CASES)
def test_cut_off_files(case: str, decoder: str, tmp_path: Path) -> None:
    data = _CASES[case]()
    path = tmp_path / "cut.img"
    for part in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95):
        path.write_bytes(data[: int(len(data) * part)])
        text = message_of(path)
        assert text.startswith(str(path))
        assert "complete" in text


def test_a_damaged_checksum_is_an_error() -> None:
    data = bytearray(encoded(smooth(), "PNG"))
    data[29] ^= 1
    assert "checksum" in message_of(bytes(data))


def test_mutated_files_are_read_or_refused(decoder: str) -> None:
    rng = random.Random(2026)
    originals = [make() for make in _CASES.values()]
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        data = bytearray(rng.choice([case for case in originals if case[:2] not in (b"II", b"MM")]))
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(min(len(data), rng.choice((64, 10**6))))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        try:
            image = read_image(bytes(data), orientation=rng.choice(("ignore", "apply")), max_pixels=10**6)
        except ImageError as error:
            outcomes["refused" if "\n" not in str(error) else "told badly"] += 1
        else:
            outcomes["read" if image.shape[2] == 3 else "misshapen"] += 1
    assert min(outcomes.values()) > 30


def _declaring(width: int, height: int) -> dict[str, bytes]:
    """Small files that declare a size of their own choice."""
    png = bytearray(encoded(smooth(), "PNG"))
    png[16:24] = struct.pack(">II", width, height)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp = bytearray(encoded(smooth(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    jpeg = bytearray(encoded(smooth(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    gif = bytearray(encoded(smooth()[:, :, 0], "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    flat = tiff(np.zeros((1, 1, 3), np.uint16), "<")
    swollen = flat.replace(struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, width))
    swollen = swollen.replace(struct.pack("<HHII", 257, 4, 1, 1), struct.pack("<HHII", 257, 4, 1, height))
    return {"png": bytes(png), "bmp": bytes(bmp), "jpeg": bytes(jpeg), "gif": bytes(gif), "tiff": swollen}


@pytest.mark.parametrize("case", ["png", "bmp", "jpeg", "gif", "tiff"])
def test_huge_declared_sizes_are_refused_before_the_pixels(case: str, decoder: str) -> None:
    text = message_of(_declaring(30000, 20000)[case])
    assert "30000 x 20000 = 600000000 pixels" in text
    assert str(MAX_PIXELS) in text


def test_a_size_between_pillows_warning_and_error_does_not_warn() -> None:
    assert "max_pixels" in message_of(_declaring(12000, 10000)["png"])


def test_the_size_limit_can_be_set(decoder: str) -> None:
    data = encoded(smooth(), "JPEG")
    assert read_image(data, max_pixels=40 * 56).shape == (40, 56, 3)
    assert "max_pixels" in message_of(data, max_pixels=40 * 56 - 1)
    assert "max_pixels" in message_of(Image.fromarray(smooth()), max_pixels=7)
    assert "max_pixels" in message_of(data, max_pixels=0)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(smooth(), "JPEG"))
    assert "Did you mean 'photo.jpg'?" in message_of(tmp_path / "foto.jpg")
    assert "does not exist" in message_of(tmp_path / "nowhere" / "photo.jpg")
    assert "a folder" in message_of(tmp_path)
    assert "not fetched" in message_of("https://example.com/cat.jpg")
    assert "null byte" in message_of("a\0b.jpg")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in message_of(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "private.jpg"
    path.write_bytes(encoded(smooth(), "JPEG"))

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(decode, "file_content", denied)
    text = message_of(path)
    assert "private.jpg" in text
    assert "permissions" in text


def test_the_caller_may_name_the_source() -> None:
    assert message_of(b"no image", name="val.tar/cat/1.jpg").startswith("val.tar/cat/1.jpg: ")


# Manners


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc, which is Linux's")
def test_no_file_stays_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for case, make in _CASES.items():
        path = tmp_path / case
        path.write_bytes(make())
        read_image(path)
        path.write_bytes(make()[:200])
        with pytest.raises(ImageError):
            read_image(path)
    gc.collect()  # a leaked handle would warn here, and warnings are errors
    assert set(os.listdir("/proc/self/fd")) <= before


def test_threads_do_not_disturb_each_other_or_the_warnings() -> None:
    filters = list(warnings.filters)
    files = [make() for make in _CASES.values()] * 6
    expected = [read_image(data) for data in files]
    start = threading.Barrier(4)

    def work(_: int) -> list[torch.Tensor]:
        start.wait(timeout=60)
        return [read_image(data) for data in files]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(4)):
            assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))
    assert warnings.filters == filters
