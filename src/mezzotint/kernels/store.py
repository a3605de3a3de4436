"""Which measured decisions lie on the disk? One JSON file a machine, shared by every process that measures there.

A file belongs to a processor, the instruction-set variant of the native kernels and a number of threads. In it,
decisions are kept by the versions of torch, mezzotint and the native library, then by problem. The first process that
stores a decision wins: others take it over, so that all of them, and every resumed run, choose the same kernel.

Nothing here may stop a run: a file that is damaged is set aside, a folder that cannot be written is told once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import message
from mezzotint.kernels import native
from mezzotint.kernels.hardware import processor_model
from mezzotint.kernels.problem import Problem
from mezzotint.kernels.table import KERNELS

if sys.platform != "win32":
    import fcntl

_FORMAT = 1
#: Sets of versions kept in a file, the newest ones.
_VERSIONS_KEPT = 8
#: Seconds that a process waits for another one's lock; then it goes on without: the rename stays atomic.
_PATIENCE = 2.0

_log = logging.getLogger(__name__)
_told: set[tuple[str, Path | None]] = set()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A measured decision as it is stored.

    Attributes:
        kernel: the winner's name.
        milliseconds: kernel name -> median.
        kernels: fingerprint of the operator's kernels when it was measured; another set is measured anew.
    """

    kernel: str
    milliseconds: dict[str, float]
    kernels: str


Usable = Callable[[Entry], bool]


