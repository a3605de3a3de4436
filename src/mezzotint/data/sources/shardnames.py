"""Which files of a folder are the shards of one part? By their names: ``train-000000.tar``, ``val-00001-of-00004.tar``.

A name is a prefix, a number and perhaps the number of shards (and the fingerprint that Hugging Face once appended). The
last word of the prefix is the part where it is the name of one (``imagenet-train-0000.tar``). A name without a number
is a part of its own. ``data/`` and subfolders that are named like parts are looked into where the folder itself holds
no such file; a pattern such as ``shards/train-*.tar`` chooses files, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mezzotint.data.sources.files import is_hidden
from mezzotint.data.sources.split import PARTS, check_undivided, choose_part
from mezzotint.errors import DataError, message

_NAME = re.compile(r"(?:(.+?)[-_.])??(\d+)(?:-of-(\d+))?(?:-[0-9a-f]{16})?")
_WORD = re.compile(r"[-_.]")
UNDIVIDED = ""
_SHOWN = 5


class Shard(NamedTuple):
    """A file with what its name says; ``total`` is None where it says nothing about that."""

    prefix: str
    number: int
    total: int | None
    path: Path


def parse(path: Path) -> Shard | None:
    """What a file's name says; None where it has no number."""
    found = _NAME.fullmatch(path.stem)
    return Shard(found[1] or "", int(found[2]), int(found[3]) if found[3] else None, path) if found else None


def is_pattern(path: Path) -> bool:
    """Whether the last part of the path has a ``*``, a ``?`` or a ``[``, and no file of that very name is there."""
    return any(sign in path.name for sign in "*?[") and not path.exists()


def numbered(path: Path, suffix: str) -> bool:
    """Whether there are numbered files with this ending at ``path``, a folder or a pattern."""
    return any(parse(file) for files in candidates(path, suffix).values() for file in files)


def candidates(path: Path, suffix: str) -> dict[str, list[Path]]:
    """Files with this ending by the subfolder that names their part (``""`` where none does)."""
    if is_pattern(path):
        return {UNDIVIDED: _files(path.parent.glob(path.name), suffix)}
    if not path.is_dir():
        return {UNDIVIDED: _files([path], suffix)}
    inside = _files(path.iterdir(), suffix) or _files((path / "data").glob("*"), suffix)
    if inside:
        return {UNDIVIDED: inside}
    below = {part.name: _files(part.iterdir(), suffix) for part in path.iterdir() if _names_part(part)}
    return {name: files for name, files in below.items() if files}


def find_shards(path: Path, split: str, suffix: str) -> list[Path]:
    """The files of the part that ``split`` means, in the order of their numbers.

    Args:
        path: a file, a folder or a pattern.
        split: as for every source, see ``sources/split.py``.
        suffix: ``".tar"`` or ``".parquet"``.

    Raises:
        DataError: there are none, the part is missing, or a shard is missing in a folder.
    """
    found = candidates(path, suffix)
    parts = _by_prefix(found[UNDIVIDED], path) if UNDIVIDED in found else {name: found[name] for name in found}
    if not any(parts.values()):
        raise DataError(message(str(path), received=f"no file *{suffix}", allowed="at least one"))
    if set(parts) == {UNDIVIDED}:
        check_undivided(split, path)
        chosen = parts[UNDIVIDED]
    else:
        chosen = parts[choose_part(sorted(parts), split, path)]
    return _in_order(chosen, complete=path.is_dir())


def _files(paths: Iterable[Path], suffix: str) -> list[Path]:
    return sorted(path for path in paths if path.suffix == suffix and not is_hidden(path.name) and path.is_file())


def _names_part(path: Path) -> bool:
    return path.name.lower() in PARTS and path.is_dir()


def _by_prefix(files: list[Path], place: Path) -> dict[str, list[Path]]:
    """Files by part; one prefix alone that names no part is an undivided data set."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        shard = parse(file)
        groups.setdefault(file.stem if shard is None else shard.prefix, []).append(file)
    parts: dict[str, list[Path]] = {}
    for prefix, group in groups.items():
        word = _WORD.split(prefix)[-1].lower()
        part = word if word in PARTS else UNDIVIDED if len(groups) == 1 else prefix
        if part in parts:
            received = f"{parts[part][0].name} and {group[0].name}"
            raise DataError(message(str(place), received=received, allowed=f"one set of shards for {part!r}"))
        parts[part] = group
    return parts


def _in_order(files: list[Path], *, complete: bool) -> list[Path]:
    shards = sorted(shard for file in files if (shard := parse(file)) is not None)
    if not shards:
        return files
    numbers = [shard.number for shard in shards]
    first = min(numbers[0], 1)
    wanted = list(range(first, first + (shards[0].total or numbers[-1] + 1 - first)))
    if len(shards) < len(files) or (complete and numbers != wanted):
        missing = ", ".join(map(str, sorted(set(wanted) - set(numbers))[:_SHOWN])) or "none"
        raise DataError(
            message(
                f"shards {files[0]} to {files[-1].name}",
                received=f"{len(files)} files, {len(shards)} of them numbered {numbers[0]} to {numbers[-1]}; "
                f"missing: {missing}",
                allowed="every number from 0 or 1 on, once",
                fix="Fetch what is missing and remove what does not belong there; a pattern reads a part of them.",
            )
        )
    return [shard.path for shard in shards]
