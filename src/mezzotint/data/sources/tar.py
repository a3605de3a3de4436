"""What does a tar of images hold? ``class/name.jpg``, or WebDataset's ``key.jpg`` with ``key.cls`` or ``key.json``.

The archive is never unpacked: an index of (offset, size) is made once by reading the headers, and a member is read by
one ``pread``, from any number of threads. An archive with an index beside it is opened by that (``sources/packed.py``).
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.magic import HEAD_BYTES, image_format
from mezzotint.data.names import PackedNames
from mezzotint.data.source import EncodedSource, Kind
from mezzotint.data.sources.classes import relabelled
from mezzotint.data.sources.files import has_image_extension, has_other_extension, is_hidden
from mezzotint.data.sources.folder import sort_classes
from mezzotint.data.sources.openfile import OpenFile
from mezzotint.data.sources.packed import PackedSource
from mezzotint.data.sources.packindex import index_path
from mezzotint.data.sources.split import PARTS, check_undivided, choose_part
from mezzotint.data.sources.tarindex import Member, is_tar, members
from mezzotint.errors import DataError, message

_LABELS = (".cls", ".json")


class TarIndex(NamedTuple):
    """All images of an archive, column by column: names, int64 offsets and sizes, int64 labels, class names."""

    names: PackedNames
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


class TarSource(EncodedSource):
    """Images in a tar archive. The file stays open until the source is garbage."""

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        """Index the archive.

        Raises:
            DataError: it cannot be read, is compressed, damaged or truncated, or an image has no label.
        """
        self.path = path
        self._file = OpenFile(path)
        self._index = index_archive(path, self._file.descriptor, classes)
        self.labels, self.classes = self._index.labels, self._index.classes

    def name(self, index: int) -> str:
        """The path of the member inside the archive."""
        return self._index.names[index]

    def place(self, index: int) -> str:
        """Archive and member."""
        return f"{self.path}:{self.name(index)}"

    def encoded(self, index: int) -> bytes:
        """The bytes of the member."""
        size = int(self._index.sizes[index])
        content = self._file.read(int(self._index.offsets[index]), size)
        if len(content) != size:
            raise _bad(self.path, f"{len(content)} of {size} bytes of {self.name(index)}", "an unchanged archive")
        return content

    def describe(self) -> str:
        """One line about the source."""
        return f"tar {self.path}: {len(self)} images, {len(self.classes)} classes"


def index_archive(path: Path, descriptor: int, classes: Sequence[str] | None) -> TarIndex:
    """Read the headers of an archive, and in WebDataset form the labels.

    Raises:
        DataError: as ``TarSource``.
    """
    offsets, sizes, labels = array("q"), array("q"), array("q")
    folders: dict[str, int] = {}

    def rows() -> Iterator[str]:
        for image, label in _labelled(path, descriptor):
            offsets.append(image.offset)
            sizes.append(image.size)
            labels.append(label if isinstance(label, int) else folders.setdefault(label, len(folders)))
            yield image.name

    names = PackedNames(rows())
    if not len(names):
        raise _bad(path, "no images", "members class/name.jpg, or key.jpg with key.cls or key.json")
    raw = np.array(labels, dtype=np.int64)
    ordered, found = _by_folder(raw, folders, classes, path) if folders else _by_number(raw, classes, names, path)
    return TarIndex(names, np.array(offsets, dtype=np.int64), np.array(sizes, dtype=np.int64), ordered, found)


def _by_folder(
    raw: NDArray[np.int64], folders: dict[str, int], classes: Sequence[str] | None, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels by class folder: numbers in order of appearance become places among the sorted (or given) names.

    ``folders`` holds the first two folders of every path, ``top/class`` or ``class``. The first of them is left out
    where all paths share it.
    """
    tops = {folder.partition("/")[0] for folder in folders}
    below = int(len(tops) == 1 and all("/" in folder for folder in folders))
    of_folder = [folder.split("/")[below] for folder in folders]
    names = tuple(classes) if classes else sort_classes(of_folder)
    return relabelled(raw, of_folder, names, path), names


