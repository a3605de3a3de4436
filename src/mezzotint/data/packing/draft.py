"""What is left when packing is killed? The archive so far and a journal of it, from which the same command goes on.

Beside ``OUT.tar`` lie ``OUT.tar.part`` and ``OUT.tar.journal``. The journal's first line holds the settings; then
comes a JSON array for each sample, ``[name, offset, length, label, checksum]`` or, for one that was left out,
``[name, reason]``. Lines are written when the bytes that they tell of are on the disk, so whatever the archive has
beyond them is cut off and done again. At the end the index is put in its place, then the archive, and the journal goes.
"""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mezzotint.data.packing.recode import Encoded
from mezzotint.data.sources.packed import key_of
from mezzotint.data.sources.packindex import IndexRows, index_path, to_bytes
from mezzotint.data.sources.tarindex import BLOCK
from mezzotint.durable import sync_folder, write_durably
from mezzotint.errors import DataError, message

Settings = Mapping[str, Any]


class Draft:
    """An archive that is being written. Use it as a context; one process at a time.

    Attributes:
        rows: the images so far.
        skipped: (name, reason) of the samples that were left out.
    """

    def __init__(self, output: Path, settings: Settings, *, overwrite: bool = False) -> None:
        """Begin, or go on where an earlier process with the same settings ended.

        Raises:
            DataError: the archive exists, an unfinished one has other settings, or another process is at it.
            OSError: the system refuses.
        """
        self.output = output
        self.rows = IndexRows()
        self.skipped: list[tuple[str, str]] = []
        self._end = 0
        self._lines: list[str] = []
        self._part_path, self._journal_path = part_path(output), journal_path(output)
        if not overwrite:
            _refuse_finished(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        self._part = os.fdopen(os.open(self._part_path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            _lock(self._part_path, self._part.fileno())
            self._resume_or_begin(settings, overwrite)
        except BaseException:
            self._part.close()
            raise

    def _resume_or_begin(self, settings: Settings, overwrite: bool) -> None:
        lines = read_journal(self._journal_path)
        found, whole = next(lines, (None, 0))
        if found == settings:
            for row, end in lines:
                self._take(row)
                whole = end
        length = os.fstat(self._part.fileno()).st_size
        goes_on = found == settings and self._end <= length
        if not goes_on:
            if found is not None and not overwrite:
                raise _other_draft(self._part_path, found, settings, length)
            self.rows, self.skipped, self._end, whole = IndexRows(), [], 0, 0
        self._part.truncate(self._end)
        self._part.seek(self._end)
        self._journal = self._journal_path.open("r+b" if goes_on else "w+b")
        self._journal.truncate(whole)
        self._journal.seek(whole)
        if not goes_on:
            self._lines = [_line(settings)]
            self.commit()
            sync_folder(self.output.parent)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        self._part.close()

    def __len__(self) -> int:
        """Samples that are done, those left out included."""
        return len(self.rows) + len(self.skipped)

    def add(self, image: Encoded) -> None:
        """Write an image and its label."""
        content = image.content
        key = key_of(len(self.rows))
        row = [image.name, self._end + BLOCK, len(content), image.label, zlib.crc32(content)]
        self._part.write(member(f"{key}.{image.extension}", content) + member(f"{key}.cls", b"%d" % image.label))
        self._take(row)
        self._lines.append(_line(row))

    def skip(self, name: str, reason: str) -> None:
        """Note that a sample is left out."""
        self._take([name, reason])
        self._lines.append(_line([name, reason]))

    def commit(self) -> None:
        """Make what was done durable: first the archive, then the journal's lines about it."""
        _sync(self._part)
        self._journal.write("".join(self._lines).encode())
        _sync(self._journal)
        self._lines = []

    def finish(self, *, classes: tuple[str, ...], size: int | None, quality: int) -> int:
        """Put archive and index in their places; the archive's length in bytes."""
        self._part.write(bytes(2 * BLOCK))
        self.commit()
        total = self._end + 2 * BLOCK
        index = self.rows.index(classes=classes, size=size, quality=quality, archive_bytes=total)
        place = index_path(self.output)
        beside = part_path(
            place
        )  # one name for all tries, so that a kill leaves nothing that the next does not replace
        write_durably(beside, to_bytes(index))
        beside.replace(place)
        self._part_path.replace(self.output)
        sync_folder(self.output.parent)
        self._journal_path.unlink(missing_ok=True)  # the same call in another process may have seen that all is done
        return total

    def _take(self, row: list[Any]) -> None:
        if len(row) == 2:
            self.skipped.append((row[0], row[1]))
        else:
            _, offset, length, *_ = row
            self.rows.append(*row)
            self._end = offset + (length + BLOCK - 1) // BLOCK * BLOCK + 2 * BLOCK  # the label: a header and a block


def part_path(output: Path) -> Path:
    """Where the archive is while it grows."""
    return output.with_name(output.name + ".part")


def journal_path(output: Path) -> Path:
    """Where the journal is."""
    return output.with_name(output.name + ".journal")


def member(name: str, content: bytes) -> bytes:
    """A regular file as a tar holds it: header, content, zeros to the next block. Owner and time are always zero."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def finished_before(output: Path, settings: Settings) -> list[tuple[str, str]] | None:
    """What was left out of an archive that lies whole in its place while its journal was not removed; else None."""
    if part_path(output).exists() or not output.exists() or not index_path(output).exists():
        return None
    lines = read_journal(journal_path(output))
    found, _ = next(lines, (None, 0))
    return [(row[0], row[1]) for row, _ in lines if len(row) == 2] if found == settings else None


def read_journal(path: Path) -> Iterator[tuple[Any, int]]:
    """The value of each line, the settings first, with the bytes up to its end. Stops where a line is not whole."""
    try:
        with path.open("rb") as file:
            end = 0
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                yield json.loads(line), end
    except (FileNotFoundError, ValueError):  # ValueError: zeros that a power failure leaves in place of a line
        return


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _refuse_finished(output: Path) -> None:
    if output.exists():
        fix = "Name another file with -o, or replace it with --overwrite."
        raise DataError(message(f"output {output}", received="a file that exists", allowed="a new file", fix=fix))


def _lock(path: Path, descriptor: int) -> None:
    """Keep other processes away until the file is closed; refuse a file that another has just finished and moved."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return
    except BlockingIOError:
        pass
    received = "a file that another process is writing"
    raise DataError(message(str(path), received=received, allowed="one process", fix="Wait for it, or stop it."))


def _other_draft(part: Path, found: Settings, settings: Settings, length: int) -> DataError:
    changed = [
        f"{key} {found.get(key)!r} -> {settings.get(key)!r}"
        for key in sorted({*found, *settings})
        if found.get(key) != settings.get(key)
    ]
    received = f"an unfinished archive with other settings ({'; '.join(changed)})"
    if not changed:
        received = f"an unfinished archive cut to {length} bytes, fewer than its journal tells of"
    fix = "Give the command that began it, or begin anew with --overwrite."
    return DataError(message(str(part), received=received, allowed="one with the same settings", fix=fix))


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
