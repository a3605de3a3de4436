"""What do the lines of a label file mean? The forms in which ImageNet's validation labels are passed around.

==================  =====================================  ==========================================================
Form                A line                                 Meaning
==================  =====================================  ==========================================================
``devkit``          ``490``                                ILSVRC2012_ID, from 1, in the order of the development kit
``index``           ``ILSVRC2012_val_00000001.JPEG 65``    place of the WNID among the sorted WNIDs, from 0 (Caffe)
``wnid``            ``ILSVRC2012_val_00000001,n01751748``  the WNID itself (also Kaggle's ``n01751748 x1 y1 x2 y2``)
``wnid by line``    ``n01751748``                          the WNID; line 1 is the first image
==================  =====================================  ==========================================================

The first image is 490 in one order and 65 in the other, and both are numbers below 1000, so a mix-up looks fine and
scores 0.1 %. It is found here by the first five images, whose labels are known in both orders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, message

_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"-?\d+")
_KNOWN = {  # ILSVRC2012_val_0000000N: (ILSVRC2012_ID, place among the sorted WNIDs)
    "ilsvrc2012_val_00000001": (490, 65),
    "ilsvrc2012_val_00000002": (361, 970),
    "ilsvrc2012_val_00000003": (171, 230),
    "ilsvrc2012_val_00000004": (822, 809),
    "ilsvrc2012_val_00000005": (297, 516),
}
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """The parsed lines of a label file: ``keys`` are image names without folder and extension, or None by position."""

    place: str
    first_line: int
    keys: tuple[str, ...] | None
    values: tuple[str, ...]

    @property
    def by_wnid(self) -> bool:
        """Whether the values are WNIDs; otherwise they are decimal numbers."""
        return not _NUMBER.fullmatch(self.values[0])

    def line(self, row: int) -> str:
        """Where row ``row`` is, for messages."""
        return f"{self.place}, line {self.first_line + row}"


def stem(name: str) -> str:
    """An image's name without folder and extension, as label files and files are compared."""
    return PurePosixPath(name.strip().replace("\\", "/")).stem


def parse_label_file(text: str, place: str) -> LabelFile:
    """Read any of the four forms.

    Args:
        text: the whole file.
        place: its name, for messages.

    Raises:
        DataError: the file is empty, a line has no known form or another form than the first, or an image is named
            twice. The message names the line.
    """
    lines = text.lstrip("\ufeff").rstrip().splitlines()
    header = bool(lines) and lines[0].lower().replace(" ", "").startswith("imageid,")
    rows = [_split(line) for line in lines[header:]]
    if not rows:
        raise DataError(message(place, received="no labels", allowed="one label a line"))
    expected = _form(*rows[0])
    for number, (key, value) in enumerate(rows, start=1 + header):
        form = _form(key, value)
        if form is None or form != expected:
            raise _bad_line(f"{place}, line {number}", lines[number - 1], expected)
    keys = None if rows[0][0] is None else tuple(str(key) for key, _ in rows)
    file = LabelFile(place=place, first_line=1 + header, keys=keys, values=tuple(value for _, value in rows))
    _check_unique(file)
    return file


def _split(line: str) -> tuple[str | None, str]:
    """(image stem or None, label) of a line; a label that cannot be used comes back as it stands."""
    head, comma, tail = line.partition(",")
    if comma:
        return stem(head), _one_label(tail)
    parts = line.strip().rsplit(None, 1)
    return (stem(parts[0]), parts[1]) if len(parts) == 2 else (None, line.strip())


def _one_label(text: str) -> str:
    """The label of a csv field; of Kaggle's "WNID x1 y1 x2 y2" boxes, the WNID that all of them share."""
    words = text.strip().strip('"').split()
    boxes = set(words[::5])
    return boxes.pop() if len(words) % 5 == 0 and len(boxes) == 1 else " ".join(words)


def _form(key: str | None, value: str) -> str | None:
    named = "by line" if key is None else "named"
    if _NUMBER.fullmatch(value):
        return f"number {named}"
    return f"WNID {named}" if _WNID.fullmatch(value) else None


def _bad_line(place: str, line: str, expected: str | None) -> DataError:
    allowed = "'490' (development kit), 'name 65', 'name,n01751748' or 'n01751748'"
    if expected is not None:
        allowed = f"a line in the form of the first one ({expected}); forms are not mixed"
    return DataError(message(place, received=repr(line[:80]), allowed=allowed, fix="Correct the line."))


