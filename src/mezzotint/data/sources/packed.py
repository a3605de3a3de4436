"""What does a tar with an index hold? What ``mezzotint data pack`` wrote: any image by one read, and checked.

Nothing of the archive is read to open it. The index is mapped, not loaded (``sources/packindex.py``); a pickled source
carries its path only, and forked processes share the map.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mezzotint.data.source import EncodedSource
from mezzotint.data.sources.classes import relabelled
from mezzotint.data.sources.openfile import OpenFile
from mezzotint.data.sources.packindex import index_path, read_index
from mezzotint.errors import DataError, ImageError, message


class PackedSource(EncodedSource):
    """Images in a packed tar, with their first names. The file stays open until the source is garbage."""

    def __init__(self, path: Path, classes: Sequence[str] | None = None, *, verify: bool = True) -> None:
        """Read the index.

        Args:
            path: the archive; the index lies beside it.
            classes: the complete, ordered class names, when they are not to be the index's own.
            verify: hold every image that is read against the checksum of its packing.

        Raises:
            DataError: the archive or the index is missing, the index is damaged, or belongs to another archive.
        """
        self.path = path
        self._verify = verify
        self._given = None if classes is None else tuple(classes)
        self._file = OpenFile(path)
        if not index_path(path).is_file():
            received = f"a path without {index_path(path).name} beside it"
            raise DataError(message(str(path), received=received, allowed="a tar that `mezzotint data pack` has made"))
        self._index = read_index(index_path(path))
        if self._index.archive_bytes != self._file.size:
            raise DataError(
                message(
                    str(path),
                    received=f"an archive of {self._file.size} bytes with the index of one of "
                    f"{self._index.archive_bytes}",
                    allowed="archive and index of one packing",
                    fix=f"Put the right pair together, or delete {index_path(path).name} to read the archive alone.",
                )
            )
        self.classes = self._index.classes if self._given is None else self._given
        self.labels = relabelled(self._index.labels.astype(np.int64), self._index.classes, self.classes, path)

    def name(self, index: int) -> str:
        """What the image was called in the source that was packed."""
        return self._index.names[index]

    def place(self, index: int) -> str:
        """Archive and key, and the first name."""
        return f"{self.path}:{key_of(index)} ({self.name(index)})"

    def encoded(self, index: int) -> bytes:
        """The bytes of the image.

        Raises:
            ImageError: they are not those that were packed.
        """
        content = self._file.read(int(self._index.offsets[index]), int(self._index.lengths[index]))
        if len(content) != self._index.lengths[index]:
            received = f"{len(content)} of {self._index.lengths[index]} bytes"
            raise DataError(message(self.place(index), received=received, allowed="an unchanged archive"))
        if self._verify and (found := zlib.crc32(content)) != self._index.checksums[index]:
            raise ImageError(
                message(
                    self.place(index),
                    received=f"bytes with the checksum {found:08x}",
                    allowed=f"{self._index.checksums[index]:08x}, as packed",
                    fix="The archive is damaged: copy it again, or pack again with --overwrite.",
                )
            )
        return content

    def describe(self) -> str:
        """One line about the source."""
        size = f" with shorter sides up to {self._index.size}" if self._index.size else ""
        return f"packed tar {self.path}: {len(self)} images{size}, {len(self.classes)} classes"

    def __reduce__(self) -> tuple[object, ...]:
        return _opened, (self.path, self._given, self._verify)


def key_of(index: int) -> str:
    """WebDataset's key of an image in a packed tar: its number."""
    return f"{index:09d}"


def _opened(path: Path, classes: tuple[str, ...] | None, verify: bool) -> PackedSource:
    return PackedSource(path, classes, verify=verify)
