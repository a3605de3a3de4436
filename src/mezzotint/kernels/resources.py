"""How many cores and how much memory may this process use? What the machine has, less what its container is allowed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # cgroup v1 writes "no limit" as a number near 2^63


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a process may use.

    Attributes:
        logical: processors of the machine.
        affinity: processors that this process may run on.
        quota: processors' worth of time that its control group is given; None without a limit.
        memory: bytes of main memory, or fewer where the control group is limited; None where it is not known.
        available: bytes that can be had without swapping; None where it is not known.
        load: threads of all processes that ran or waited for a core in the last minute, on average.
    """

    logical: int
    affinity: int
    quota: float | None
    memory: int | None
    available: int | None
    load: float = 0.0

    @property
    def idle(self) -> int:
        """Cores that nobody else uses, at least 1."""
        return max(1, self.cores - int(self.load * self.cores / max(1, self.logical)))

    @property
    def cores(self) -> int:
        """Threads that can really run at once, at least 1."""
        return max(1, min(self.affinity, int(self.quota) if self.quota is not None else self.affinity))


def resources(groups: Path = _GROUPS, meminfo: Path = Path("/proc/meminfo")) -> Resources:
    """What this process may use now.

    Args:
        groups: where control groups are mounted (versions 1 and 2 are read).
        meminfo: Linux's table of main memory; elsewhere the numbers are None.
    """
    logical = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    total, available = _main_memory(meminfo)
    limit, used = _limit(groups)
    if limit is not None and (total is None or limit < total):
        total = limit
        left = max(0, limit - (used or 0))
        available = left if available is None else min(available, left)
    return Resources(
        logical=logical,
        affinity=affinity,
        quota=_quota(groups),
        memory=total,
        available=available,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _main_memory(meminfo: Path) -> tuple[int | None, int | None]:
    try:
        rows = dict(text.split(":", 1) for text in meminfo.read_text(encoding="utf-8").splitlines())
        return int(rows["MemTotal"].split()[0]) * 1024, int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None, None


def _quota(groups: Path) -> float | None:
    words = _read(groups / "cpu.max").split()  # version 2: "200000 100000", or "max 100000"
    if len(words) != 2:
        words = [_read(groups / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _limit(groups: Path) -> tuple[int | None, int | None]:
    """(bytes allowed, bytes used) of the control group."""
    for limit, usage in (
        (groups / "memory.max", groups / "memory.current"),
        (groups / "memory" / "memory.limit_in_bytes", groups / "memory" / "memory.usage_in_bytes"),
    ):
        text = _read(limit)
        if text.isdecimal() and int(text) < _UNLIMITED:
            used = _read(usage)
            return int(text), int(used) if used.isdecimal() else None
    return None, None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