def _check_unique(file: LabelFile) -> None:
    seen: set[str] = set()
    for row, key in enumerate(file.keys or ()):
        if key in seen:
            raise DataError(message(file.line(row), received=f"a second label for {key!r}", allowed="one each"))
        seen.add(key)


def to_indices(
    file: LabelFile, stems: Sequence[str], mapping: dict[int, str] | None, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The label of each row as an index into the sorted WNIDs, and the names of the classes.

    Args:
        file: the parsed file.
        stems: the image of each row, in the order of the rows.
        mapping: ILSVRC2012_ID -> WNID, which the development kit's form needs.
        classes: the complete class names in the order of the labels, if known.

    Returns:
        int64 [rows], and the class names: ``classes``, otherwise the sorted WNIDs of the mapping or the file, otherwise
        "0", "1", ... up to the largest label.

    Raises:
        DataError: a label is out of range or of another order than its form says. The message names the line.
    """
    names = classes or (sorted(mapping.values()) if mapping else None)
    if file.by_wnid:
        return _look_up(file, file.values, names or sorted(set(file.values)))
    _refuse_other_order(file, stems)
    if file.keys is None:
        return _from_ids(file, mapping, classes)
    names = names or [str(number) for number in range(_count(file, stems))]
    return _in_range(file, len(names)), tuple(names)


def _count(file: LabelFile, stems: Sequence[str]) -> int:
    """How many classes numbers without names stand for; ImageNet's are 1,000 whatever the largest number is."""
    largest = max(int(value) for value in file.values)
    of_imagenet = any(name.lower().startswith("ilsvrc2012_val_") for name in stems)
    return min(largest + 1, _IMAGENET_CLASSES) if of_imagenet else largest + 1


def _refuse_other_order(file: LabelFile, stems: Sequence[str]) -> None:
    """Find the 490-versus-65 mix-up by the known images."""
    for row, name in enumerate(stems):
        if name.lower() not in _KNOWN:
            continue
        by_id, by_place = _KNOWN[name.lower()]
        value = int(file.values[row])
        if file.keys is None and value in (by_place, by_place + 1):
            fix = "Write 'name index' lines for labels in sorted order, or use the development kit's own file."
            raise _other_order(file, row, value, f"the ILSVRC2012_ID {by_id}, in the development kit's order", fix)
        if file.keys is not None and value == by_id:
            fix = "These are ILSVRC2012_IDs; write one number a line, without names, and give the mapping to WNIDs."
            raise _other_order(file, row, value, f"{by_place}, the place among the sorted WNIDs from 0", fix)
        if file.keys is not None and value == by_place + 1:
            fix = "These labels count from 1, or have a background class 0; subtract 1."
            raise _other_order(file, row, value, f"{by_place}, the place among the sorted WNIDs from 0", fix)


def _other_order(file: LabelFile, row: int, value: int, allowed: str, fix: str) -> DataError:
    return DataError(message(file.line(row), received=f"label {value} in another order", allowed=allowed, fix=fix))


def _from_ids(
    file: LabelFile, mapping: dict[int, str] | None, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if mapping is None:
        raise DataError(
            message(
                file.place,
                received="ILSVRC2012_IDs without the mapping to WNIDs",
                allowed="the IDs together with the development kit's meta.mat, or a text file of 'ID WNID' lines",
                fix="Pass it as mapping=..., or lay it beside the label file; the IDs are not in the sorted order.",
            )
        )
    for row, value in enumerate(file.values):
        if int(value) not in mapping:
            raise _out_of_range(file, row, f"an ILSVRC2012_ID of the mapping, from {min(mapping)} to {max(mapping)}")
    return _look_up(file, [mapping[int(value)] for value in file.values], classes or sorted(mapping.values()))


def _look_up(
    file: LabelFile, wnids: Sequence[str], classes: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    places = {name: place for place, name in enumerate(classes)}
    for row, wnid in enumerate(wnids):
        if wnid not in places:
            raise _out_of_range(file, row, f"one of the {len(classes)} classes")
    return np.array([places[wnid] for wnid in wnids], dtype=np.int64), tuple(classes)


def _in_range(file: LabelFile, classes: int) -> NDArray[np.int64]:
    labels = np.array([int(value) for value in file.values], dtype=np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise _out_of_range(file, int(wrong[0]), f"0 to {classes - 1}")
    return labels


def _out_of_range(file: LabelFile, row: int, allowed: str) -> DataError:
    return DataError(message(file.line(row), received=f"label {file.values[row]}", allowed=allowed))
