"""How much memory does a training step hold at its peak? Each network in a process of its own, as the system counts.

A process's peak of resident memory cannot be taken back, so every figure needs a fresh one. Its allocator is glibc's
default: what users see, without pages that :mod:`mezzotint.bench.allocator` keeps for the sake of timings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import torch

from mezzotint.bench.allocator import default_environment
from mezzotint.bench.train import job_of
from mezzotint.errors import InputError, RunError, message

STATUS: Final = Path("/proc/self/status")
STEPS: Final = 3
"""From the second one on, the optimiser has its state."""


def require() -> None:
    """Raise InputError where the system does not tell a process's peak."""
    if not STATUS.exists():
        raise InputError(message("--memory", received="a system without /proc", allowed="Linux", fix="Leave it out."))


def peak_of(name: str, batch: int, density: float, threads: int) -> dict[str, Any]:
    """``batch``, ``density``, and in bytes ``peak`` and ``before``, the peak before the network was built.

    Raises:
        RunError: the child process failed, for example for want of memory.
    """
    words = [sys.executable, "-m", __name__, name, str(batch), str(density), str(threads)]
    done = subprocess.run(words, env=default_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        allowed = "a training step that ends"
        received = f"a child process that ended early ({last})"
        raise RunError(message(f"memory of {name}", received=received, allowed=allowed, fix="Try a smaller --batch."))
    return {"batch": batch, "density": density, **json.loads(done.stdout.splitlines()[-1])}


def resident_peak() -> int:
    """Bytes: the largest resident memory of this process so far.

    Not ``getrusage``: its maximum is inherited from the process that started this one.
    """
    rows = dict(row.split(":", 1) for row in STATUS.read_text(encoding="utf-8").splitlines())
    return 1024 * int(rows["VmHWM"].split()[0])


def main(words: list[str]) -> None:
    """The child: take the steps and write the two figures as JSON."""
    name, batch, density, threads = words
    torch.set_num_threads(int(threads))
    before = resident_peak()
    step = job_of(name, int(batch), float(density))
    for _ in range(STEPS):
        step()
    sys.stdout.write(json.dumps({"before": before, "peak": resident_peak()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
