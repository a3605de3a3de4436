"""What do CIFAR's binary files hold? ``cifar-10-batches-bin`` and ``cifar-100-binary``, as they are downloaded.

The format (https://www.cs.toronto.edu/~kriz/cifar.html): records of one label byte (CIFAR-100: the coarse label, then
the fine one, which is used) and 3,072 bytes of pixels, 32 rows of 32, red before green before blue. No header.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.source import Kind
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError, message

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the data sets.

    Attributes:
        folder: what its folder is called in the download.
        files: part -> files, in their order.
        records: images in each file of a part.
        names: the file of class names, one a line.
        classes: how many classes there are.
        label_bytes: before the pixels; the last one is the label.
    """

    folder: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    names: str
    classes: int
    label_bytes: int


VARIANTS = (
    Variant(
        folder="cifar-10-batches-bin",
        files={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        records={"train": 10_000, "test": 10_000},
        names="batches.meta.txt",
        classes=10,
        label_bytes=1,
    ),
    Variant(
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        records={"train": 50_000, "test": 10_000},
        names="fine_label_names.txt",
        classes=100,
        label_bytes=2,
    ),
)


def find_variant(path: Path) -> tuple[Path, Variant] | None:
    """The folder and kind of the data set at ``path`` or directly below; None where there is none.

    The file of class names tells: it alone has the same name in no other data set.
    """
    for variant in VARIANTS:
        for folder in (path, path / variant.folder):
            if (folder / variant.names).is_file():
                return folder, variant
    return None


def open_cifar(path: Path, split: str) -> ArraySource:
    """The training or test images, uint8 [N, 32, 32, 3], in memory; classes in the order of their labels.

    Raises:
        DataError: a file is missing or has another length, the class names are too few or many, or a label is too
            large.
    """
    found = find_variant(path)
    if found is None:
        allowed = " or ".join(f"{variant.folder} with {variant.names}" for variant in VARIANTS)
        raise DataError(message(str(path), received="a folder without CIFAR's class names", allowed=allowed))
    folder, variant = found
    if split not in variant.files:
        raise DataError(message(f"split of {path}", received=split, allowed="'train' or 'test'"))
    files = variant.files[split]
    records = np.concatenate([_records(folder / file, variant, variant.records[split]) for file in files])
    labels, pixels = records[:, variant.label_bytes - 1].astype(np.int64), records[:, variant.label_bytes :]
    images = np.ascontiguousarray(pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))
    each = variant.records[split]
    return ArraySource(
        torch.from_numpy(images),
        labels,
        _class_names(folder / variant.names, variant.classes),
        description=f"CIFAR binary {folder} ({split}): {len(images)} images 32x32, {variant.classes} classes",
        name=partial(_name, files, each),  # can be sent to another process, which a lambda cannot
    )


def _name(files: tuple[str, ...], each: int, index: int) -> str:
    return f"{files[index // each]}[{index % each}]"


def _records(path: Path, variant: Variant, count: int) -> NDArray[np.uint8]:
    """The records of a file: [count, label_bytes + 3072]."""
    length = variant.label_bytes + _PIXELS
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            message(str(path), received=f"the system error {error.strerror!r}", allowed="a file of the data set")
        ) from error
    if len(raw) != count * length:
        problem = "truncated" if len(raw) < count * length else "too long"
        allowed = f"{count * length}: {count} records of {length}"
        fix = "Fetch or copy the file again."
        raise DataError(message(str(path), received=f"{len(raw)} bytes ({problem})", allowed=allowed, fix=fix))
    records = np.frombuffer(raw, dtype=np.uint8).reshape(count, length)
    wrong = np.flatnonzero(records[:, variant.label_bytes - 1] >= variant.classes)
    if wrong.size:
        place, label = int(wrong[0]), int(records[wrong[0], variant.label_bytes - 1])
        allowed = f"0 to {variant.classes - 1}"
        raise DataError(message(f"{path}[{place}]", received=f"label {label}", allowed=allowed))
    return records


def _class_names(path: Path, count: int) -> tuple[str, ...]:
    names = tuple(path.read_text(encoding="utf-8").split())
    if len(names) != count:
        allowed = f"{count} names, one a line"
        raise DataError(message(str(path), received=f"{len(names)} class names", allowed=allowed))
    return names


def _detects(path: Path) -> bool:
    return path.is_dir() and find_variant(path) is not None


KIND = Kind(
    detects=_detects,
    open=open_cifar,
    looks_for="cifar-10-batches-bin or cifar-100-binary, or the folder above",
)
