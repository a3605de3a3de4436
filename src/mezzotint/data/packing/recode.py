"""Which bytes of an image go into a pack? Its own, or where it is larger than asked for those of a smaller JPEG.

Reduced images are resized by Pillow with its antialiased Lanczos filter, the longer side rounded down as in
torchvision, and stored as baseline JPEG without chroma subsampling (4:4:4), as three of four ImageNet photographs are.
At quality 90 and 256 pixels that takes a quarter more bytes than 4:2:0 and is off by 2.7 instead of 3.2 levels on
average (79 photographs), most of all in the colours of small things. The EXIF orientation is neither applied nor
carried over, which is how mezzotint reads images by default. Images that are not files (IDX, arrays) become PNG.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from PIL import Image, __version__, features
from torch import Tensor

from mezzotint.data.augment.pillow_ops import to_picture
from mezzotint.data.decode import read_image
from mezzotint.data.magic import HEAD_BYTES, image_format
from mezzotint.data.source import EncodedSource, Source
from mezzotint.errors import DataError, MezzotintError, message

_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WebP": "webp", "TIFF": "tiff"}


class Encoded(NamedTuple):
    """An image ready to be packed; ``extension`` is without a dot."""

    name: str
    label: int
    extension: str
    content: bytes


class Failure(NamedTuple):
    """An image that cannot be packed."""

    name: str
    error: MezzotintError


def encoded(source: Source, index: int, *, size: int | None, quality: int) -> Encoded | Failure:
    """Sample ``index`` of a source. It is decoded even where its bytes are copied: what is packed can be read.

    Args:
        source: where the image comes from.
        index: its number there.
        size: images whose shorter side is longer are reduced to it; None copies all.
        quality: JPEG quality of those.
    """
    name = source.name(index)
    try:
        return Encoded(name, *_labelled_content(source, index, size, quality))
    except MezzotintError as error:
        told = str(error) if name in str(error) else f"{name} of {source.describe()}: {error}"
        return Failure(name, type(error)(told))


def _labelled_content(source: Source, index: int, size: int | None, quality: int) -> tuple[int, str, bytes]:
    original: bytes | None = None
    if isinstance(source, EncodedSource):
        original, label = _original(source, index), int(source.labels[index])
        image = read_image(original, name=source.place(index))
    else:
        image, label = source.read(index)
    if size is not None and min(image.shape[:2]) > size:
        return label, "jpg", jpeg(reduced(image, size), quality)
    if original is None:
        return label, "png", _png(to_picture(image))
    return label, _EXTENSIONS[image_format(original[:HEAD_BYTES]) or ""], original


def _original(source: EncodedSource, index: int) -> bytes:
    try:
        return source.encoded(index)
    except OSError as error:
        received = f"the system error {error.strerror!r}"
        raise DataError(message(source.place(index), received=received, allowed="a readable file")) from error


def reduced(image: Tensor, size: int) -> Image.Image:
    """An image [H, W, C] with its shorter side brought to ``size`` pixels."""
    height, width = image.shape[:2]
    short = min(height, width)
    return to_picture(image).resize((size * width // short, size * height // short), Image.Resampling.LANCZOS)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Baseline JPEG, 4:4:4."""
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def _png(picture: Image.Image) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def encoder() -> str:
    """What the bytes depend on beside images and settings; an unfinished pack is not gone on with by another one."""
    return f"Pillow {__version__}, JPEG {features.version('jpg')}, zlib {features.version('zlib')}"
