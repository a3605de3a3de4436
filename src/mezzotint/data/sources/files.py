"""Which files of a folder are images? By the extension where it is a known one, otherwise by the first bytes.

Hidden files and folders (names that begin with a dot) and ``__MACOSX`` are never looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mezzotint.data.magic import HEAD_BYTES, image_format

_IMAGE_EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff")
)
_OTHER_EXTENSIONS = frozenset((".txt", ".csv", ".json", ".xml", ".md", ".mat", ".py", ".npy", ".pdf", ".html", ".db"))


def has_image_extension(name: str) -> bool:
    """Whether the name ends like that of an image, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in _IMAGE_EXTENSIONS


def has_other_extension(name: str) -> bool:
    """Whether the name ends like that of a known file that is no image, such as a text or a table."""
    return os.path.splitext(name)[1].lower() in _OTHER_EXTENSIONS


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether the file is to be taken for an image; a damaged file with an image's extension is."""
    if has_image_extension(os.fspath(path)):
        return True
    if has_other_extension(os.fspath(path)):
        return False
    with open(path, "rb") as file:
        return image_format(file.read(HEAD_BYTES)) is not None


def subfolders(folder: Path) -> list[str]:
    """The names of the visible folders directly inside, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))


def images_directly_in(folder: Path) -> list[str]:
    """The names of the images directly inside, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file() and not is_hidden(entry.name))
    return [name for name in names if is_image(folder / name)]


def has_images_directly_in(folder: Path) -> bool:
    """Whether at least one image lies directly inside; stops at the first."""
    with os.scandir(folder) as entries:
        return any(entry.is_file() and not is_hidden(entry.name) and is_image(entry.path) for entry in entries)


def _raise(error: OSError) -> None:
    """For ``os.walk``, which otherwise passes over folders that it cannot read."""
    raise error


def images_below(folder: Path) -> Iterator[str]:
    """The images in the folder and all folders below, sorted, as paths relative to it with ``/`` between the parts.

    Links to folders are followed, each real folder once.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        prefix = os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        for name in sorted(files):
            if not is_hidden(name) and is_image(os.path.join(place, name)):
                yield (prefix + name).removeprefix("./")
