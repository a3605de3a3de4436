"""Which WNID has which number in ImageNet's development kit? The mapping from ILSVRC2012_ID to WNID.

It stands in the kit's ``data/meta.mat``, which needs SciPy, or in a text file with a line for each class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mezzotint.errors import DataError, message

_WNID = re.compile(r"n\d{8}")
_SEA_SNAKE, _SEA_SNAKE_ID = "n01751748", 490
_LEAVES = 1000


def read_mapping(path: Path) -> dict[int, str]:
    """ILSVRC2012_ID -> WNID from a ``.mat`` file (with SciPy) or a text file.

    Raises:
        DataError: the file cannot be read or is something else, or SciPy is needed and not installed.
    """
    try:
        if path.suffix == ".mat":
            return check_mapping(_from_mat(_load_mat(path)), str(path))
        return parse_mapping(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(message(str(path), received=f"{error}", allowed="a readable mapping of ID to WNID")) from error


def _load_mat(path: Path) -> Any:
    try:
        scipy_io = import_module("scipy.io")
    except ImportError as error:
        raise DataError(
            message(
                str(path),
                received="a MATLAB file, and SciPy is not installed",
                allowed="meta.mat with SciPy, or a text file with a line 'ID WNID' for each class",
                fix="Run `pip install scipy`, or pass such a text file as mapping=...",
            )
        ) from error
    try:
        return scipy_io.loadmat(str(path), squeeze_me=True)["synsets"]
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise DataError(
            message(str(path), received=f"{error}", allowed="the development kit's meta.mat, with its 'synsets'")
        ) from error


def _from_mat(synsets: Any) -> dict[int, str]:
    """The leaves of the hierarchy: rows (ID, WNID, words, gloss, number of children, ...) without children."""
    return {int(row[0]): str(row[1]) for row in synsets if int(row[4]) == 0}


def parse_mapping(text: str, place: str) -> dict[int, str]:
    """ILSVRC2012_ID -> WNID from lines ``ID WNID`` or ``WNID ID`` (separated by blanks or a comma; more is ignored).

    Of the 1,860 synsets of the development kit only the first 1,000 are classes; larger IDs are left out.

    Raises:
        DataError: a line has no such form, an ID or a WNID comes twice, or the numbers are those of the sorted order.
    """
    mapping: dict[int, str] = {}
    lines = text.lstrip("\ufeff").rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        pair = _mapping_pair(words[:2])
        if pair is None and number == 1 and not any(_WNID.fullmatch(word) for word in words):
            continue  # a heading
        if pair is None or pair[0] in mapping:
            raise DataError(
                message(f"{place}, line {number}", received=repr(line[:80]), allowed="a new ILSVRC2012_ID and its WNID")
            )
        mapping[pair[0]] = pair[1]
    return check_mapping({number: wnid for number, wnid in mapping.items() if number <= _LEAVES}, place)


def _mapping_pair(words: Sequence[str]) -> tuple[int, str] | None:
    if len(words) == 2 and _WNID.fullmatch(words[0]):
        words = (words[1], words[0])
    if len(words) == 2 and words[0].isdecimal() and int(words[0]) > 0 and _WNID.fullmatch(words[1]):
        return int(words[0]), words[1]
    return None


def check_mapping(mapping: dict[int, str], place: str) -> dict[int, str]:
    """The mapping itself, if it can be one from ILSVRC2012_ID to WNID.

    Raises:
        DataError: it is empty, a WNID comes twice, or the sea snake (n01751748) does not have ID 490.
    """
    if not mapping or len(set(mapping.values())) != len(mapping):
        raise DataError(
            message(place, received=f"{len(mapping)} IDs for {len(set(mapping.values()))} WNIDs", allowed="one to one")
        )
    numbers = [number for number, wnid in mapping.items() if wnid == _SEA_SNAKE]
    if numbers and numbers[0] != _SEA_SNAKE_ID:
        raise DataError(
            message(
                place,
                received=f"ID {numbers[0]} for {_SEA_SNAKE}",
                allowed=f"ILSVRC2012_ID {_SEA_SNAKE_ID}",
                fix="These are places in the sorted order, not the IDs of the development kit; use its meta.mat.",
            )
        )
    return mapping
