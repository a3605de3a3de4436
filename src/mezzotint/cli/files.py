"""How does a command write a file, or tell of one that is not there? Never over another, and with a word that helps."""

from __future__ import annotations

import os
from pathlib import Path

from mezzotint.errors import InputError, message, suggest


def refuse_present(path: Path) -> None:
    """Check before any work is done that ``path`` is free.

    Raises:
        InputError: something is there.
    """
    if path.exists() or path.is_symlink():
        fix = "Name another file with -o, or move that one away."
        raise InputError(message("--output", received=f"{str(path)!r}, which exists", allowed="a new file", fix=fix))


def require_folder(path: Path) -> None:
    """Check before any work is done that files can be written into ``path``, a folder that need not exist.

    Raises:
        InputError: it is a file, lies below one, or may not be written to.
    """
    there = next(one for one in (path, *path.absolute().parents) if os.path.exists(one))  # Path.exists may raise
    if not there.is_dir():
        what = "which is a file" if there == path else f"below {str(there)!r}, which is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        what = f"and {str(there)!r} cannot be written to"
    else:
        return
    allowed, fix = "a folder, or a new name", "Name another place with -o."
    raise InputError(message("--output", received=f"{str(path)!r}, {what}", allowed=allowed, fix=fix))


def written(path: Path, text: str) -> None:
    """Write a new file, in folders that are made where they are missing.

    Raises:
        InputError: it exists, or the system refuses; nothing is left behind then.
    """
    began = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            began = True
            file.write(text)
    except FileExistsError:
        refuse_present(path)
        raise
    except OSError as error:
        if began:
            path.unlink(missing_ok=True)
        fix = "Name another place with -o, or make room."
        received = f"{str(path)!r} ({error.strerror or error})"
        raise InputError(
            message("--output", received=received, allowed="a place that can be written", fix=fix)
        ) from error


def near_to(path: Path, *more: str) -> str:
    """A sentence about a path that is not there: what lies beside it under a similar name, or where one looked.

    Args:
        path: that does not exist.
        more: names that would do as well.
    """
    above = path.absolute().parent
    beside = [item.name for item in above.iterdir()] if above.is_dir() else []
    return suggest(path.name, [*beside, *more]).strip() or f"Looked at {path.absolute()}."
