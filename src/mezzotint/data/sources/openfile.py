"""How is one file read at any place, by many threads and after a journey to another process? By its name and ``pread``.

``pread`` has no common position, so threads and forked processes do not disturb each other, and it releases the
interpreter's lock while the disk works. Reading through a memory map would hold the lock through every page fault, and
a file that shrinks would end the process by SIGBUS where ``pread`` gives fewer bytes, which can be told.
"""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

from mezzotint.errors import DataError, message


class OpenFile:
    """A file open for reading until the object is garbage. A pickled one is opened again where it arrives.

    Attributes:
        path: the file.
        size: its length in bytes when it was first opened.
        descriptor: for ``os.pread``.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Open the file.

        Args:
            path: the file.
            size: the length that it must have; any when not given.

        Raises:
            DataError: the system refuses, or the file has another length.
        """
        self.path = path
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            many = error.errno in (errno.EMFILE, errno.ENFILE)
            fix = "Allow more open files, two for each shard: ulimit -n 65536." if many else ""
            received = f"the system error {error.strerror!r}"
            raise DataError(message(str(path), received=received, allowed="a readable file", fix=fix)) from error
        weakref.finalize(self, os.close, self.descriptor)
        self.size = os.fstat(self.descriptor).st_size
        if size is not None and size != self.size:
            raise DataError(message(str(path), received=f"{self.size} bytes", allowed=f"{size}, as when it was opened"))

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; fewer where the file ends before.

        Raises:
            OSError: the system cannot read them.
        """
        return os.pread(self.descriptor, length, offset)

    def __reduce__(self) -> tuple[type[OpenFile], tuple[Path, int]]:
        return OpenFile, (self.path, self.size)
