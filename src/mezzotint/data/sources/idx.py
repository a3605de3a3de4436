"""What does an IDX folder hold? The reader of MNIST's file format, compressed with gzip or not.

The format (http://yann.lecun.com/exdb/mnist): two zero bytes, the type (0x08 is unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the values in row-major order.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.source import Kind
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError, NoPart, message

_NAME = re.compile(r"(train|t10k|test)[-._](images|labels)[-._]idx[0-9][-._]ubyte(\.gz)?", re.IGNORECASE)
_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_PARTS = {"train": ("train",), "test": ("t10k", "test")}
_LAYOUT = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (.gz or not)"
)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes.

    Args:
        path: the file; whether it is compressed is read from its first bytes, not from its name.
        dimensions: how many dimensions it must have: 3 for images, 1 for labels.

    Raises:
        DataError: another format or type, another number of dimensions, a truncated or damaged file, or surplus bytes.
    """
    raw = _raw_bytes(path)
    if len(raw) < 4 or raw[0] or raw[1] or raw[2] != _UNSIGNED_BYTE or raw[3] != dimensions:
        raise _bad(path, f"a file that begins with {raw[:4].hex(' ') or 'nothing'}", f"00 00 08 0{dimensions}")
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise _bad(path, f"{len(raw)} bytes, too few for the header", f"{start} bytes of header")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    needed = start + int(np.prod(shape, dtype=object))
    if len(raw) != needed:
        problem = "truncated" if len(raw) < needed else "too long"
        raise _bad(path, f"{len(raw)} bytes ({problem})", f"{needed} bytes for the declared shape {list(shape)}")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def _raw_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == _GZIP_MAGIC else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _bad(path, f"damaged or truncated gzip data ({error})", "a complete gzip file") from error
    except OSError as error:
        raise _bad(path, f"the system error {error.strerror!r}", "a readable file") from error


def _bad(path: Path, received: str, allowed: str) -> DataError:
    return DataError(message(str(path), received=received, allowed=allowed, fix="Fetch or copy the file again."))


def find_files(folder: Path) -> dict[tuple[str, str], Path]:
    """(part, content) -> file, part in {train, test}, content in {images, labels}; a plain file wins over its .gz."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir(), reverse=True):  # "x.gz" sorts after "x", so the plain file comes last and wins
        matched = _NAME.fullmatch(path.name)
        if matched and path.is_file():
            part = "train" if matched[1].lower() in _PARTS["train"] else "test"
            found[part, matched[2].lower()] = path
    return found


def read_labels(path: Path, count: int) -> NDArray[np.int64]:
    """The labels of ``count`` images.

    Raises:
        DataError: another number of labels.
    """
    labels = read_idx(path, 1).astype(np.int64)
    if labels.size != count:
        raise DataError(
            message(
                str(path),
                received=f"{labels.size} labels",
                allowed=f"{count}, as many as there are images beside it",
                fix="Image and label file belong to different parts or data sets; put the right pair together.",
            )
        )
    return labels


def open_idx(path: Path, split: str, description: str | None = None) -> ArraySource:
    """The training or test images of an IDX folder, [N, H, W, 1], in memory.

    Classes are "0", "1", ... up to the largest label of the training labels (of the part itself where the folder has
    no training labels).

    Raises:
        DataError: a file is missing or damaged, counts differ, there are no images, or a test label is larger than
            every training label.
    """
    if split not in _PARTS:
        raise DataError(message(f"split of {path}", received=split, allowed="'train' or 'test'"))
    files = find_files(path)
    missing = [content for content in ("images", "labels") if (split, content) not in files]
    if missing:
        kind = NoPart if len(missing) == 2 else DataError
        raise kind(
            message(
                str(path),
                received=f"a folder without the {split} {' and '.join(missing)} file",
                allowed=_LAYOUT,
            )
        )
    images = read_idx(files[split, "images"], 3)
    if images.size == 0:
        raise _bad(files[split, "images"], f"shape {list(images.shape)}", "at least one image")
    labels = read_labels(files[split, "labels"], len(images))
    classes = _class_count(files, split, labels)
    name = files[split, "images"].name
    return ArraySource(
        torch.from_numpy(images[..., None].copy()),
        labels,
        tuple(str(number) for number in range(classes)),
        description=description or f"IDX folder {path} ({split}): {len(images)} images, {classes} classes",
        name=(name + "[{}]").format,  # can be sent to another process, which a lambda cannot
    )


def _class_count(files: dict[tuple[str, str], Path], split: str, labels: NDArray[np.int64]) -> int:
    if split == "train" or ("train", "labels") not in files:
        return int(labels.max()) + 1
    largest = int(read_idx(files["train", "labels"], 1).max(initial=0))
    if int(labels.max()) > largest:
        position = int(np.argmax(labels > largest))
        raise DataError(
            message(
                str(files[split, "labels"]),
                received=f"label {labels[position]} for image {position}",
                allowed=f"0 to {largest}, the labels of {files['train', 'labels'].name}",
                fix="Training and test files come from different data sets; put the right ones together.",
            )
        )
    return largest + 1


def _detects(path: Path) -> bool:
    return path.is_dir() and bool(find_files(path))


KIND = Kind(detects=_detects, open=open_idx, looks_for=f"a folder with {_LAYOUT}")
