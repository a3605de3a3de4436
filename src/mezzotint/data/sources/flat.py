"""What does a flat folder of images with a label file hold? ImageNet's validation set, as it is downloaded.

The label file may have any of the forms of ``sources/labels.py``; it is found beside the images or given. Class
folders are the kind ``folder``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.content import file_content
from mezzotint.data.names import PackedNames
from mezzotint.data.source import EncodedSource, Kind
from mezzotint.data.sources.files import has_images_directly_in, images_directly_in, is_hidden, subfolders
from mezzotint.data.sources.labels import LabelFile, parse_label_file, stem, to_indices
from mezzotint.data.sources.split import MEANINGS
from mezzotint.data.sources.wnids import read_mapping
from mezzotint.errors import DataError, NoPart, message

LABEL_FILES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "val_map.txt",
    "val_list.txt",
    "labels.txt",
    "labels.csv",
    "imagenet_2012_validation_synset_labels.txt",
)
MAPPING_FILES = ("meta.mat", "meta.txt", "meta.csv", "mapping.txt", "mapping.csv")
_KIT_FOLDERS = ("data", "devkit/data", "ILSVRC2012_devkit_t12/data")
_NUMBERED = re.compile(r"ilsvrc2012_val_(\d{8})")


class FlatSource(EncodedSource):
    """Image files of one folder, in the order of their names, with labels from a file."""

    def __init__(
        self, root: Path, names: Sequence[str], labels: NDArray[np.int64], classes: tuple[str, ...], origin: str
    ) -> None:
        self.root = root
        self.classes = classes
        self.labels = labels
        self._names = PackedNames(names)
        self._origin = origin

    def name(self, index: int) -> str:
        """The file's name."""
        return self._names[index]

    def place(self, index: int) -> str:
        """The full path."""
        return str(self.root / self._names[index])

    def encoded(self, index: int) -> bytes:
        """The bytes of the file."""
        return file_content(self.root / self._names[index])

    def describe(self) -> str:
        """One line about the source."""
        return f"flat folder {self.root} with {self._origin}: {len(self)} images, {len(self.classes)} classes"


def open_flat(
    path: Path,
    split: str,
    *,
    labels: str | PathLike[str] | None = None,
    mapping: str | PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
) -> FlatSource:
    """The images directly in ``path`` with their labels.

    Args:
        path: the folder.
        split: ``"test"``, ``"val"`` or ``"all"``; ``"train"`` only for a folder named so.
        labels: the label file; looked for in the folder, then in the one above, when not given.
        mapping: ILSVRC2012_ID -> WNID for labels in the development kit's form; looked for likewise.
        classes: the complete class names in the order of the labels.

    Raises:
        DataError: no images, no or several label files, labels and images that do not go together one to one, or
            labels of another order than their form says.
    """
    _check_split(path, split)
    names = images_directly_in(path)
    if not names:
        raise DataError(message(str(path), received="a folder without images", allowed="images directly inside"))
    file = _read_label_file(_given(labels, "labels") or find_label_file(path))
    rows = match_rows(file, names, path)
    stems = [stem(names[image]) for image in rows]
    indices, found = to_indices(file, stems, _mapping(path, file, mapping), classes)
    ordered = np.empty(len(names), dtype=np.int64)
    ordered[rows] = indices
    return FlatSource(path, names, ordered, found, Path(file.place).name)


def _check_split(path: Path, split: str) -> None:
    is_train = path.name.lower() in MEANINGS["train"]
    allowed = ("train", "all") if is_train else (*MEANINGS["test"], "all")
    if split not in allowed:
        fix = "" if is_train else "Images without class folders are for testing; training images go into class folders."
        raise NoPart(message(f"split of {path}", received=split, allowed=", ".join(allowed), fix=fix))


def _given(value: str | PathLike[str] | None, option: str) -> Path | None:
    if value is not None and not Path(value).is_file():
        raise DataError(message(option, received=str(value), allowed="a file that exists"))
    return None if value is None else Path(value)


