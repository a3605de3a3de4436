"""Where does each member of a tar archive lie? One pass over the headers, without reading what is between them.

Understood are ustar and old tar headers, GNU long names and base-256 sizes, and PAX records for path and size. The
archive must end with a block of zeros, as the format asks for: that is how a truncated download is told from a whole
one. Compressed archives are refused, because they cannot be read at random places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mezzotint.data.sources.files import has_image_extension
from mezzotint.errors import DataError, message

BLOCK = 512
_REGULAR = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_GNU_LONG_NAME = b"L"
_GNU_LONG_LINK = b"K"
_PAX, _PAX_GLOBAL = b"x", b"g"
_GNU_SPARSE = b"S"
_COMPRESSED = {b"\x1f\x8b": "gzip -dc", b"BZh": "bzip2 -dc", b"\xfd7zXZ\0": "xz -dc", b"\x28\xb5\x2f\xfd": "zstd -dc"}


class Member(NamedTuple):
    """A regular file in an archive: its path, and where its bytes begin and how many there are."""

    name: str
    offset: int
    size: int


def refuse_compressed(head: bytes, path: Path) -> None:
    """Raise a ``DataError`` that says how to unpack, if ``head`` is the beginning of a compressed file."""
    for magic, program in _COMPRESSED.items():
        if head.startswith(magic):
            plain = path.with_suffix("") if path.suffix != ".tgz" else path.with_suffix(".tar")
            raise DataError(
                message(
                    str(path),
                    received=f"a compressed archive ({program.split()[0]})",
                    allowed="a plain tar, whose members can be read in any order",
                    fix=f"Unpack it once: {program} {path.name} > {plain.name}",
                )
            )


def is_tar(path: Path) -> bool:
    """Whether the file's first header is that of a tar archive, by its checksum, or the file is named so."""
    if path.suffix.lower() in (".tar", ".tgz") or path.name.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz")):
        return True
    with open(path, "rb") as file:
        return _checksum_holds(file.read(BLOCK))


def members(path: Path) -> Iterator[Member]:
    """The regular files of the archive, in its order.

    Raises:
        DataError: the archive is compressed, damaged or truncated, or another one is appended after its end.
    """
    with open(path, "rb", buffering=0) as file:
        yield from _walk(file.fileno(), os.fstat(file.fileno()).st_size, path)


def _walk(descriptor: int, length: int, path: Path) -> Iterator[Member]:
    position = 0
    overrides: dict[str, str] = {}
    while (header := _header(descriptor, position, length, path)) is not None:
        kind = header[156:157]
        size = int(overrides.get("size") or _number(header[124:136], path)) if kind not in _WITHOUT_DATA else 0
        start = position + BLOCK
        if start + size > length:
            raise _damaged(path, f"a member that ends at byte {start + size} of {length}", "It is truncated.")
        position = start + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in (_GNU_LONG_NAME, _PAX):
            overrides |= _extension(kind, os.pread(descriptor, size, start), path)
        elif kind not in (_PAX_GLOBAL, _GNU_LONG_LINK):
            member = Member(overrides.get("path") or _path(header), start, size)
            _refuse_unreadable(kind, member, overrides, path)
            overrides = {}
            if kind in _REGULAR:
                yield member
    _check_rest(descriptor, length, position, path)


def _header(descriptor: int, position: int, length: int, path: Path) -> bytes | None:
    """The header block at ``position``; None for the block of zeros at the end."""
    header = os.pread(descriptor, BLOCK, position)
    if position == 0:
        refuse_compressed(header, path)
    if header == bytes(BLOCK):
        return None
    if len(header) < BLOCK:
        received = f"{length} bytes without the end-of-archive block"
        raise _damaged(path, received, "It is truncated; fetch or copy it again.")
    if not _checksum_holds(header):
        raise _damaged(path, f"no tar header at byte {position}", "It is damaged; fetch or copy it again.")
    return header


def _refuse_unreadable(kind: bytes, member: Member, overrides: dict[str, str], path: Path) -> None:
    if kind in _LINKS and has_image_extension(member.name):
        received = f"a link, {member.name}"
        raise _damaged(path, received, "Pack it again with `tar --dereference --hard-dereference`.")
    if kind == _GNU_SPARSE or "sparse" in overrides:
        raise _damaged(path, f"a sparse file, {member.name}", "Pack it again without `--sparse`.")


def _checksum_holds(header: bytes) -> bool:
    """Whether the header's sum of bytes, its own field counted as blanks, is the number written in it."""
    field = header[148:156].strip(b"\0 ")
    if len(header) < BLOCK or not field or not field.isdigit() or b"8" in field or b"9" in field:
        return False
    return int(field, 8) == sum(header) - sum(header[148:156]) + 8 * 32


def _number(field: bytes, path: Path) -> int:
    """Octal digits, or a base-256 number if the first bit is set (GNU)."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 95) - 1)
    digits = field.strip(b"\0 ") or b"0"
    try:
        return int(digits, 8)
    except ValueError as error:
        raise _damaged(path, f"a member of size {digits!r}", "The archive is damaged; fetch it again.") from error


def _path(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:262] == b"ustar" and header[262:263] == b"\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _extension(kind: bytes, content: bytes, path: Path) -> dict[str, str]:
    """What an extension header says about the next member: GNU long name, or PAX records ``length key=value``."""
    if kind == _GNU_LONG_NAME:
        return {"path": _text(content)}
    found: dict[str, str] = {}
    position = 0
    while position < len(content):
        length, _, _ = content[position : position + 20].partition(b" ")
        record = content[position : position + int(length)] if length.isdigit() and int(length) > 0 else b""
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if not equals:
            raise _damaged(path, "a PAX record that cannot be read", "The archive is damaged; fetch it again.")
        name = "sparse" if key.startswith(b"GNU.sparse") else key.decode("utf-8", "replace")
        found[name] = value.decode("utf-8", "surrogateescape")
        position += len(record)
    return {name: value for name, value in found.items() if name in ("path", "size", "sparse")}


def _check_rest(descriptor: int, length: int, position: int, path: Path) -> None:
    """After the end only zeros may follow: archives joined with ``cat`` would otherwise lose all but the first."""
    while position < length:
        chunk = os.pread(descriptor, 1 << 20, position)
        if chunk.strip(b"\0"):
            raise _damaged(path, "more data after the end of the archive", "Join archives with `tar --concatenate`.")
        position += max(len(chunk), 1)


def _damaged(path: Path, received: str, fix: str) -> DataError:
    return DataError(message(str(path), received=received, allowed="a complete tar archive", fix=fix))
