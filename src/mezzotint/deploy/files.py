"""How does an exported file appear whole or not at all? Written beside its place, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

from mezzotint.errors import InputError, message


def write_whole(path: Path, content: bytes) -> None:
    """Make or replace ``path``; whoever reads it sees the old content or the new, never a part.

    Raises:
        InputError: the system refuses; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            message(
                f"output file {path}",
                received=f"the system error {error.strerror or error}",
                allowed="a file in a folder that exists and can be written",
                fix="Make the folder or make room, or name another place.",
            )
        ) from error
