"""How is a checkpoint written so that a crash at any moment leaves a good one, and how does damage show?

A checkpoint is a folder ``step-00000469`` with safetensors files and ``state.json``, which holds everything that
is no tensor and the SHA-256 of the other files and of itself. It is written under another name, made durable and
renamed, so that a folder with that name is complete; the text file ``latest`` names the newest. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mezzotint.durable import replace_file, sync_folder, write_durably
from mezzotint.errors import CheckpointError, RunError, message
from mezzotint.train.tensors import storable

FORMAT: Final = 1
TENSORS: Final = ("model", "optimizer", "topology", "average", "ages")
"""The safetensors files of a checkpoint."""
OPTIONAL: Final = frozenset({"average", "ages"})
"""Those of ``TENSORS`` that are not written when they are empty; older checkpoints lack the ages."""
_STATE: Final = "state.json"
_LATEST: Final = "latest"
_PREFIX: Final = "step-"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        folder: where it lies.
        state: the content of ``state.json``, without format and checksums.
        tensors: each of ``TENSORS`` -> tensors by name; "average" is empty for a run without averages.
    """

    folder: Path
    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def save(
    root: Path, step: int, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], keep: int
) -> Path:
    """Write ``root/step-…``, point ``latest`` to it, and remove all but the ``keep`` newest up to this step.

    Args:
        root: the folder of checkpoints; made when absent.
        step: number of steps done.
        state: JSON-ready.
        tensors: for each name of ``TENSORS``; those of ``OPTIONAL`` may be left out.
        keep: at least 1.

    Raises:
        RunError: the disk refuses; the checkpoints that were there before are untouched.
    """
    name = f"{_PREFIX}{step:08d}"
    part = root / f".{name}.{os.getpid()}.part"
    try:
        root.mkdir(exist_ok=True)
        _sweep(root)
        part.mkdir()
        _write(part, state, tensors)
        _rename(part, root / name)
        replace_file(root / _LATEST, f"{name}\n".encode())
        _remove_old(root, name, keep)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(
            message(
                f"checkpoint {root / name}",
                received=f"the system error {error.strerror or error}",
                allowed="a folder that can be written, with space left",
                fix="Make room, then go on with --resume: the checkpoints before this one are whole.",
            )
        ) from error
    return root / name


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint and check every byte of it.

    Raises:
        CheckpointError: a file is missing, truncated or altered. The message names it and the checkpoints beside it
            that are whole.
    """
    try:
        return _load(folder)
    except _Damage as damage:
        raise CheckpointError(
            message(
                f"checkpoint file {damage.file}",
                received=damage.what,
                allowed="the file as it was saved",
                fix=_remedy(folder),
            )
        ) from damage


def find(root: Path, name: str | None = None) -> Path:
    """The folder of the checkpoint ``name`` below ``root``, or of the newest.

    Raises:
        CheckpointError: there is none, or none of that name.
    """
    known = names(root)
    if not known:
        raise CheckpointError(
            message(
                f"checkpoints in {root}",
                received="none",
                allowed="at least one",
                fix="The run ended before it saved anything: start it anew, without --resume, in another folder.",
            )
        )
    if name is None:
        latest = root / _LATEST
        name = latest.read_text(encoding="utf-8").strip() if latest.is_file() else known[-1]
    if name not in known:
        fix = f"`mezzotint train CONFIG --from {known[-1]}` goes on from the newest of them."
        raise CheckpointError(message(f"checkpoint in {root}", received=name, allowed=", ".join(known), fix=fix))
    return root / name


def locate(path: Path | str) -> Path:
    """The checkpoint folder that a user means: itself, or the newest of a run folder.

    Raises:
        CheckpointError: ``path`` is neither; with what it is, and what was probably meant.
    """
    place = Path(path)
    if (place / _STATE).is_file() or place.name.startswith(_PREFIX):
        return place
    if (place / "checkpoints").is_dir():
        return find(place / "checkpoints")
    if place.is_dir() and names(place):
        return find(place)
    what, fix = _something_else(place)
    raise CheckpointError(
        message(
            f"checkpoint {str(path)!r}",
            received=what,
            allowed="a run folder, or a folder below its checkpoints/",
            fix=fix,
        )
    )


def _something_else(place: Path) -> tuple[str, str]:
    """What a path without a checkpoint is, and what to do."""
    if place.is_file():
        return "a file", "Name the run: a file that `mezzotint export` wrote does not know its data set."
    if not place.is_dir():
        return "a path that does not exist", "`mezzotint train` writes run folders below runs/."
    runs = sorted(item.name for item in place.iterdir() if (item / "checkpoints").is_dir())
    if runs:
        return "a folder of runs", f"Name one of them: {', '.join(runs[:8])}{', ...' if len(runs) > 8 else ''}."
    return "a folder without checkpoints", "`mezzotint train` writes run folders below runs/."


def names(root: Path) -> list[str]:
    """The checkpoints below ``root``, the oldest first."""
    found = [item.name for item in root.iterdir() if item.name.startswith(_PREFIX)] if root.is_dir() else []
    return sorted(found, key=lambda name: (len(name), name))


def whole(root: Path) -> list[str]:
    """The checkpoints below ``root`` that pass every check, the oldest first."""
    return [name for name in names(root) if _is_whole(root / name)]


class _Damage(Exception):
    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{file}: {what}")
        self.file = file
        self.what = what


def _write(folder: Path, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    files = {}
    for name, content_of in tensors.items():
        if not content_of and name in OPTIONAL:
            continue
        content = safetensors.torch.save(storable(content_of))
        write_durably(folder / f"{name}.safetensors", content)
        files[f"{name}.safetensors"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    whole_state = {"format": FORMAT, **state, "files": files}
    text = json.dumps({**whole_state, "checksum": _checksum(whole_state)}, indent=1)
    write_durably(folder / _STATE, text.encode())
    sync_folder(folder)


def _sweep(root: Path) -> None:
    """Remove what a killed process left half-written; only one process at a time works in a run folder."""
    for rest in root.glob(f".{_PREFIX}*"):
        shutil.rmtree(rest)


def _rename(part: Path, target: Path) -> None:
    """Put the new folder in place; one of the same step (of a run that was resumed further back) makes room."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _remove_old(root: Path, newest: str, keep: int) -> None:
    known = names(root)
    for name in known[: max(0, known.index(newest) + 1 - keep)]:
        shutil.rmtree(root / name)


