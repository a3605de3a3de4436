"""What does a folder of class folders hold? ``cat/1.jpg``, ``dog/a/2.png``, optionally under ``train/`` and ``test/``.

Every folder directly inside is a class, with all images below it; labels follow the sorted class names. Where all
names are decimal numbers they are sorted as numbers, so that class folder "10" has label 10, not 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mezzotint.data.content import file_content
from mezzotint.data.names import PackedNames
from mezzotint.data.source import EncodedSource, Kind, class_differences
from mezzotint.data.sources.files import images_below, images_directly_in, subfolders
from mezzotint.data.sources.split import MEANINGS, PARTS, check_undivided, choose_part
from mezzotint.errors import DataError, message


class FolderSource(EncodedSource):
    """Image files in class folders; names are paths relative to the root. Two files are never open for one sample."""

    def __init__(self, root: Path) -> None:
        """Read the names of all files below ``root``.

        Raises:
            DataError: there are no class folders, a class has no images, or images lie beside the class folders.
        """
        self.root = root
        self.classes = class_names(root)
        names: list[str] = []
        counts = []
        for name in self.classes:
            inside = [f"{name}/{relative}" for relative in images_below(root / name)]
            if not inside:
                raise _empty_class(root, name)
            names += inside
            counts.append(len(inside))
        self._names = PackedNames(names)
        self.labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)

    def name(self, index: int) -> str:
        """The path relative to the root, such as ``cat/1.jpg``."""
        return self._names[index]

    def place(self, index: int) -> str:
        """The full path."""
        return str(self.root / self._names[index])

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        return file_content(self.root / self._names[index])

    def describe(self) -> str:
        """One line about the source."""
        return f"image folder {self.root}: {len(self)} images, {len(self.classes)} classes"


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their labels: as numbers if all are decimal numbers, otherwise by code point."""
    found = sorted(set(names))
    if found and all(name.isdecimal() for name in found):
        found.sort(key=lambda name: (int(name), name))
    return tuple(found)


def class_names(root: Path) -> tuple[str, ...]:
    """The classes of a folder: its subfolders.

    Raises:
        DataError: it has none, or images lie beside them that would belong to no class.
    """
    names = sort_classes(subfolders(root))
    if not names:
        raise DataError(
            message(
                str(root),
                received="a folder without subfolders",
                allowed="one subfolder of images for each class",
                fix="If its images have a label file, open this folder itself with kind='flat'.",
            )
        )
    stray = images_directly_in(root)
    if stray:
        raise DataError(
            message(
                str(root),
                received=f"{len(stray)} images beside the class folders, such as {stray[0]!r}",
                allowed="images inside class folders only",
                fix="Move them into a class, or away.",
            )
        )
    return names


def _empty_class(root: Path, name: str) -> DataError:
    return DataError(
        message(
            f"class {name!r} of {root}",
            received="a folder without images",
            allowed="at least one image in every class",
            fix=f"Add images to {root / name}, or remove the folder.",
        )
    )


def parts_of(path: Path) -> list[str]:
    """The subfolders that are parts of a divided data set, none where it is not divided.

    It is divided where a training and a test part lie side by side, or where every subfolder has the name of a part;
    a class that happens to be called "train" does not make it so.
    """
    names = subfolders(path)
    parts = [name for name in names if name.lower() in PARTS]
    train = [name for name in parts if name.lower() in MEANINGS["train"]]
    return parts if len(parts) == len(names) or 0 < len(train) < len(parts) else []


def open_folder(path: Path, split: str) -> FolderSource:
    """The part of a class-folder tree that ``split`` means; see ``sources/split.py`` for the rules.

    Raises:
        DataError: the part is missing, empty, or has other classes than another part beside it.
    """
    parts = parts_of(path)
    if not parts:
        check_undivided(split, path)
        return FolderSource(path)
    chosen = choose_part(parts, split, path)
    for other in parts:
        _check_parts(path, chosen, other)
    return FolderSource(path / chosen)


def _check_parts(path: Path, chosen: str, other: str) -> None:
    """Refuse parts with different classes; a part without class folders (unlabelled images) is not compared."""
    here, there = set(subfolders(path / chosen)), set(subfolders(path / other))
    if not here or not there or here == there:
        return
    train, test = (here, there) if chosen.lower() in MEANINGS["train"] else (there, here)
    raise DataError(
        message(
            f"class folders in {path}",
            received=f"{len(here)} in {chosen}/ and {len(there)} in {other}/; "
            + class_differences(sort_classes(train - test), sort_classes(test - train)),
            allowed="the same class folders in every part",
            fix="Rename, add or remove folders so that both parts agree; otherwise a label would mean two things.",
        )
    )


def _detects(path: Path) -> bool:
    return path.is_dir() and bool(subfolders(path))


KIND = Kind(
    detects=_detects,
    open=open_folder,
    looks_for="a folder with one subfolder of images per class, optionally under train/ and test/ (or val/)",
)
