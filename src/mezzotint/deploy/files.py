"""How does an exported file appear whole or not at all, and how is a refusal of the system told?"""

from __future__ import annotations

from pathlib import Path

from mezzotint.data.durable import replace_file
from mezzotint.errors import InputError, message


def write_whole(path: Path, content: bytes) -> None:
    """Make or replace ``path``; whoever reads it sees the old content or the new, never a part.

    Raises:
        InputError: the system refuses; what was there before is untouched.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise InputError(
            message(
                f"output file {path}",
                received=f"the system error {error.strerror or error}",
                allowed="a file in a folder that exists and can be written",
                fix="Make the folder or make room, or name another place.",
            )
        ) from error