def _load(folder: Path) -> Checkpoint:
    state = _read_state(folder / _STATE)
    files = state.pop("files")
    present = {name for name in TENSORS if name not in OPTIONAL or f"{name}.safetensors" in files}
    tensors = {
        name: _read_tensors(folder / f"{name}.safetensors", files) if name in present else {} for name in TENSORS
    }
    return Checkpoint(folder=folder, state=state, tensors=tensors)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise _Damage(file, "nothing: it is missing") from None
    except OSError as error:
        raise _Damage(file, f"the system error {error.strerror or error}") from error


def _read_state(file: Path) -> dict[str, Any]:
    content = _read(file)
    try:
        state = json.loads(content)
        if state["format"] != FORMAT:
            raise _Damage(file, f"format {state['format']}, but this version of mezzotint reads format {FORMAT}")
        checksum = state.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Damage(file, f"text that is truncated or altered ({len(content)} bytes)") from error
    if checksum != _checksum(state):
        raise _Damage(file, "text that does not match its checksum")
    del state["format"]
    return dict(state)


def _read_tensors(file: Path, files: Mapping[str, Any]) -> dict[str, Tensor]:
    content, expected = _read(file), files[file.name]
    if len(content) != expected["bytes"]:
        raise _Damage(file, f"{len(content)} of {expected['bytes']} bytes: it is truncated")
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise _Damage(file, "content that does not match its checksum")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise _Damage(file, f"no safetensors content ({error})") from error


def _checksum(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        _load(folder)
    except _Damage:
        return False
    return True


def _remedy(folder: Path) -> str:
    others = [name for name in whole(folder.parent) if name != folder.name]
    if others:
        listed = ", ".join(others)
        return (
            f"Whole checkpoints beside it: {listed}. `mezzotint train CONFIG --from {others[-1]}` goes on from there."
        )
    return "No other checkpoint of the run is whole: start it anew in another folder."
