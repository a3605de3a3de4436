"""What is in a data set, before anything is trained on it? Parts, classes, sizes, modes, damage, and what looks odd.

Headers are read of every image, or of a fixed, evenly spread number of a large data set, so that what is chosen by them
is the same on every machine. Pixels are decoded for as long as is allowed.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.decode import read_image
from mezzotint.data.magic import HEAD_BYTES, image_format
from mezzotint.data.pillow_file import PILLOW_ERRORS, opened
from mezzotint.data.quarantine import BadSample
from mezzotint.data.source import EncodedSource, Source, check_same_classes, open_source
from mezzotint.data.sources import SOURCES
from mezzotint.data.sources.files import images_below, is_hidden
from mezzotint.data.sources.memory import ArraySource
from mezzotint.errors import DataError, ImageError, MezzotintError, NoPart, message

LOOKED_AT: Final = 5_000
"""Images whose headers are read, at most, in each part."""
_BLOCK: Final = 64
_LISTED: Final = 100_000  # images: of more, the folders are not walked through once more to see what else lies there

Watch = Callable[[int, int], None]
"""Told how many images of how many have been looked at."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one image turned out to be; ``size`` is (height, width), None where not even the header can be read."""

    size: tuple[int, int] | None
    mode: str
    form: str
    digest: bytes
    decoded: bool
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class PartFound:
    """One part of a data set.

    Attributes:
        split: its name, as ``open_source`` takes it.
        words: the source in its own words.
        counts: images of each class.
        rows: numbers of the images looked at.
        labels: their labels.
        names: their names.
        found: what they turned out to be.
    """

    split: str
    words: str
    counts: tuple[int, ...]
    rows: tuple[int, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    found: tuple[Found, ...]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is in a data set.

    Attributes:
        where: as the user named it.
        kind: a key of ``SOURCES``.
        classes: their names.
        train: the part to train on.
        test: the part to test on, or None where the data set has none.
        channels: of the images as they are read.
        encoded: whether the images are encoded files; otherwise they are arrays in memory.
        passed_over: files that are no images, by their extensions; empty for very many images.
    """

    where: str
    kind: str
    classes: tuple[str, ...]
    train: PartFound
    test: PartFound | None
    channels: int
    encoded: bool
    passed_over: dict[str, int] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[PartFound, ...]:
        """One part or two."""
        return (self.train,) if self.test is None else (self.train, self.test)

    @property
    def found(self) -> tuple[Found, ...]:
        """All images looked at."""
        return tuple(one for part in self.parts for one in part.found)

    @property
    def samples(self) -> int:
        """Images of all parts."""
        return sum(sum(part.counts) for part in self.parts)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of all whose headers can be read."""
        return tuple(one.size for one in self.found if one.size is not None)

    @property
    def one_size(self) -> tuple[int, int] | None:
        """The size of the images where all of them have the same."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None

    @property
    def all_decoded(self) -> bool:
        """Whether every image of the data set was decoded."""
        return len(self.found) == self.samples and all(one.decoded for one in self.found)

    @property
    def damaged(self) -> tuple[BadSample, ...]:
        """The images that cannot be read; their names begin with their part where there are two."""
        return tuple(
            BadSample(index=row, name=_told(self, part, name), reason=one.problem)
            for part in self.parts
            for row, name, one in zip(part.rows, part.names, part.found, strict=True)
            if one.problem is not None
        )

    @property
    def modes(self) -> Counter[str]:
        """How many images are stored in which of Pillow's modes."""
        return Counter(one.mode for one in self.found if one.size is not None)

    @property
    def forms(self) -> Counter[str]:
        """How many are stored in which format: "JPEG", "PNG", ..."""
        return Counter(one.form for one in self.found if one.size is not None)

    @property
    def in_both_parts(self) -> tuple[tuple[str, str], ...]:
        """(training image, test image) with the same bytes, as far as they were looked at."""
        if self.test is None:
            return ()
        known = {one.digest: name for one, name in zip(self.train.found, self.train.names, strict=True)}
        test = zip(self.test.found, self.test.names, strict=True)
        return tuple((known[one.digest], name) for one, name in test if one.digest in known)

    @property
    def in_two_classes(self) -> tuple[tuple[str, str], ...]:
        """Pairs of images with the same bytes and different labels, within a part."""
        pairs = []
        for part in self.parts:
            first: dict[bytes, tuple[int, str]] = {}
            for one, label, name in zip(part.found, part.labels, part.names, strict=True):
                known = first.setdefault(one.digest, (label, name))
                if known[0] != label:
                    pairs.append((known[1], name))
        return tuple(pairs)


def _told(survey: Survey, part: PartFound, name: str) -> str:
    return name if survey.test is None else f"{part.split}: {name}"


def survey(
    where: str | PathLike[str], *, seconds: float = 20.0, threads: int = 1, watch: Watch | None = None
) -> Survey:
    """Look at a data set.

    Args:
        where: as for ``open_source``.
        seconds: for how long pixels are decoded; 0: only headers are read.
        threads: that read and decode, at least 1.
        watch: is told how far it is.

    Raises:
        DataError: no data set, no images, fewer than two classes, or parts that do not go together.
    """
    path = Path(where).expanduser()
    train, split, test = _parts(where)
    if len(train.classes) < 2:
        raise DataError(
            message(
                f"data set {str(where)!r}",
                received=f"one class, {train.classes[0]!r}" if train.classes else "no class",
                allowed="two classes or more, one folder each",
                fix="To tell images of a class from others, collect the others in a folder of their own.",
            )
        )
    sources = {split: train} if test is None else {split: train, "test": test}
    total = sum(min(len(source), LOOKED_AT) for source in sources.values())
    tell, end = _Counting(watch, total), time.perf_counter() + seconds
    parts = [_look(name, source, end, threads, tell) for name, source in sources.items()]
    encoded = isinstance(train, EncodedSource)
    kind = "digits" if where == "digits" else next((name for name, kind in SOURCES.items() if kind.detects(path)), "")
    return Survey(
        where=str(where),
        kind=kind,
        classes=train.classes,
        train=parts[0],
        test=parts[1] if len(parts) == 2 else None,
        channels=3 if encoded else int(train.read(0)[0].shape[2]),
        encoded=encoded,
        passed_over=_passed_over(path) if kind in ("folder", "flat") and len(train) <= _LISTED else {},
    )


def _parts(where: str | PathLike[str]) -> tuple[Source, str, Source | None]:
    """(what to train on, its name, what to test on or None)."""
    split = "train"
    try:
        train = open_source(where, split)
    except NoPart as error:
        split = "all"
        try:
            train = open_source(where, split)
        except NoPart:
            raise error from None
        return train, split, None
    try:
        test = open_source(where, "test")
    except NoPart:
        return train, split, None
    check_same_classes(train, test)
    return train, split, test


class _Counting:
    """Adds up what the parts report."""

    def __init__(self, watch: Watch | None, total: int) -> None:
        self._watch, self._total, self._done = watch, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._watch is not None:
            self._watch(self._done, self._total)


def _look(split: str, source: Source, end: float, threads: int, tell: Callable[[], None]) -> PartFound:
    rows = np.unique(np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(np.int64)).tolist()
    if isinstance(source, EncodedSource):
        found = list(_each(source, rows, end, threads, tell))
        labels = source.labels
    elif isinstance(source, ArraySource):
        found = [_array(source, row) for row in rows]
        labels = source.labels
    else:
        raise DataError(message(source.describe(), received="a source of another kind", allowed="files or arrays"))
    return PartFound(
        split=split,
        words=source.describe(),
        counts=tuple(np.bincount(labels, minlength=len(source.classes)).tolist()),
        rows=tuple(rows),
        labels=tuple(_at(labels, rows)),
        names=tuple(source.name(row) for row in rows),
        found=tuple(found),
    )


def _at(labels: NDArray[np.int64], rows: list[int]) -> list[int]:
    return [int(label) for label in labels[rows]]


def _each(
    source: EncodedSource, rows: list[int], end: float, threads: int, tell: Callable[[], None]
) -> Iterator[Found]:
    """Every image in order; a few at a time, so that a large data set does not wait in a queue."""
    pending = iter(rows)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        while block := list(islice(pending, _BLOCK)):
            for found in pool.map(lambda row: _file(source, row, end), block):
                tell()
                yield found


def _file(source: EncodedSource, row: int, end: float) -> Found:
    try:
        data = source.encoded(row)
    except (OSError, MezzotintError) as error:
        return Found(size=None, mode="", form="", digest=str(row).encode(), decoded=True, problem=str(error))
    problem, decoded = None, False
    size, mode, form = _header(data)
    if size is None or time.perf_counter() < end:
        decoded = True
        try:
            read_image(data, name=source.place(row))
        except ImageError as error:
            problem = str(error)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Found(size=size, mode=mode, form=form, digest=digest, decoded=decoded, problem=problem)


def _header(data: bytes) -> tuple[tuple[int, int] | None, str, str]:
    """((height, width), mode, format) by Pillow, which decodes nothing yet."""
    kind = image_format(data[:HEAD_BYTES])
    if kind is None:
        return None, "", ""
    try:
        with opened(data, kind) as image:
            return (image.height, image.width), image.mode, kind
    except PILLOW_ERRORS:
        return None, "", ""


def _array(source: ArraySource, row: int) -> Found:
    image = source.images[row]
    height, width, channels = image.shape
    digest = hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=16).digest()
    mode = {1: "L", 3: "RGB"}.get(channels, f"{channels} channels")
    return Found(size=(height, width), mode=mode, form="", digest=digest, decoded=True, problem=None)


def _passed_over(root: Path) -> dict[str, int]:
    """Extension -> visible files below that are not read as images, most first."""
    visible = (path for path in _files_below(root) if not any(is_hidden(part) for part in path.parts))
    images = set(images_below(root))
    odd = Counter(path.suffix.lower() or path.name for path in visible if path.as_posix() not in images)
    return dict(odd.most_common())


def _files_below(root: Path) -> Iterable[Path]:
    return (path.relative_to(root) for path in root.rglob("*") if path.is_file())
