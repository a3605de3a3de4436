"""Which images test a network where a data set has no test part? A fixed share of each class, chosen by their names.

An image is held out for what it is called, not for its place: images that are added later change nothing for the
others but at the border of the share, and every machine, seed and run holds out the same ones.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.data.source import EncodedSource, Source
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError, message

Role = Literal["train", "test"]


class EncodedSubset(EncodedSource):
    """Some samples of a source of encoded files, in a given order; nothing is copied or decoded."""

    def __init__(self, source: EncodedSource, rows: NDArray[np.int64], words: str) -> None:
        """
        Args:
            source: where the samples are.
            rows: their numbers there, int64 [N].
            words: what the subset is, for its description.
        """
        self.classes = source.classes
        self.labels = source.labels[rows]
        self._source, self._rows, self._words = source, rows, words

    def name(self, index: int) -> str:
        """The sample's name in the source."""
        return self._source.name(int(self._rows[index]))

    def place(self, index: int) -> str:
        """The sample's place in the source."""
        return self._source.place(int(self._rows[index]))

    def encoded(self, index: int) -> bytes:
        """The bytes of the sample's file."""
        return self._source.encoded(int(self._rows[index]))

    def describe(self) -> str:
        """The source's line, and which part of it this is."""
        return f"{self._source.describe()}; {self._words}: {len(self):,}"


class _Names:
    """The names of a subset; an object, because it travels to other processes."""

    def __init__(self, source: ArraySource, rows: NDArray[np.int64]) -> None:
        self._source, self._rows = source, rows

    def __call__(self, index: int) -> str:
        return self._source.name(int(self._rows[index]))


def held_of(count: int, share: float) -> int:
    """How many of a class's ``count`` images are held out: at least one, at most all but one; none of a single one."""
    return min(max(1, round(share * count)), count - 1) if count > 1 else 0


def part_held_out(source: Source, share: float, role: Role) -> EncodedSubset | ArraySource:
    """The images that are held out for testing, or all others.

    Of each class that has two images or more, ``round(share * n)`` of its n images are held out, at least one and at
    most all but one: those whose names have the smallest SHA-256. A class of one image is for training.

    Args:
        source: an undivided data set.
        share: of each class, above 0 and below 1.
        role: "test" gives what is held out, "train" the rest.

    Raises:
        DataError: nothing can be held out because no class has two images, or the source cannot be divided.
    """
    if not isinstance(source, EncodedSource | ArraySource):
        raise DataError(message(source.describe(), received="a source of another kind", allowed="files or arrays"))
    chosen = _held_out(source, share)
    if not chosen.any():
        raise DataError(
            message(
                source.describe(),
                received="no class with two images or more",
                allowed="at least two images in some class, one of which can be held out for testing",
                fix="Add images, or give the data set a test part: folders train/ and test/.",
            )
        )
    rows = np.flatnonzero(chosen if role == "test" else ~chosen)
    words = f"{100 * share:g} % held out for testing" if role == "test" else "without those held out for testing"
    if isinstance(source, EncodedSource):
        return EncodedSubset(source, rows, words)
    return ArraySource(
        source.images.index_select(0, torch.from_numpy(rows)),
        source.labels[rows],
        source.classes,
        description=f"{source.describe()}; {words}: {len(rows):,}",
        name=_Names(source, rows),
    )


def _held_out(source: EncodedSource | ArraySource, share: float) -> NDArray[np.bool_]:
    """bool [N]."""
    digests = [hashlib.sha256(source.name(index).encode("utf-8", "surrogateescape")) for index in range(len(source))]
    keys = np.array([int.from_bytes(digest.digest()[:8]) for digest in digests], dtype=np.uint64)
    chosen = np.zeros(len(source), dtype=np.bool_)
    order = np.lexsort((keys, source.labels))  # by class, within a class by key; equal keys by place
    counts = np.bincount(source.labels, minlength=len(source.classes))
    start = 0
    for count in counts.tolist():
        taken = held_of(count, share)
        chosen[order[start : start + taken]] = True
        start += count
    return chosen
