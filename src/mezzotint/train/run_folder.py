"""What does a run leave behind, and in which files? The folder that the report reads and a resumed run goes on in.

``metrics.jsonl`` holds deterministic values only, so that two equal runs write equal bytes; times go to
``timing.jsonl``. A checkpoint remembers how long both files were, and a resumed run cuts them back to that.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, TypeVar

from mezzotint.durable import replace_file, replace_json
from mezzotint.errors import RunError, message


class RunLocked(RunError):
    """Another process trains in the run folder."""


_LOGS: Final = ("metrics.jsonl", "timing.jsonl")
_LOCK: Final = ".lock"
T = TypeVar("T")


def default_folder(name: str) -> Path:
    """Where a run of that name lies if nothing else is said."""
    return Path("runs") / name


def refuse_existing(path: Path) -> None:
    """Check before any work is done that a new run can live in ``path``.

    Raises:
        RunError: something is there already; it is left as it is.
    """
    if path.is_file():
        raise RunError(message("run folder", received=f"{str(path)!r}, which is a file", allowed="a folder"))
    if path.is_dir() and any(path.iterdir()):
        what = "which holds a run" if (path / "config.toml").exists() else "which is not empty"
        fix = "Go on with --resume, or name another folder with -o (or another name in the configuration)."
        if (path / "config.toml").exists() and not any(path.glob("checkpoints/step-*")):
            what = "which holds a run that never came to its first checkpoint"
            fix = "Remove it, or name another folder with -o."
        raise RunError(
            message("run folder", received=f"{str(path)!r}, {what}", allowed="a folder that is new or empty", fix=fix)
        )


def discard_unstarted(path: Path) -> None:
    """Remove what a run left that was killed before its first checkpoint; a run that has one is left as it is.

    Raises:
        RunLocked: another process is just starting it.
    """
    if not path.is_dir() or any(path.glob("checkpoints/step-*")):
        return
    with claimed(path, path / _LOCK):
        if not any(path.glob("checkpoints/step-*")):
            shutil.rmtree(path)


class RunFolder:
    """The open folder of a run; one process at a time. Use it as a context."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        """Used by :meth:`create` and :meth:`reopen`."""
        self.path = path
        self._lock = lock
        self._logs = {name: (path / name).open("ab") for name in _LOGS}

    @classmethod
    def create(cls, path: Path, config_text: str, environment: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run.

        Raises:
            RunError: it exists and is not empty, or cannot be written.
        """
        refuse_existing(path)

        def make() -> RunFolder:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, claimed(path, path / _LOCK))
            replace_file(path / "config.toml", config_text.encode())
            replace_json(path / "environment.json", {**environment, "resumed": []})
            return folder

        return _told(path, make)

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Open the folder of a run that is to go on.

        Raises:
            RunLocked: another process trains in it.
            RunError: there is no run, or it cannot be written.
        """
        if not (path / "config.toml").is_file():
            raise RunError(
                message(
                    "run folder to resume",
                    received=f"{str(path)!r}, which holds no run",
                    allowed="the folder of a run that was started",
                    fix="Leave --resume out to start it, or name its folder with -o.",
                )
            )
        return _told(path, lambda: cls(path, claimed(path, path / _LOCK)))

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for log in self._logs.values():
            log.close()
        self._lock.close()

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Append a line to ``metrics.jsonl``; numbers that are not finite become null."""
        self._append("metrics.jsonl", row)

    def timing(self, row: Mapping[str, Any]) -> None:
        """Append a line to ``timing.jsonl``."""
        self._append("timing.jsonl", row)

    def write_json(self, name: str, value: Any) -> None:
        """Replace the file ``name`` by ``value`` as JSON."""
        _told(self.path / name, lambda: replace_json(self.path / name, value))

    def offsets(self) -> dict[str, int]:
        """The lengths of the logs in bytes, once they lie on the disk."""
        for log in self._logs.values():
            log.flush()
            os.fsync(log.fileno())
        return {name: log.tell() for name, log in self._logs.items()}

    def cut(self, offsets: Mapping[str, int]) -> None:
        """Cut the logs back to the lengths that a checkpoint remembers.

        Raises:
            RunError: a log is shorter than that: it was changed by somebody else.
        """
        for name, log in self._logs.items():
            wanted, length = int(offsets[name]), (self.path / name).stat().st_size
            if length < wanted:
                raise RunError(
                    message(
                        str(self.path / name),
                        received=f"{length} bytes",
                        allowed=f"at least {wanted}, as when the checkpoint was saved",
                        fix="The file was changed since: put it back, or start the run anew in another folder.",
                    )
                )
            log.truncate(wanted)
            log.seek(0, os.SEEK_END)

    def note_resumption(self, step: int, environment: Mapping[str, Any]) -> None:
        """Record in ``environment.json`` where and when the run went on."""
        file = self.path / "environment.json"
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {**environment, "resumed": []}  # a lost note about the past must not stop the run
        known["resumed"] = [*known.get("resumed", []), {"step": step, **environment}]
        self.write_json("environment.json", known)

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        text = json.dumps(_finite(row), allow_nan=False)

        def write() -> None:
            self._logs[name].write(f"{text}\n".encode())
            self._logs[name].flush()

        _told(self.path / name, write)


class NoFolder:
    """What a rank that writes nothing has in the place of a :class:`RunFolder`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Nowhere."""
        return self.path / "checkpoints"

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def timing(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_json(self, name: str, value: Any) -> None:
        """Nothing."""

    def offsets(self) -> dict[str, int]:
        """Nothing has been written."""
        return dict.fromkeys(_LOGS, 0)

    def cut(self, offsets: Mapping[str, int]) -> None:
        """Nothing."""

    def note_resumption(self, step: int, environment: Mapping[str, Any]) -> None:
        """Nothing."""


Folder = RunFolder | NoFolder


def _finite(value: Any) -> Any:
    """The value with NaN and infinities, which JSON does not know, replaced by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def claimed(path: Path, lock: Path) -> IO[bytes]:
    """The exclusive lock of the run folder ``path`` in the file ``lock``; it ends with the process, however that ends.

    Raises:
        RunLocked: another process holds it.
    """
    file = lock.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise RunLocked(
            message(
                "run folder",
                received=f"{str(path)!r}, in which another process is training",
                allowed="one process at a time",
                fix="Wait for it or stop it, or name another folder with -o.",
            )
        ) from error
    return file


def _told(path: Path, action: Callable[[], T]) -> T:
    """The action's result; a refusal of the operating system as an error that names the place and the remedy."""
    try:
        return action()
    except OSError as error:
        raise RunError(
            message(
                "run folder",
                received=f"{str(error.filename or path)!r} ({error.strerror or error})",
                allowed="a folder that can be written, with space left",
                fix="Name another folder with -o, or change its permissions.",
            )
        ) from error
