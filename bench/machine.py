"""On what machine was a figure measured? Described for every result file."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import mezzotint as mz
from mezzotint.kernels import native

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """CPU, cores, memory, instruction set in use, and versions."""
    return {
        "cpu": _cpu_name(),
        "cores": len(_cpus()),
        "threads": torch.get_num_threads(),
        "isa": native.isa(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mezzotint": mz.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``bench/results/NAME.json`` with the machine named."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **content}, indent=2) + "\n", encoding="utf-8")
    return path


def _cpus() -> set[int]:
    import os

    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            [part.strip() for part in line.split(":", 1)] for line in info.read_text().splitlines() if ":" in line
        )
        family, model = fields.get("cpu family", "?"), fields.get("model", "?")
        return f"{fields.get('model name', platform.machine())} (family {family}, model {model})"
    return platform.processor() or platform.machine()
