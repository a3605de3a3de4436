"""``mezzotint doctor``: what does this machine offer, and what is missing?"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from mezzotint.cli.output import console, line

EXAMPLES = """\
  mezzotint doctor
  mezzotint doctor --json
"""

_FEATURES: Final = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "asimd",
    "bf16",
)
_EXTRAS: Final = {
    "simplejpeg": "JPEG files decoded fast where no libjpeg-turbo is found: pip install 'mezzotint[fast]'",
    "pyarrow": "data sets in parquet files: pip install 'mezzotint[parquet]'",
    "matplotlib": "plots of mezzotint bench: pip install 'mezzotint[bench]'",
}
"""Optional package -> what it is good for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Tell; 0, whatever is missing."""
    facts, advice = findings()
    if arguments.json:
        line(json.dumps({"facts": facts, "advice": advice}, indent=1))
        return 0
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    out = console()
    out.print(table)
    for sentence in advice:
        out.print(f"- {sentence}", markup=False, highlight=False)
    if not advice:
        out.print("Nothing is missing.")
    return 0


def findings() -> tuple[dict[str, str], list[str]]:
    """(fact -> value, sentences of advice)."""
    import torch

    from mezzotint import __version__
    from mezzotint.data import jpeg
    from mezzotint.kernels import native
    from mezzotint.kernels.hardware import processor

    why_not, no_jpeg = native.unavailable(), jpeg.turbo_problem()
    features = cpu_features()
    facts = {
        "mezzotint": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": processor(),
        "features": " ".join(feature for feature in _FEATURES if feature in features) or "unknown",
        "cores": f"{usable_cores()} usable",
        "threads": f"{torch.get_num_threads()} by default",
        "memory": memory_text(),
        "native kernels": why_not or f"{native.isa()} (of {', '.join(native.isas())})",
        "jpeg": jpeg.decoder(),
        "gpu": _gpus(),
        "extras": ", ".join(name for name in _EXTRAS if find_spec(name)) or "none",
    }
    advice = [f"{name} is not installed: {use}." for name, use in _EXTRAS.items() if not find_spec(name)]
    if why_not:
        advice.insert(0, f"Sparse layers run on slow reference kernels: {why_not}.")
    if no_jpeg and not why_not:
        advice.append(
            f"JPEG files are decoded whole, by {jpeg.decoder()}: {no_jpeg}. Install Pillow's wheel from PyPI."
        )
    if torch.get_num_threads() > usable_cores():
        advice.append("PyTorch uses more threads than there are cores: set threads in the configuration.")
    return facts, advice


def cpu_features() -> set[str]:
    """The processor's feature names as Linux tells them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = [text.partition(":")[2] for text in lines if text.startswith(("flags", "Features"))]
    return set(named[0].split()) if named else set()


def memory_text() -> str:
    """Main memory, all of it and what is free for use, in GiB."""
    try:
        rows = dict(text.split(":", 1) for text in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        total, free = (int(rows[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return "unknown"
    return f"{total:.1f} GiB, {free:.1f} GiB available"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that PyTorch can use"
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return ", ".join(names)
