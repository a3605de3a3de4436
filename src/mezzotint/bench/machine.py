"""On what machine was a figure measured? Described for every file of results."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mezzotint.kernels import native
from mezzotint.kernels.hardware import processor, processor_model


def machine() -> dict[str, Any]:
    """CPU, usable cores, threads and instruction set in use, versions, and the day; how far apart two cores are.

    ``handover_ns``: nanoseconds from one thread to another, some 50 where their cores share a cache and 200 where they
    do not; a virtual machine's cores may be the one now and the other a minute later. None with a single core, and as
    in :func:`handover_ns`.
    """
    from mezzotint import __version__

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": processor_model(),
        "cores": cores,
        "handover_ns": handover_ns() if cores > 1 else None,
        "threads": torch.get_num_threads(),
        "isa": native.isa(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mezzotint": __version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def handover_ns() -> float | None:
    """Nanoseconds that handing a number from one thread to another takes.

    None without the native library, and where other programs leave no two cores for some milliseconds.
    """
    found = float(native.extension().handover_nanoseconds()) if native.unavailable() is None else math.inf
    return round(found, 1) if math.isfinite(found) else None


def in_words() -> str:
    """One line for captions."""
    facts = machine()
    return f"{processor()}, {facts['threads']} threads, {facts['isa']}, PyTorch {facts['torch']}, {facts['date']}"


def write_result(file: Path, content: dict[str, Any]) -> Path:
    """Write ``content`` and the machine as JSON into ``file`` and return it; its folder is made if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": machine(), **content}, indent=1) + "\n", encoding="utf-8")
    return file


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Within the block PyTorch and the native kernels use ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
