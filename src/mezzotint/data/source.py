"""Where do images and labels come from? What every source offers, and ``open_source``, which finds the right one.

The kinds of source are the table ``mezzotint.data.sources.SOURCES``; a new kind is one file and one line there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mezzotint.data.decode import read_part, read_parts
from mezzotint.data.part import Part, Wanted
from mezzotint.data.quarantine import OnError, checked_policy
from mezzotint.errors import DataError, MezzotintError, message, suggest

if TYPE_CHECKING:
    from mezzotint.data.sources.memory import ArraySource

_SHOWN = 5


@runtime_checkable
class Source(Protocol):
    """A finite, ordered set of labelled images. ``read`` may be called from several threads at once."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a label is an index into them."""
        ...

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def read(self, index: int) -> tuple[Tensor, int]:
        """Sample ``index``, 0 <= index < len: a uint8 image [H, W, C] (C is 1 or 3) and its label."""
        ...

    def name(self, index: int) -> str:
        """What the user calls the sample: a relative path, an archive member, or a file and a number."""
        ...

    def describe(self) -> str:
        """One line: the kind, the place, the number of samples and of classes."""
        ...


@runtime_checkable
class BatchSource(Source, Protocol):
    """A source that hands over many samples at once; all of its images have one size."""

    def read_batch(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, H, W, C] and labels int64 [N] of the samples; the caller may write into them."""
        ...


class EncodedSource(ABC):
    """Base of the sources that keep encoded image files: it decodes, and names the file when that fails.

    Subclasses set ``classes`` and ``labels`` (int64 [N]) and give ``encoded``, ``name`` and ``place``.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.labels.size)

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The bytes of the sample's file, not decoded."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The sample's name inside the source."""

    @abstractmethod
    def describe(self) -> str:
        """One line: the kind, the place, the number of samples and of classes."""

    @abstractmethod
    def place(self, index: int) -> str:
        """The sample's full path, or archive and member, for messages."""

    def _repr_html_(self) -> str:
        """A few images with their classes, for notebooks."""
        from mezzotint.data.notebook import source_html

        return source_html(self)

    def read(self, index: int) -> tuple[Tensor, int]:
        """Sample ``index``: a uint8 RGB image [H, W, 3] and its label.

        Raises:
            ImageError: the file is not a readable image.
            DataError: the file cannot be read at all.
            IndexError: there is no such sample.
        """
        part, label = self.read_part(index, None)
        return part.levels, label

    def read_part(self, index: int, wanted: Wanted | None) -> tuple[Part, int]:
        """A part of sample ``index``, and its label: what ``wanted`` says for its size, or more; the whole for None.

        Where ``wanted`` asks for a resize, the part may be its result (``Part.resized``).

        Raises:
            ImageError, DataError, IndexError: as `read`.
        """
        try:
            return read_part(self._existing(index), wanted, name=self.place(index)), int(self.labels[index])
        except OSError as error:
            raise DataError(
                message(self.place(index), received=f"the system error {error.strerror!r}", allowed="a readable file")
            ) from error

    def read_parts(self, indices: Sequence[int], wanted: Sequence[Wanted]) -> list[tuple[Part, int] | None]:
        """`read_part` of several samples, faster than one by one; None where it shall say itself what it finds."""
        if type(self).read_part is not EncodedSource.read_part:  # somebody's own way to read
            return [None] * len(indices)
        files: list[tuple[int, bytes]] = []
        for place, index in enumerate(indices):
            with suppress(OSError, IndexError, MezzotintError):
                files.append((place, self._existing(index)))
        found: list[tuple[Part, int] | None] = [None] * len(indices)
        parts = read_parts(
            [data for _, data in files],
            [wanted[place] for place, _ in files],
            names=[self.place(indices[place]) for place, _ in files],
        )
        for (place, _), part in zip(files, parts, strict=True):
            if part is not None:
                found[place] = part, int(self.labels[indices[place]])
        return found

    def _existing(self, index: int) -> bytes:
        if not 0 <= index < len(self):  # Python would count a negative one from the end
            raise IndexError(f"sample {index} of {len(self)}")
        return self.encoded(index)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of source: how it is recognised, opened and described."""

    detects: Callable[[Path], bool]
    open: Callable[..., Source]
    looks_for: str
    options: tuple[str, ...] = ()


def open_source(
    where: str | PathLike[str],
    split: str = "train",
    *,
    kind: str | None = None,
    cache: Literal["memory"] | None = None,
    on_error: OnError = "fail",
    labels: str | PathLike[str] | None = None,
    mapping: str | PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    verify: bool | None = None,
) -> Source:
    """Open a data set.

    Args:
        where: ``"digits"`` for the embedded data set, otherwise a path (write ``./digits`` for a folder of that name),
            or a pattern that matches shards, such as ``"shards/train-*.tar"``.
        split: ``"train"`` or ``"test"``; the name of a subfolder or archive, such as ``"val"``; or ``"all"`` for a
            data set that is not split.
        kind: a key of ``mezzotint.data.sources.SOURCES``, such as ``"folder"``; found from the files when not given.
        cache: ``"memory"`` decodes every image once and keeps them as uint8; all must have one size.
        on_error: of ``cache``: "fail" raises the error of the first image that cannot be decoded; "quarantine" keeps
            such errors for whoever asks for these images, such as a loader with that policy.
        labels: kind ``flat``: the label file, when it is not beside the images.
        mapping: kind ``flat``: the file that maps ILSVRC2012_ID to WNID, for labels in devkit form.
        classes: kinds ``flat``, ``tar``, ``shards`` and ``parquet``: the complete, ordered class names, when the labels
            alone do not tell them.
        verify: kinds ``tar`` and ``shards``: False trusts packed images without their checksums.

    Raises:
        DataError: nothing is there, the kind cannot be told, an option does not belong to the kind, or the data set
            is inconsistent. The message says what was looked for.
    """
    from mezzotint.data.sources import SOURCES

    path = Path(where).expanduser()
    options = {"labels": labels, "mapping": mapping, "classes": classes, "verify": verify}
    given = {option: value for option, value in options.items() if value is not None}
    try:
        name = _checked_kind(kind, SOURCES) if kind else _detect(where, path, SOURCES)
        _check_options(name, SOURCES[name], given)
        source = SOURCES[name].open(path, split, **given)
    except OSError as error:
        place = error.filename or path
        raise DataError(
            message(
                f"data source {str(path)!r}", received=f"the system error {error}", allowed=f"{place} to be readable"
            )
        ) from error
    return source if cache is None else cached(source, cache, on_error)


def cached(source: Source, cache: str, on_error: OnError = "fail") -> ArraySource:
    """The whole of ``source`` in memory; ``cache`` must be ``"memory"``."""
    from mezzotint.data.sources.memory import in_memory

    if cache != "memory":
        raise DataError(message("cache", received=cache, allowed='"memory" or nothing'))
    return in_memory(source, checked_policy(on_error))


def check_same_classes(train: Source, test: Source) -> None:
    """Refuse two parts of a data set whose labels do not mean the same classes.

    Raises:
        DataError: the class names differ; the message lists those that only one part has.
    """
    if train.classes == test.classes:
        return
    only_train = [name for name in train.classes if name not in set(test.classes)]
    only_test = [name for name in test.classes if name not in set(train.classes)]
    raise DataError(
        message(
            "classes of the training and the test images",
            received=f"{len(train.classes)} in {train.describe()} and {len(test.classes)} in {test.describe()}; "
            + class_differences(only_train, only_test),
            allowed="the same class names, in the same order, on both sides",
            fix="Rename, add or remove classes so that both sides agree; otherwise a label would mean two things.",
        )
    )


def class_differences(only_train: Sequence[str], only_test: Sequence[str]) -> str:
    """The clause of a message that lists what only one side has."""
    if not only_train and not only_test:
        return "the same names in another order"
    return f"only among the training images: {_listed(only_train)}; only among the test images: {_listed(only_test)}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def _checked_kind(kind: str, table: dict[str, Kind]) -> str:
    if kind not in table:
        raise DataError(
            message("kind of the data source", received=kind, allowed=", ".join(table), fix=suggest(kind, table))
        )
    return kind


def _detect(where: str | PathLike[str], path: Path, table: dict[str, Kind]) -> str:
    if where == "digits":
        return "digits"
    for name, kind in table.items():
        if kind.detects(path):
            return name
    looked_for = "; ".join(f"{name}: {kind.looks_for}" for name, kind in table.items())
    if not path.exists():
        raise DataError(
            message(
                f"data source {str(path)!r}",
                received="a path that does not exist",
                allowed=looked_for,
                fix=f"Looked at {path.absolute()}.{suggest(str(where), ['digits'])}",
            )
        )
    raise DataError(
        message(f"data source {str(path)!r}", received="nothing that is known as a data set", allowed=looked_for)
    )


def _check_options(name: str, kind: Kind, given: dict[str, Any]) -> None:
    for option in given:
        if option not in kind.options:
            allowed = ", ".join(kind.options) if kind.options else "no options of its own"
            raise DataError(message(f"option {option!r}", received=f"a source of kind {name!r}", allowed=allowed))