def _read_label_file(path: Path) -> LabelFile:
    try:
        return parse_label_file(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(message(str(path), received=f"{error}", allowed="a readable text file of labels")) from error


def _search(path: Path, names: Sequence[str]) -> list[Path]:
    """The files with these names in the first place that has any: the folder, the one above, the development kit."""
    above = path.absolute().parent
    for folder in (path, above, *(above / kit for kit in _KIT_FOLDERS)):
        found = [folder / name for name in names if (folder / name).is_file()]
        if found:
            return found
    return []


def find_label_file(path: Path) -> Path:
    """The label file of a flat folder: one with a usual name, otherwise the only text or csv file inside.

    Raises:
        DataError: there is none, or there are several.
    """
    found = _search(path, LABEL_FILES)
    if not found:
        texts = [
            name for name in path.iterdir() if name.suffix.lower() in (".txt", ".csv") and not is_hidden(name.name)
        ]
        found = sorted(name for name in texts if name.is_file() and name.name not in MAPPING_FILES)
    if not found and (classes := _like_it(path)):
        above = path.absolute().parent if path.name in ("", "..") else path.parent
        fix = f"Give the folder above, {str(above)!r}, with the classes {', '.join(classes[:4])}"
        fix += f" and {len(classes) - 4} more." if len(classes) > 4 else "."
        allowed = "one subfolder of images for each class, or a label file beside the images"
        raise DataError(message(str(path), received="images without a label file", allowed=allowed, fix=fix))
    if len(found) != 1:
        received = "several label files: " + ", ".join(map(str, found)) if found else "images without a label file"
        raise DataError(
            message(
                str(path),
                received=received,
                allowed="one subfolder of images for each class, or one label file "
                f"({', '.join(LABEL_FILES)}) in this folder or the one above",
                fix="Sort the images into class folders, or name the label file: labels=..., data.labels in a file.",
            )
        )
    return found[0]


def _like_it(path: Path) -> list[str]:
    """The folder and those beside it, where all together look like the classes of a data set."""
    above = path.absolute().parent
    beside = subfolders(above) if above.is_dir() else []
    classes = [name for name in beside if has_images_directly_in(above / name)]
    return sorted(classes) if len(classes) > 1 else []


def _mapping(path: Path, file: LabelFile, given: str | PathLike[str] | None) -> dict[int, str] | None:
    """The mapping where the labels need one; a mapping given is always read, so that a wrong one is noticed."""
    chosen = _given(given, "mapping")
    if chosen is None and file.keys is None and not file.by_wnid:
        found = _search(path, MAPPING_FILES) or _search(Path(file.place).parent, MAPPING_FILES)
        chosen = found[0] if found else None
    return None if chosen is None else read_mapping(chosen)


def match_rows(file: LabelFile, names: Sequence[str], path: Path) -> list[int]:
    """For each row of the label file the image it is about, as an index into ``names`` (sorted).

    Raises:
        DataError: an image has no label or a label no image; by position also when the images are numbered and a
            number is missing. The message names the line or the image.
    """
    stems = [stem(name) for name in names]
    places = {name: place for place, name in enumerate(stems)}
    if len(places) != len(stems):
        twice = next(name for place, name in enumerate(stems) if places[name] != place)
        raise DataError(message(str(path), received=f"two images named {twice!r}", allowed="one file per image"))
    if file.keys is None:
        return _by_position(file, stems, path)
    for row, key in enumerate(file.keys):
        if key not in places:
            raise DataError(
                message(file.line(row), received=f"a label for {key!r}", allowed=f"names of images in {path}")
            )
    labelled = set(file.keys)
    unlabelled = [name for name in names if stem(name) not in labelled]
    if unlabelled:
        received = f"no label for {len(unlabelled)} of {len(names)} images, such as {unlabelled[0]!r}"
        raise DataError(message(file.place, received=received, allowed=f"a label for every image in {path}"))
    return [places[key] for key in file.keys]


def _by_position(file: LabelFile, stems: Sequence[str], path: Path) -> list[int]:
    if len(file.values) != len(stems):
        raise DataError(
            message(
                file.place,
                received=f"{len(file.values)} labels without names for {len(stems)} images",
                allowed=f"exactly one line for each image in {path}, in the order of the names",
                fix="For a part of the images write 'name index' or 'name,WNID' lines.",
            )
        )
    for place, name in enumerate(stems):
        numbered = _NUMBERED.fullmatch(name.lower())
        if numbered and int(numbered[1]) != place + 1:
            received = f"image {name!r} in place {place + 1}"
            raise DataError(message(str(path), received=received, allowed="images numbered from 00000001 without gaps"))
    return list(range(len(stems)))


def _detects(path: Path) -> bool:
    if not path.is_dir() or not has_images_directly_in(path):
        return False
    return not subfolders(path) or bool(_search(path, LABEL_FILES))


KIND = Kind(
    detects=_detects,
    open=open_flat,
    looks_for="a folder with images directly inside and a label file beside or above them",
    options=("labels", "mapping", "classes"),
)
