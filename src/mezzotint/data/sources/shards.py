"""How do many tars make one source? One after the other, in the order of their numbers, as WebDataset names them.

Each shard may have an index or not. Class names are those of the first index; without any they are gathered from all
shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mezzotint.data.source import EncodedSource, Kind
from mezzotint.data.sources.classes import relabelled
from mezzotint.data.sources.folder import sort_classes
from mezzotint.data.sources.packed import PackedSource
from mezzotint.data.sources.packindex import index_path
from mezzotint.data.sources.shardnames import find_shards, is_pattern, numbered
from mezzotint.data.sources.tar import TarSource, open_archive


class ShardedSource(EncodedSource):
    """Images of several archives. A sample's name has its archive's before it. Every archive stays open."""

    def __init__(self, shards: Sequence[TarSource | PackedSource]) -> None:
        """Join archives, at least one, in this order."""
        self._shards = tuple(shards)
        self.classes = sort_classes(name for shard in shards for name in shard.classes)
        if all(shard.classes == shards[0].classes for shard in shards):
            self.classes = shards[0].classes
        parts = [relabelled(shard.labels, shard.classes, self.classes, shard.path) for shard in self._shards]
        self.labels = np.concatenate(parts)
        self._starts = np.cumsum([0, *map(len, self._shards)])

    def name(self, index: int) -> str:
        """Archive and name inside."""
        shard, inside = self._at(index)
        return f"{shard.path.name}/{shard.name(inside)}"

    def place(self, index: int) -> str:
        """The archive's path and the place inside."""
        shard, inside = self._at(index)
        return shard.place(inside)

    def encoded(self, index: int) -> bytes:
        """The bytes of the image."""
        shard, inside = self._at(index)
        return shard.encoded(inside)

    def describe(self) -> str:
        """One line about the source."""
        count, first, last = len(self._shards), self._shards[0].path, self._shards[-1].path.name
        shards = f"{count} shards {first} to {last}" if count > 1 else f"shard {first}"
        return f"{shards}: {len(self)} images, {len(self.classes)} classes"

    def _at(self, index: int) -> tuple[TarSource | PackedSource, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._shards[shard], index - int(self._starts[shard])


def open_shards(path: Path, split: str, *, classes: Sequence[str] | None = None, verify: bool = True) -> ShardedSource:
    """The shards in a folder, or those that a pattern matches, of the part that ``split`` means."""
    files = find_shards(path, split, ".tar")
    if classes is None:
        indexed = (PackedSource(file) for file in files if index_path(file).exists())
        classes = next((source.classes for source in indexed), None)
    return ShardedSource([open_archive(file, classes, verify=verify) for file in files])


def _detects(path: Path) -> bool:
    return (path.is_dir() or is_pattern(path)) and numbered(path, ".tar")


KIND = Kind(
    detects=_detects,
    open=open_shards,
    looks_for="a folder with train-000000.tar, train-000001.tar ..., or a pattern such as shards/train-*.tar",
    options=("classes", "verify"),
)
