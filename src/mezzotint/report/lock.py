"""Does somebody train in a run folder at this moment? Read from the kernel's list of locks, which disturbs nobody."""

from __future__ import annotations

from pathlib import Path

_LOCKS = Path("/proc/locks")


def being_trained(run: Path) -> bool | None:
    """Whether a process of this machine holds the run's lock; None where that cannot be known.

    Taking the lock to find out would make a training fail that begins at the same moment.
    """
    try:
        place = (run / ".lock").stat()
        held = _LOCKS.read_text(encoding="ascii")
    except OSError:
        return None
    # By the file's number alone: layered file systems show another device here than in the list.
    return any(part.endswith(f":{place.st_ino}") for line in held.splitlines() for part in line.split())
