"""On what machine and with what software does a run run?"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from mezzotint.kernels import native
from mezzotint.kernels.hardware import processor


def environment(device: str = "cpu") -> dict[str, Any]:
    """JSON-ready: versions, processor, instruction set of the native kernels, threads, device, date, revision."""
    return {
        "mezzotint": mezzotint_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": processor(),
        "isa": instruction_set(),
        "threads": torch.get_num_threads(),
        "device": device_name(device),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": revision(),
    }


def mezzotint_version() -> str:
    """The installed version."""
    try:
        return version("mezzotint")
    except PackageNotFoundError:
        return "0+source"


def instruction_set() -> str:
    """Which variant of the native kernels runs here, or that there are none."""
    return "none: " + reason if (reason := native.unavailable()) else native.isa()


def device_name(device: str) -> str:
    """The device, with the name of the GPU."""
    if device.startswith("cuda") and torch.cuda.is_available():
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return device


def revision() -> str | None:
    """The git revision of the working directory, with ``+changes`` where files differ from it; None outside of git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # looking must not write to the index
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
