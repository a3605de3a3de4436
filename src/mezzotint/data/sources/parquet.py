"""What do parquet files of images hold? A column of encoded images and one of labels, as Hugging Face lays them out.

Labels and names of all rows are read once. Images are read a row group at a time, the smallest piece that a parquet
file gives, and the last few groups are kept: reading in order is fast, reading in random order decompresses a whole
group for nearly every image. `mezzotint data pack` makes a file of it that does not mind the order.

Needs pyarrow, the extra ``parquet``.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.data.source import EncodedSource, Kind
from mezzotint.data.sources.classes import relabelled
from mezzotint.data.sources.shardnames import candidates, find_shards
from mezzotint.errors import DataError, message

_KEPT = 8
"""Row groups that are kept: enough for as many threads that read in order."""


class Columns(NamedTuple):
    """Which columns are meant: ``image``, whether it is a struct of bytes and perhaps path, ``label``, class names."""

    image: str
    is_struct: bool
    has_path: bool
    label: str
    names: tuple[str, ...] | None


class _File(NamedTuple):
    """What is kept of an opened file: its footer, the first row of each group and the end, labels, names (Arrow)."""

    path: Path
    metadata: Any
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: Any


class ParquetSource(EncodedSource):
    """Images in the rows of parquet files. No file stays open; a pickled source reads labels and names anew."""

    def __init__(self, files: Sequence[Path], classes: Sequence[str] | None = None) -> None:
        """Read footers, labels and names.

        Args:
            files: in their order, at least one.
            classes: the complete, ordered class names, when they are not to be those in the files.

        Raises:
            DataError: pyarrow is missing, a file is damaged, lacks a column, or has other columns or classes than the
                first; or a label is null or has no class.
        """
        self._paths = tuple(files)
        self._given = None if classes is None else tuple(classes)
        self._pyarrow = _pyarrow(self._paths[0])
        with _told(self._paths[0], "its footer"):
            self._columns = find_columns(self._pyarrow.read_schema(self._paths[0]), self._paths[0])
        self._files = tuple(self._opened(path) for path in self._paths)
        self._starts = np.cumsum([0, *(file.labels.size for file in self._files)])
        labels = np.concatenate([file.labels for file in self._files])
        if not labels.size:
            raise DataError(message(str(files[0]), received="no rows", allowed="at least one image"))
        self.labels, self.classes = _in_classes(labels, self._columns.names, self._given, self._paths[0])
        self._lock = threading.Lock()
        self._recent: OrderedDict[tuple[int, int], Future[Any]] = OrderedDict()

    def name(self, index: int) -> str:
        """File and row, and where it has one the image's own name."""
        number, row = self._at(index)
        file = self._files[number]
        own = file.names[row].as_py() if file.names is not None else None
        return f"{file.path.name}[{row}]" + (f" {own}" if own else "")

    def place(self, index: int) -> str:
        """The file's full path, row and name."""
        return f"{self._files[self._at(index)[0]].path.parent}/{self.name(index)}"

    def encoded(self, index: int) -> bytes:
        """The bytes of the image."""
        number, row = self._at(index)
        starts = self._files[number].starts
        group = int(np.searchsorted(starts, row, side="right")) - 1
        value = self._group(number, group)[row - int(starts[group])].as_py()
        content = value["bytes"] if self._columns.is_struct and value is not None else value
        if content is None:
            fix = "It was left outside when the file was written: write it again with the images embedded."
            raise DataError(message(self.place(index), received="a row without bytes", allowed="an image", fix=fix))
        return bytes(content)

    def describe(self) -> str:
        """One line about the source."""
        more = f" to {self._paths[-1].name}" if len(self._paths) > 1 else ""
        return f"parquet {self._paths[0]}{more}: {len(self)} images, {len(self.classes)} classes"

    def __reduce__(self) -> tuple[object, ...]:
        return ParquetSource, (self._paths, self._given)

    def _at(self, index: int) -> tuple[int, int]:
        """Number of the file and row in it."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])

    def _opened(self, path: Path) -> _File:
        columns = self._columns
        with _told(path, "its footer, labels or names"), self._pyarrow.ParquetFile(path, memory_map=True) as file:
            if find_columns(file.schema_arrow, path) != columns:
                allowed = f"those of {self._paths[0].name}"
                raise DataError(message(str(path), received="other columns or class names", allowed=allowed))
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            labels = file.read(columns=[columns.label], use_threads=False).column(0)
            if labels.null_count:
                raise DataError(
                    message(str(path), received=f"{labels.null_count} rows without a label", allowed="none")
                )
            names = None
            if columns.has_path:
                names = file.read(columns=[f"{columns.image}.path"], use_threads=False).column(0)
                names = names.combine_chunks().field("path")
            starts = np.cumsum([0, *sizes], dtype=np.int64)
            return _File(path, file.metadata, starts, labels.to_numpy().astype(np.int64), names)

    def _group(self, number: int, group: int) -> Any:
        """The images of a row group, read by the first thread that asks for it; others wait for that."""
        key = number, group
        with self._lock:
            known = key in self._recent
            found = self._recent.setdefault(key, Future())
            self._recent.move_to_end(key)
            if len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        if not known:
            try:
                found.set_result(self._read_group(self._files[number], group))
            except BaseException as error:
                with self._lock:  # the next reader tries again
                    self._recent.pop(key, None)
                found.set_exception(error)
                raise
        return found.result()

    def _read_group(self, file: _File, group: int) -> Any:
        image = f"{self._columns.image}.bytes" if self._columns.is_struct else self._columns.image
        # Opened for each group: one reader must not be used by two threads at once, and does not survive a fork.
        with (
            _told(file.path, f"its row group {group}"),
            self._pyarrow.ParquetFile(file.path, metadata=file.metadata, memory_map=True) as opened,
        ):
            return opened.read_row_group(group, columns=[image], use_threads=False).column(0)


def find_columns(schema: Any, path: Path) -> Columns:
    """The columns of images and labels: those of these names, otherwise the only ones of Hugging Face's types.

    Args:
        schema: the Arrow schema of a file.
        path: the file, for messages.

    Raises:
        DataError: there is no such column, or it is of another type.
    """
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features: dict[str, Any] = described.get("info", {}).get("features", {})
    image = schema.field(_column(schema, features, "image", "Image", path))
    label = schema.field(_column(schema, features, "label", "ClassLabel", path))
    inside = {field.name for field in image.type} if str(image.type).startswith("struct") else set()
    if "bytes" not in inside and str(image.type) not in ("binary", "large_binary"):
        allowed = "binary, or a struct with the field bytes"
        raise DataError(message(f"column {image.name!r} of {path}", received=f"type {image.type}", allowed=allowed))
    if not re.fullmatch(r"u?int\d+", str(label.type)):
        allowed = "integers, the places of the classes"
        raise DataError(message(f"column {label.name!r} of {path}", received=f"type {label.type}", allowed=allowed))
    names = features.get(label.name, {}).get("names")
    return Columns(image.name, bool(inside), "path" in inside, label.name, tuple(names) if names else None)


def _column(schema: Any, features: dict[str, Any], usual: str, kind: str, path: Path) -> str:
    typed = [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == kind]
    if usual in schema.names:
        return usual
    if len(typed) == 1 and typed[0] in schema.names:
        return typed[0]
    received = f"the columns {', '.join(schema.names)}"
    raise DataError(message(str(path), received=received, allowed=f"a column {usual!r}, or one of the type {kind}"))


def _in_classes(
    labels: NDArray[np.int64], names: tuple[str, ...] | None, given: tuple[str, ...] | None, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels and class names: the file's own, which those given may reorder; otherwise numbers."""
    own = names or given or tuple(str(number) for number in range(int(labels.max()) + 1))
    wrong = labels[(labels < 0) | (labels >= len(own))]
    if wrong.size:
        fix = "Labels of -1 stand for those that are kept secret: this part cannot be used." if wrong[0] == -1 else ""
        raise DataError(message(str(path), received=f"label {wrong[0]}", allowed=f"0 to {len(own) - 1}", fix=fix))
    return relabelled(labels, own, given or own, path), given or own


def _pyarrow(path: Path) -> Any:
    """The module ``pyarrow.parquet``."""
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        fix = "Install it: pip install 'mezzotint[parquet]'."
        raise DataError(
            message(str(path), received="a parquet file, and no pyarrow", allowed="pyarrow to be installed", fix=fix)
        ) from error


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Errors of Arrow and of the system as those of the file."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        received = f"{what} cannot be read ({' '.join(str(error).split())})"
        fix = "It is damaged or cut off: fetch or copy it again."
        raise DataError(message(str(path), received=received, allowed="a complete parquet file", fix=fix)) from error


def open_parquet(path: Path, split: str, *, classes: Sequence[str] | None = None) -> ParquetSource:
    """A parquet file, or those of the part that ``split`` means, in a folder or matched by a pattern."""
    return ParquetSource(find_shards(path, split, ".parquet"), classes)


def _detects(path: Path) -> bool:
    return any(candidates(path, ".parquet").values())


KIND = Kind(
    detects=_detects,
    open=open_parquet,
    looks_for="parquet files with the columns image and label, such as train-00000-of-00002.parquet",
    options=("classes",),
)