def _by_number(
    raw: NDArray[np.int64], classes: Sequence[str] | None, names: PackedNames, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels that are numbers already."""
    found = tuple(classes) if classes else tuple(str(number) for number in range(int(raw.max()) + 1))
    wrong = np.flatnonzero((raw < 0) | (raw >= len(found)))
    if wrong.size:
        raise _bad(path, f"label {raw[wrong[0]]} of {names[int(wrong[0])]}", f"0 to {len(found) - 1}")
    return raw, found


def _labelled(path: Path, descriptor: int) -> Iterator[tuple[Member, int | str]]:
    """Each image with its label: a number in WebDataset form, otherwise the first one or two folders of its path.

    The first image decides the form: it has a label member of the same key beside it, or not.
    """
    visible = (member for member in members(path) if not _is_hidden(member.name))
    buffered: list[Member] = []
    image_key = None
    for member in visible:
        buffered.append(member)
        if image_key is not None and _key(member.name) != image_key:
            break
        if image_key is None and has_image_extension(member.name):
            image_key = _key(member.name)
    keyed = any(_key(member.name) == image_key and _extension(member.name) in _LABELS for member in buffered)
    everything = chain(buffered, visible)
    yield from _webdataset(everything, path, descriptor) if keyed else _in_folders(everything, path, descriptor)


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.removeprefix("./").split("/"))


def _key(name: str) -> str:
    """WebDataset's key: the path up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _extension(name: str) -> str:
    """WebDataset's extension: all that follows the key, in lower case."""
    return name[len(_key(name)) :].lower()


def _is_image(member: Member, descriptor: int) -> bool:
    if has_image_extension(member.name):
        return True
    known = has_other_extension(member.name)
    return not known and image_format(os.pread(descriptor, HEAD_BYTES, member.offset)) is not None


def _in_folders(found: Iterable[Member], path: Path, descriptor: int) -> Iterator[tuple[Member, str]]:
    """Images with the first two folders of their path, ``a/b``, or the only one."""
    for member in found:
        if _is_image(member, descriptor):
            folders = member.name.removeprefix("./").split("/")[:-1]
            if not folders:
                raise _bad(path, f"image {member.name!r} outside of any class folder", "members class/name.jpg")
            yield member, "/".join(folders[:2])


def _webdataset(found: Iterable[Member], path: Path, descriptor: int) -> Iterator[tuple[Member, int]]:
    """Images with the number in the ``.cls`` or ``.json`` of the same key; the members of a sample lie side by side."""
    for _, sample in groupby(found, key=lambda member: _key(member.name)):
        image: Member | None = None
        label: int | None = None
        for member in sample:
            extension = _extension(member.name)
            if extension in _LABELS:
                label = _number(member, os.pread(descriptor, member.size, member.offset), path)
            elif has_image_extension("key" + extension) and extension.count(".") == 1:
                if image is not None:
                    raise _bad(path, f"{image.name!r} and {member.name!r}", "one image for each key")
                image = member
        if image is not None and label is None:
            raise _bad(path, f"image {image.name!r} without a label", "a .cls or .json beside each image")
        if image is not None and label is not None:
            yield image, label


def _number(member: Member, content: bytes, path: Path) -> int:
    """The label in a ``.cls`` (decimal digits) or a ``.json`` (a number, or an object with "label" or "cls")."""
    if content.strip().isdigit():
        return int(content)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _bad(path, f"{content[:40]!r} in {member.name}", "a class number") from error
    if isinstance(value, dict):
        value = value.get("label", value.get("cls"))
    if not isinstance(value, int) or isinstance(value, bool):
        raise _bad(path, f"{content[:40]!r} in {member.name}", 'a class number, or {"label": number}')
    return value


def _bad(path: Path, received: str, allowed: str) -> DataError:
    return DataError(message(str(path), received=received, allowed=allowed))


def open_tar(
    path: Path, split: str, *, classes: Sequence[str] | None = None, verify: bool = True
) -> TarSource | PackedSource:
    """A tar archive, or the one in a folder of archives (``train.tar``, ``test.tar``) that ``split`` means."""
    if path.is_dir():
        parts = _archives(path)
        return open_archive(parts[choose_part(sorted(parts), split, path)], classes, verify=verify)
    check_undivided(split, path)
    return open_archive(path, classes, verify=verify)


def open_archive(path: Path, classes: Sequence[str] | None = None, *, verify: bool = True) -> TarSource | PackedSource:
    """One archive: by its index where one lies beside it, otherwise by its headers, which hold no checksums."""
    return PackedSource(path, classes, verify=verify) if index_path(path).exists() else TarSource(path, classes)


def _archives(path: Path) -> dict[str, Path]:
    found = (entry for entry in sorted(path.iterdir()) if entry.is_file() and not is_hidden(entry.name))
    return {
        entry.name.partition(".")[0]: entry
        for entry in found
        if entry.name.partition(".")[0].lower() in PARTS and is_tar(entry)
    }


def _detects(path: Path) -> bool:
    return bool(_archives(path)) if path.is_dir() else path.is_file() and is_tar(path)


KIND = Kind(
    detects=_detects,
    open=open_tar,
    looks_for="a tar of class/name.jpg or of WebDataset samples, or a folder with train.tar and test.tar",
    options=("classes", "verify"),
)
