"""How does an exported file appear whole or not at all, and what is a file that is none of ours?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mezzotint.durable import replace_file
from mezzotint.errors import InputError, message

#: First bytes -> what it is, and what to do.
_BEGINNINGS: Final = (
    (b"version https://git-lfs", "the pointer of a file that Git LFS keeps elsewhere: fetch it with `git lfs pull`"),
    (
        b"PK\x03\x04",
        "a zip archive, such as torch.save and torch.export write: load it with PyTorch, and use "
        "Session(model) or mezzotint.deploy.export(model, ...)",
    ),
    (b"\x80\x02", "a pickle, such as torch.save once wrote: load it with PyTorch, and use Session(model)"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file, such as Keras writes: export it as ONNX with Keras"),
)


def known_content(content: bytes) -> str | None:
    """What a file is that people take for a network, by its first bytes; None where nothing is known of it."""
    if not content:
        return "an empty file"
    if content[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page: what was to be downloaded lies behind another address"
    return next((told for beginning, told in _BEGINNINGS if content.startswith(beginning)), None)


def write_whole(path: Path, content: bytes) -> None:
    """Make or replace ``path``, in a folder that is made when absent.

    Whoever reads it sees the old content or the new, never a part.

    Raises:
        InputError: the system refuses; what was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise InputError(
            message(
                f"output file {path}",
                received=f"the system error {error.strerror or error}",
                allowed="a file in a folder that can be written",
                fix="Make room, or name another place.",
            )
        ) from error
