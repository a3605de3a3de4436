"""How is a whole file read? With as few calls as can be: each of them gives the interpreter lock to another thread.

``Path.read_bytes`` makes twice as many, and two threads that load small images then wait for each other.
"""

from __future__ import annotations

import os


def file_content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as ``open`` and ``read`` of the system.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(file).st_size
        parts = [os.read(file, size + 1)]
        while parts[-1] and sum(map(len, parts)) != size:  # it is changing, or the system hands over less at a time
            parts.append(os.read(file, 1 << 20))
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(file)
