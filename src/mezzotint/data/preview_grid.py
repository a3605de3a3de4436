"""What do augmentations do to one image, and what is in a data set? Grids of small pictures with words beside them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.data.augment.pillow_ops import to_picture
from mezzotint.data.preview_file import check_output, write_sheet
from mezzotint.data.random import Key
from mezzotint.data.source import Source
from mezzotint.data.transform import Compose, Transform, build_transform
from mezzotint.errors import InputError, message

_PAPER, _INK, _GREY = (252, 252, 250), (28, 31, 36), (90, 97, 107)
_GAP, _LINE, _TEXT = 8, 18, 13
_LABEL = 150

Row = tuple[str, Sequence[Tensor]]
"""Words, and images uint8 [H, W, C]."""


def augmented(image: Tensor, transform: Transform, *, seed: int, epochs: Sequence[int], sample: int) -> list[Tensor]:
    """What ``transform`` makes of a sample's image in each epoch: exactly what training with this seed sees.

    Args:
        image: uint8 [H, W, C], as the source gives it.
        transform: such as ``build_transform`` makes; float results in [0, 1] are shown in 256 levels.
        seed: of the run.
        epochs: which.
        sample: the image's index in its source.

    Returns:
        uint8 [H', W', C], one an epoch.
    """
    results = (transform(image, Key(seed, epoch, sample)) for epoch in epochs)
    return [_levels(result).permute(1, 2, 0).contiguous() for result in results]


def augmentation_grid(
    image: Tensor,
    rows: Sequence[tuple[str, Transform]],
    *,
    seed: int = 0,
    epoch: int = 0,
    sample: int = 0,
    count: int = 6,
) -> Image.Image:
    """One row a transform: the image, then what becomes of it in ``count`` epochs from ``epoch`` on."""
    epochs = range(epoch, epoch + count)
    made = [(name, [image, *augmented(image, one, seed=seed, epochs=epochs, sample=sample)]) for name, one in rows]
    heads = ["original", *(f"epoch {number}" for number in epochs)]
    return draw_rows(made, heads, title=f"sample {sample}, seed {seed}")


def draw_augmentations(
    image: Tensor,
    output: str | PathLike[str],
    *,
    names: Sequence[str] = (),
    transform: Compose | None = None,
    seed: int = 0,
    epoch: int = 0,
    sample: int = 0,
    count: int = 6,
) -> Path:
    """Write ``augmentation_grid`` of a chain, or of single augmentations with their default settings, as a PNG.

    Args:
        image: uint8 [H, W, C].
        output: the PNG; an existing file is replaced only if it is an earlier preview.
        names: of augmentations; all of them when neither names nor a chain is given.
        transform: a chain, shown in the first row.
        seed, epoch, sample: what the parameters are drawn from.
        count: how many epochs are shown, 1 to 20.

    Raises:
        NotRegistered: no augmentation has that name.
        InputError: the output cannot be written, or the count is out of range.
    """
    target = Path(output)
    check_output(target)
    if not 1 <= count <= 20:
        raise InputError(message("count of epochs", received=count, allowed="1 to 20"))
    chosen = list(names) or ([] if transform else list(AUGMENTATIONS))
    rows: list[tuple[str, Transform]] = [("all steps", transform)] if transform else []
    rows += [(name, build_transform([{"name": name}])) for name in chosen]
    write_sheet(augmentation_grid(image, rows, seed=seed, epoch=epoch, sample=sample, count=count), target)
    return target


def contact_sheet(source: Source, *, count: int = 24, seed: int = 0, columns: int = 6) -> Image.Image:
    """``count`` images of a data set, drawn at random, each with its class and its number."""
    drawn = Key(seed).permutation(len(source))[:count].tolist()
    pictures, words = [], []
    for index in drawn:
        image, label = source.read(index)
        pictures.append(image)
        words.append(f"{source.classes[label]} · {index}")
    return draw_sheet(pictures, words, columns=columns, title=source.describe())


def draw_contact_sheet(source: Source, output: str | PathLike[str], *, count: int = 24, seed: int = 0) -> Path:
    """Write ``contact_sheet`` as a PNG.

    Raises:
        InputError: the output cannot be written, or the count is not 1 to 400.
        ImageError, DataError: an image cannot be read; it is named.
    """
    target = Path(output)
    check_output(target)
    if not 1 <= count <= 400:
        raise InputError(message("count of images", received=count, allowed="1 to 400"))
    write_sheet(contact_sheet(source, count=count, seed=seed), target)
    return target


def draw_rows(rows: Sequence[Row], heads: Sequence[str], *, title: str = "", cell: int = 112) -> Image.Image:
    """A table of pictures at most ``cell`` pixels wide and high: ``heads`` above, each row's words at its left."""
    shown = [[thumbnail(image, cell) for image in images] for _, images in rows]
    heights = [max(picture.height for picture in pictures) for pictures in shown]
    top = _GAP + (_LINE if title else 0) + (_LINE if heads else 0)
    width = _GAP + _LABEL + max(map(len, shown)) * (cell + _GAP)
    sheet = Image.new("RGB", (width, top + sum(heights) + len(rows) * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, _GAP, _GAP, title, _INK, width - 2 * _GAP)
    for place, head in enumerate(heads):
        _write(draw, _GAP + _LABEL + place * (cell + _GAP), top - _LINE, head, _GREY, cell)
    y = top
    for (words, _), pictures, height in zip(rows, shown, heights, strict=True):
        _write(draw, _GAP, y + (height - _LINE) // 2, words, _INK, _LABEL - _GAP)
        for place, picture in enumerate(pictures):
            left = _GAP + _LABEL + place * (cell + _GAP)
            sheet.paste(picture, (left + (cell - picture.width) // 2, y + (height - picture.height) // 2))
        y += height + _GAP
    return sheet


def draw_sheet(
    images: Sequence[Tensor], words: Sequence[str], *, columns: int, title: str = "", cell: int = 112
) -> Image.Image:
    """Pictures in rows of ``columns``, the words below each."""
    columns = max(1, min(columns, len(images)))
    lines = -(-len(images) // columns)
    top = _GAP + (_LINE if title else 0)
    width = _GAP + columns * (cell + _GAP)
    sheet = Image.new("RGB", (width, top + lines * (cell + _LINE + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _write(draw, _GAP, _GAP // 2, title, _INK, width - 2 * _GAP)
    for place, (image, text) in enumerate(zip(images, words, strict=True)):
        x, y = _GAP + place % columns * (cell + _GAP), top + place // columns * (cell + _LINE + _GAP)
        picture = thumbnail(image, cell)
        sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
        _write(draw, x, y + cell, text, _GREY, cell)
    return sheet


def _levels(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else (image * 255).round().clamp(0, 255).to(torch.uint8)


def thumbnail(image: Tensor, cell: int) -> Image.Image:
    """The image inside of a square of ``cell`` pixels: reduced smoothly, or enlarged by a whole number."""
    height, width = int(image.shape[0]), int(image.shape[1])
    picture = to_picture(image).convert("RGB")
    if max(height, width) <= cell:
        times = cell // max(height, width)
        return picture.resize((width * times, height * times), Image.Resampling.NEAREST)
    factor = cell / max(height, width)
    return picture.resize((max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw, left: float, top: float, text: str, colour: tuple[int, int, int], room: int
) -> None:
    """One line; its end is left out where it is too long."""
    font = ImageFont.load_default(_TEXT)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    shown = text
    while draw.textlength(shown, font) > room and len(text) > 1:
        text = text[:-1]
        shown = f"{text}…"
    draw.text((left, top), shown, font=font, fill=colour)