def folder() -> Path | None:
    """``$MEZZOTINT_CACHE``, else ``$XDG_CACHE_HOME/mezzotint``, else ``~/.cache/mezzotint``; None without a home."""
    own, shared = os.environ.get("MEZZOTINT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        if own:
            return Path(own).expanduser()
        # A relative XDG_CACHE_HOME is to be ignored, says the XDG Base Directory Specification.
        base = Path(shared) if shared and Path(shared).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "mezzotint"


def file_for(problem: Problem) -> Path | None:
    """The file for decisions about ``problem``: of this processor, its variant, and the problem's threads."""
    place = folder()
    if place is None:
        return None
    machine = json.dumps(_machine(problem), sort_keys=True)
    words = re.sub(r"[^a-z0-9]+", "-", f"{processor_model()} {_variant()} {problem.threads} threads".lower()).strip("-")
    return place / f"kernels-{words[:80]}-{_digest(machine.encode(), 8)}.json"


def find(problem: Problem, usable: Usable) -> tuple[Entry, Path] | None:
    """The stored decision for ``problem`` (a bucket's), if there is one that ``usable`` accepts, and its file."""
    place = file_for(problem)
    if place is None:
        return None
    try:
        entry = _entry(_load(place), problem)
    except OSError:
        return None  # no file yet, or none that may be read
    return None if entry is None or not usable(entry) else (entry, place)


def settle(problem: Problem, entry: Entry, usable: Usable) -> tuple[Entry, Path | None]:
    """Store ``entry``, unless another process has stored a usable one meanwhile; the decision that holds, and its file.

    The file is ``None`` when nothing can be stored; the log has told why.
    """
    place = file_for(problem)
    try:
        if place is None:
            raise OSError("there is no home folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place):
            content = _load_locked(place)
            meanwhile = _entry(content, problem)
            if meanwhile is not None and usable(meanwhile):
                return meanwhile, place
            _write(place, _merged(content, problem, entry))
    except OSError as error:
        _tell_unwritable(place, error)
        return entry, None
    return entry, place


def fingerprint(op: str) -> str:
    """Of the set of kernels that operator ``op`` has."""
    kernels = sorted((k.name, *k.constraints()) for k in KERNELS.of(op))
    return _digest(json.dumps(kernels).encode(), 12)


# -- content ------------------------------------------------------------------------------------------------------


def _machine(problem: Problem) -> dict[str, Any]:
    return {"processor": processor_model(), "isa": _variant(), "threads": problem.threads}


def _variant() -> str:
    return "none" if native.unavailable() else native.isa()


def _versions() -> str:
    try:
        own = version("mezzotint")
    except PackageNotFoundError:
        own = "0+source"
    return f"torch {torch.__version__}, mezzotint {own}, native {_native_library()}"


@lru_cache
def _native_library() -> str:
    """Fingerprint of the compiled kernels; a build without a new version number has other times, too."""
    file = getattr(sys.modules.get("mezzotint._native"), "__file__", None)
    try:
        return "none" if file is None else _digest(Path(file).read_bytes(), 12)
    except OSError:
        return "unknown"


def _key(problem: Problem) -> str:
    name = f" ({torch.cuda.get_device_name()})" if problem.device == "cuda" else ""
    return problem.summary() + name


def _entry(content: dict[str, Any], problem: Problem) -> Entry | None:
    """The entry for ``problem`` if it is there, whole, and measured with the kernels of today."""
    stored = content.get(_versions(), {}).get(_key(problem))
    try:
        times = {str(name): float(value) for name, value in stored["milliseconds"].items()}
        entry = Entry(kernel=str(stored["kernel"]), milliseconds=times, kernels=str(stored["kernels"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    return entry if entry.kernels == fingerprint(problem.op) else None


def _merged(content: dict[str, Any], problem: Problem, entry: Entry) -> dict[str, Any]:
    versions = _versions()
    section = {**content.pop(versions, {}), _key(problem): asdict(entry)}
    kept = dict(list(content.items())[-(_VERSIONS_KEPT - 1) :])
    return {"format": _FORMAT, **_machine(problem), "decisions": {**kept, versions: section}}


# -- file ---------------------------------------------------------------------------------------------------------


def _parsed(place: Path) -> dict[str, Any]:
    """Versions -> problem -> entry. A missing file is empty; a damaged one is a ValueError."""
    try:
        whole = json.loads(place.read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(whole, dict) or whole.get("format") != _FORMAT:
        raise ValueError(f"it is not a table of format {_FORMAT}")
    sections = whole.get("decisions")
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise ValueError("its decisions are not a table of tables")
    return sections


def _load(place: Path) -> dict[str, Any]:
    """The content of the file; a damaged one is set aside and counts as empty."""
    try:
        return _parsed(place)
    except ValueError as error:
        try:
            with _locked(place):
                return _load_locked(place)
        except OSError:
            _tell_damaged(place, error, "the file stays where it is, as its folder cannot be written")
            return {}


def _load_locked(place: Path) -> dict[str, Any]:
    """As :func:`_load`, for those who hold the lock: nobody else can have put a good file there meanwhile."""
    try:
        return _parsed(place)
    except ValueError as error:
        aside = place.with_suffix(".damaged")
        place.replace(aside)
        _tell_damaged(place, error, f"the damaged file is kept as {aside}")
        return {}


def _tell_damaged(place: Path, error: ValueError, kept: str) -> None:
    if ("damaged", place) not in _told:
        _told.add(("damaged", place))
        fix = f"Kernels are measured anew; {kept}."
        received = f"a damaged file ({error})"
        _log.warning(message(f"stored kernel choices {place}", received=received, allowed="what was stored", fix=fix))


def _tell_unwritable(place: Path | None, error: OSError) -> None:
    if ("unwritable", place) not in _told:
        _told.add(("unwritable", place))
        _log.warning(
            message(
                f"measured kernel choices cannot be stored in {place}",
                received=error.strerror or str(error),
                allowed="a folder that can be written",
                fix="They are kept in memory and measured anew by the next run. Set MEZZOTINT_CACHE to another folder.",
            )
        )


def _write(place: Path, whole: dict[str, Any]) -> None:
    """Replace the file: a reader sees the old content or the new, never a part."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(place)
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep other processes from changing the file; where the lock is not to be had, go on without."""
    with place.with_suffix(".lock").open("a") as lock:
        if sys.platform != "win32":
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:
                    break  # a file system without locks
        yield


def _digest(content: bytes, length: int) -> str:
    return hashlib.sha256(content).hexdigest()[:length]
