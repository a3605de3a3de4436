"""What is in this file, going by its bytes? The image formats by their magic bytes, and a guess at whatever else came.

The extension of a name is never consulted: ImageNet itself has a PNG called ``.JPEG``, and a saved error page is called
``.jpg``. The first function answers for the six formats that mezzotint reads; the second says in words what a file is
that is none of them, so that the error can name the likely mistake.
"""

from __future__ import annotations

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF")
"""The readable formats, as the error messages list them."""

HEAD_BYTES = 32
"""So many leading bytes of a file are enough for `image_format`."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF, 64-bit offsets
    (b"MM\0+", "TIFF"),
)

_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})  # the lengths that a BMP's second header can have

_RESAVE = "Open it in a program that knows the format and save it as PNG or JPEG."
_REFETCH = "Fetch or copy the file again."

_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftypavif", "an AVIF image", _RESAVE),
    (4, b"ftypheic", "a HEIC image", _RESAVE),
    (4, b"ftypmif1", "a HEIF image", _RESAVE),
    (4, b"ftyp", "an MP4 or QuickTime film", "Extract its frames as PNG or JPEG."),
    (0, b"\xff\x0a", "a JPEG XL image", _RESAVE),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", _RESAVE),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", _RESAVE),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", _RESAVE),
    (0, b"8BPS", "a Photoshop document", _RESAVE),
    (0, b"%PDF", "a PDF document", "Export its pages as PNG or JPEG."),
    (0, b"\x93NUMPY", "a NumPy array", "Load it with numpy.load and pass the array."),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it first."),
    (0, b"\x1f\x8b", "gzip-compressed data", "Unpack it first."),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Run `git lfs pull` in that repository."),
)


def image_format(head: bytes) -> str | None:
    """The format of an image, one of `FORMATS`, or None.

    Args:
        head: the file's first bytes; `HEAD_BYTES` of them are enough, fewer may be too few.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    # "BM" alone is also the start of plain words, so the length of the second header is looked at as well.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


def other_content(data: bytes) -> tuple[str, str]:
    """What data that is no readable image is instead, and what to do: ``(received, fix)``, as words of a message."""
    if not data:
        return "an empty file (0 bytes)", _REFETCH
    if data.count(0) == len(data):
        return f"{len(data)} zero bytes, as an interrupted copy leaves them", _REFETCH
    for offset, magic, what, fix in _OTHERS:
        if data[offset : offset + len(magic)] == magic:
            return what, fix
    return _markup(data) or _text(data) or _unknown(data)


def _markup(data: bytes) -> tuple[str, str] | None:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return (
            "an HTML page, as a server sends it in place of a missing or protected file",
            "Open the file in a text editor to see what the server said, then download the image again.",
        )
    if head.startswith((b"<svg", b"<?xml")):
        if b"<svg" in head:
            return "an SVG drawing", "Render it to PNG first."
        return "an XML document", "It may be a server's error answer: read it, then download the image again."
    return None


def _text(data: bytes) -> tuple[str, str] | None:
    try:
        text = data[:256].decode("utf-8", errors="strict" if len(data) <= 256 else "ignore")
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return None
    start = " ".join(text.split())
    shown = start if len(start) <= 40 else start[:40] + "..."
    return f"text that begins with {shown!r}", "Check that this is the file that you meant."


def _unknown(data: bytes) -> tuple[str, str]:
    if len(data) < HEAD_BYTES:
        return f"data too short for an image (length in bytes: {len(data)})", _REFETCH
    start = data[:8].hex(" ")
    return f"data of an unknown kind (first bytes: {start})", "Check that this is the file that you meant."
