"""How does the native library work on images? Resize 8-bit levels, normalise them, decode a part of a JPEG file.

Shapes are trusted to fit each other (``mezzotint.data`` sees to it). Results do not depend on the number of threads,
which is :func:`torch.get_num_threads`. The GIL is released; several Python threads may call at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mezzotint.kernels import native

FILTERS = ("box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's resampling filters, in the order of csrc/plan/taps.hpp."""


class Box(NamedTuple):
    """A rectangle of pixels in an image: its first row and column, and its size."""

    top: int
    left: int
    height: int
    width: int


class Size(NamedTuple):
    """Of an image, in pixels."""

    height: int
    width: int

    @property
    def whole(self) -> Box:
        """All of an image of that size."""
        return Box(0, 0, self.height, self.width)


class Resizing(NamedTuple):
    """What is seen of an image after a resize.

    Attributes:
        box: the part of the image that is needed for it, and decoded.
        source: the rectangle of the image that is resized; what lies beside it has no influence.
        to: the size that it gets.
        window: the part of that which is wanted.
        resampling_filter: one of ``FILTERS``.
        mirrored: whether left and right of the window are exchanged.
        reduction: 1, or 2, 4 or 8: a JPEG file may be decoded that many times smaller first, which is faster, but gives
            other levels; box and source are then rounded to pixels of the smaller image.
    """

    box: Box
    source: Box
    to: Size
    window: Box
    resampling_filter: str
    mirrored: bool = False
    reduction: int = 1


class JpegHeader(NamedTuple):
    """What the header of a JPEG file says; ``channels`` is 0 for colours that are not turned into RGB here."""

    height: int
    width: int
    channels: int


def resize_reach(size: Size, to: Size, window: Box, *, resampling_filter: str) -> Box:
    """The part of an image of ``size`` on which the part ``window`` of its resized self, of size ``to``, depends.

    Raises:
        InputError: a side is not in 1 to 2^24, or the window does not lie in ``to``.
    """
    native.require()
    return Box(*native.extension().resize_reach(FILTERS.index(resampling_filter), size, to, window))


def resize(part: Tensor, to: Size, window: Box, *, resampling_filter: str, held: Box, size: Size) -> Tensor:
    """The part ``window`` of an image resized to ``to``, bit for bit as Pillow's ``Image.resize`` computes it.

    Args:
        part: uint8 [held.height, held.width, C], C 1 or 3: the part ``held`` of the image, which holds at least what
            `resize_reach` says. It is copied unless the pixels of a row are contiguous.
        to: the size of the whole result.
        window: the part of the result that is wanted.
        resampling_filter: one of ``FILTERS``.
        held: where ``part`` lies in the image.
        size: the size of the whole image.

    Returns:
        uint8 [window.height, window.width, C], contiguous.

    Raises:
        InputError: a size is out of range, or ``part`` does not hold enough.
    """
    native.require()
    part = with_packed_rows(part)
    result = torch.empty(window.height, window.width, part.shape[2], dtype=torch.uint8)
    native.extension().resize_levels(
        FILTERS.index(resampling_filter),
        size,
        to,
        window,
        held,
        levels_argument(part),
        levels_argument(result),
        native.threads(),
    )
    return result


def normalise(images: Sequence[Tensor], planes: Tensor, mean: Tensor | None, std: Tensor | None) -> None:
    """``planes = (image / 255 - mean) / std``, in torchvision's operations and order, so in its bits.

    Args:
        images: N times uint8 [C, H, W], of one size; copied unless they are views of [H, W, C] whose rows are packed.
        planes: float32 [N, C, H, W], contiguous; written.
        mean, std: float32 [C], contiguous; both None: only divided by 255.
    """
    native.require()
    packed = [image if _is_interleaved(image) else _interleaved(image) for image in images]
    shown = [None if values is None else native.argument(values) for values in (mean, std)]
    # Every operation of PyTorch gives the interpreter lock away, and threads would wait for each other: hence none.
    levels = [(image.data_ptr(), image.stride(1), *image.shape[1:], image.shape[0]) for image in packed]
    native.extension().normalise_levels(levels, planes.data_ptr(), *shown, native.threads())


def _is_interleaved(image: Tensor) -> bool:
    return image.stride(0) == 1 and image.stride(2) == image.shape[0]


def _interleaved(image: Tensor) -> Tensor:
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def jpeg_use(path: str) -> str:
    """Decode with the libjpeg-turbo at ``path`` from now on; the answer is empty, or says why it cannot be used."""
    native.require()
    return str(native.extension().jpeg_use(path))


def jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of a JPEG file, or None where the slightest fault is found in it."""
    found = native.extension().jpeg_header(data)
    return None if found is None else JpegHeader(*found)


def jpeg_decode(data: bytes, box: Box, size: Size) -> Tensor | None:
    """A part of a JPEG file as RGB levels, uint8 [box.height, box.width, 3], or None.

    None where the file has a fault up to the last row of the box, is cut off behind it, is not RGB, YCbCr or grey, or
    the box does not lie in it. The rows behind the box are not looked at. The pixels of a row are contiguous; the rows
    are only where the box has the width of the image (``size``).
    """
    library = native.extension()
    spare = 0 if box.width == size.width else 2 * library.jpeg_margin
    levels = torch.empty(box.height, box.width + spare, 3, dtype=torch.uint8)
    column = library.jpeg_decode(data, box, levels_argument(levels))
    return None if column is None else levels[:, column : column + box.width]


def jpeg_resize(files: Sequence[tuple[bytes, Resizing]]) -> list[Tensor | None]:
    """`jpeg_decode` and `resize` at once, of several files: uint8 [window.height, window.width, 3], or None as there.

    The results are contiguous. The GIL is released once for all files.

    Raises:
        InputError: a size is out of range, or a box does not hold enough.
    """
    results = [empty_levels((how.window.height, how.window.width, 3)) for _, how in files]
    requests = [
        (
            data,
            how.box,
            FILTERS.index(how.resampling_filter),
            how.source,
            how.to,
            how.window,
            how.mirrored,
            how.reduction,
            levels_argument(result),
        )
        for (data, how), result in zip(files, results, strict=True)
    ]
    good = native.extension().jpeg_resize(requests, native.threads())
    return [result if is_good else None for result, is_good in zip(results, good, strict=True)]


def empty_levels(shape: Sequence[int]) -> Tensor:
    """Not initialised uint8, by NumPy: PyTorch's own would give the interpreter lock away for a moment."""
    return torch.from_numpy(np.empty(tuple(shape), dtype=np.uint8))


def with_packed_rows(image: Tensor) -> Tensor:
    """[H, W, C], copied unless the pixels of a row are contiguous."""
    return image if image.stride(2) == 1 and image.stride(1) == image.shape[2] else image.contiguous()


def levels_argument(image: Tensor) -> tuple[int, int, int, int, int]:
    """What the extension takes for levels whose rows are packed."""
    height, width, channels = image.shape
    return image.data_ptr(), image.stride(0), height, width, channels
