"""What stands in the index beside a packed tar? Where each image lies, its length, label, checksum and first name.

``train.tar`` has its index in ``train.tar.mzindex``. All numbers are little-endian::

    8 bytes   89 "MZIDX" 0D 0A: no text, and noticed when a transfer changes line ends
    uint32    version, 1
    uint32    CRC-32 of everything that follows
    uint64    bytes of the index, header included
    uint64    bytes of the archive, so that another archive under the same name is noticed
    uint64    N, the number of images
    uint64    M, the bytes of the description, blanks to a multiple of 8 included
    M bytes   JSON: {"classes": [...], "size": shorter side or null, "quality": of what was resized}
    int64     [N] offset of each image in the archive
    int64     [N + 1] where each name begins in the last column
    uint32    [N] length of each image
    uint32    [N] label
    uint32    [N] CRC-32 of the image
    bytes     the names, UTF-8, end to end

The columns are used where they lie, in a read-only map that all processes share: 28 bytes and a name for each image.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.names import PackedNames
from mezzotint.errors import DataError, message

SUFFIX = ".mzindex"
_MAGIC = b"\x89MZIDX\r\n"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQQQ")
_UNCHECKED = 16  # bytes before those that the checksum is of
_PER_IMAGE = 8 + 8 + 4 + 4 + 4
_ANEW = "Copy archive and index again, or pack again with --overwrite."


@dataclass(frozen=True, kw_only=True)
class PackIndex:
    """The index of an archive, column by column.

    Attributes:
        classes: names of the classes.
        size: shorter side that larger images were reduced to; None where all were copied.
        quality: JPEG quality of the reduced images.
        archive_bytes: length of the archive.
        offsets: int64 [N].
        lengths: uint32 [N].
        labels: uint32 [N], below ``len(classes)``.
        checksums: uint32 [N], CRC-32.
        names: what the images were called where they came from.
    """

    classes: tuple[str, ...]
    size: int | None
    quality: int
    archive_bytes: int
    offsets: NDArray[np.int64]
    lengths: NDArray[np.uint32]
    labels: NDArray[np.uint32]
    checksums: NDArray[np.uint32]
    names: PackedNames


class IndexRows:
    """Grows an index row by row, without an object for each."""

    def __init__(self) -> None:
        self._numbers = (array("q"), array("q"), array("q"), array("q"))
        self._names = bytearray()
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, name: str, offset: int, length: int, label: int, checksum: int) -> None:
        """One image."""
        for column, value in zip(self._numbers, (offset, length, label, checksum), strict=True):
            column.append(value)
        self._names += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._names))

    def index(self, *, classes: Sequence[str], size: int | None, quality: int, archive_bytes: int) -> PackIndex:
        """The whole index."""
        offsets, *others = (np.array(column, dtype=np.int64) for column in self._numbers)
        lengths, labels, checksums = (column.astype(np.uint32) for column in others)
        return PackIndex(
            classes=tuple(classes),
            size=size,
            quality=quality,
            archive_bytes=archive_bytes,
            offsets=offsets,
            lengths=lengths,
            labels=labels,
            checksums=checksums,
            names=PackedNames.packed(bytes(self._names), np.array(self._ends, dtype=np.int64)),
        )


def index_path(archive: Path) -> Path:
    """Where the index of an archive lies."""
    return archive.with_name(archive.name + SUFFIX)


def to_bytes(index: PackIndex) -> bytes:
    """The index as it is written."""
    facts = {"classes": list(index.classes), "size": index.size, "quality": index.quality}
    description = json.dumps(facts, separators=(",", ":")).encode()
    description += b" " * (-len(description) % 8)
    blob, ends = index.names.columns
    columns = ((index.offsets, "<i8"), (ends, "<i8"), (index.lengths, "<u4"), (index.labels, "<u4"))
    body = b"".join([values.astype(form).tobytes() for values, form in (*columns, (index.checksums, "<u4"))])
    rest = description + body + blob
    numbers = (_HEADER.size + len(rest), index.archive_bytes, len(index.names), len(description))
    checked = struct.pack("<QQQQ", *numbers) + rest
    return _MAGIC + struct.pack("<II", _VERSION, zlib.crc32(checked)) + checked


def read_index(path: Path) -> PackIndex:
    """Map an index and check it as a whole.

    Raises:
        DataError: it is of another format or version, truncated or damaged.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if not header.startswith(_MAGIC):
            _refuse(path, f"a file that begins with {header[:8].hex(' ') or 'nothing'}", f"{_MAGIC.hex(' ')}, an index")
        if len(header) < _HEADER.size:
            _refuse(path, f"{len(header)} bytes", f"a header of {_HEADER.size}")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _, version, checksum, length, archive_bytes, count, meta = _HEADER.unpack(header)
    if version != _VERSION:
        _refuse(path, f"version {version} of the format", f"version {_VERSION}")
    if length != len(mapped):
        _refuse(path, f"{len(mapped)} bytes", f"{length}, as its header says")
    with memoryview(mapped) as whole, whole[_UNCHECKED:] as checked:
        if zlib.crc32(checked) != checksum:
            _refuse(path, "content that its checksum does not fit", "an undamaged index")
    return _columns(path, mapped, archive_bytes, count, meta)


def _columns(path: Path, mapped: mmap.mmap, archive_bytes: int, count: int, meta: int) -> PackIndex:
    start = _HEADER.size + meta
    if meta % 8 or start + _PER_IMAGE * count + 8 > len(mapped):
        _refuse(path, f"{count} images in {len(mapped)} bytes", "columns that fit into the file")
    facts: dict[str, Any] = json.loads(mapped[_HEADER.size : start])
    views = []
    for form, length in (("<i8", count), ("<i8", count + 1), ("<u4", count), ("<u4", count), ("<u4", count)):
        views.append(np.frombuffer(mapped, dtype=form, count=length, offset=start))
        start += views[-1].nbytes
    offsets, ends, lengths, labels, checksums = views
    classes = tuple(facts["classes"])
    inside = ends[-1] == len(mapped) - start and (ends[:-1] <= ends[1:]).all() and ends[0] == 0
    if count and not (inside and offsets.min() >= 0 and (offsets + lengths).max() <= archive_bytes):
        _refuse(path, "places outside of the archive or of the names", "places inside")
    if count and labels.max() >= len(classes):
        _refuse(path, f"label {labels.max()}", f"labels 0 to {len(classes) - 1}")
    return PackIndex(
        classes=classes,
        size=facts["size"],
        quality=facts["quality"],
        archive_bytes=archive_bytes,
        offsets=offsets,
        lengths=lengths,
        labels=labels,
        checksums=checksums,
        names=PackedNames.packed(memoryview(mapped)[start:], ends),
    )


def _refuse(path: Path, received: str, allowed: str) -> NoReturn:
    raise DataError(message(f"index {path}", received=received, allowed=allowed, fix=_ANEW))
