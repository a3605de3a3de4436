"""``mezzotint doctor``: what does this machine offer, how fast is it, and what can be done about what is slow?"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mezzotint.cli.output import console, line, note

if TYPE_CHECKING:
    from mezzotint.kernels.resources import Resources

EXAMPLES = """\
  mezzotint doctor
  mezzotint doctor --data photos/        # how fast these images can be read
  mezzotint doctor --quick --json        # measure nothing

Measures for about ten seconds: reading images, and a training step of a small network, dense and sparse.
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
    "tensorboard": "runs in TensorBoard (run.tensorboard = true): pip install 'mezzotint[tensorboard]'",
}
"""Optional package -> what it is good for."""
_LITTLE_MEMORY: Final = 4 * 2**30
_LITTLE_DISK: Final = 2 * 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--data", metavar="FOLDER", help="measure reading with these images (default: drawn ones)")
    parser.add_argument("--quick", action="store_true", help="measure nothing")
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Tell; 0, whatever is missing."""
    from mezzotint.cli.doctor_speed import measured, speed_advice

    facts, advice = findings()
    speed: dict[str, Any] = {}
    if not arguments.quick:
        speed = measured(arguments.data, tell=None if arguments.json else note)
        advice += speed_advice(speed)
    if arguments.json:
        line(json.dumps({"facts": facts, "speed": speed, "advice": advice}, indent=1))
        return 0
    _show(facts, speed, advice)
    return 0


def _show(facts: dict[str, str], speed: dict[str, Any], advice: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from mezzotint.cli.doctor_speed import in_words

    table = Table.grid(padding=(0, 2))
    for name, value in {**facts, **in_words(speed)}.items():
        table.add_row(Text(name, style="bold"), Text(value))
    out = console()
    out.print(table)
    out.print(Text("\nwhat to do" if advice else "\nNothing is missing, and nothing is slow.", style="bold"))
    for sentence in advice:
        bullet = Table.grid(padding=(0, 1))
        bullet.add_row("-", Text(sentence))
        out.print(bullet)


def findings() -> tuple[dict[str, str], list[str]]:
    """(fact -> value, sentences of advice), nothing measured."""
    import torch

    from mezzotint import __version__
    from mezzotint.data import jpeg
    from mezzotint.kernels import native
    from mezzotint.kernels.hardware import processor
    from mezzotint.kernels.resources import resources

    why_not, machine = native.unavailable(), resources()
    features = cpu_features()
    facts = {
        "mezzotint": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": processor(),
        "features": " ".join(feature for feature in _FEATURES if feature in features) or "unknown",
        "cores": _cores(machine),
        "threads": f"{torch.get_num_threads()} by default",
        "load": f"{machine.load:.1f} threads running or waiting, on average over a minute",
        "memory": memory_text(),
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 1e9:,.1f} GB free in this folder",
        "libraries": _libraries(),
        "native kernels": why_not or f"{native.isa()} (of {', '.join(native.isas())})",
        "jpeg": jpeg.decoder(),
        "gpu": _gpus(),
        "extras": ", ".join(name for name in _EXTRAS if find_spec(name)) or "none",
    }
    return facts, [*_kernel_advice(), *_machine_advice(machine), *_package_advice()]


def _kernel_advice() -> list[str]:
    """About the arithmetic, most important first."""
    import torch

    from mezzotint.data import jpeg
    from mezzotint.kernels import native
    from mezzotint.kernels.hardware import computes_in

    if why_not := native.unavailable():
        fix = "Install a wheel, or a C++20 compiler (Debian: apt-get install g++) and mezzotint anew."
        return [f"Sparse layers run on slow reference kernels: {why_not}. {fix}"]
    advice = []
    if not torch.backends.mkldnn.is_available():
        advice.append("PyTorch has no oneDNN here: dense layers are slow. Install PyTorch's own wheel.")
    if not computes_in(torch.bfloat16, "cpu"):
        advice.append(
            "The processor has no BF16 arithmetic: 16-bit numbers are stored, the arithmetic is FP32. Processors with"
            " AVX-512 BF16 (Zen 4, Cooper Lake, Sapphire Rapids and newer) train about twice as fast."
        )
    if problem := jpeg.turbo_problem():
        fix = "Install Pillow's wheel from PyPI: pip install --force-reinstall --only-binary=:all: pillow."
        advice.append(f"JPEG files are decoded whole, by {jpeg.decoder()}: {problem}. {fix}")
    return advice


def _machine_advice(machine: Resources) -> list[str]:
    """About cores, memory and disk."""
    import torch

    advice, threads = [], torch.get_num_threads()
    if threads > machine.cores:
        limit = "its control group allows" if machine.cores < machine.affinity else "it may run on"
        advice.append(
            f"PyTorch would use {threads} threads, more than the {machine.cores} cores {limit}: set threads ="
            f" {machine.cores} in the configuration, or OMP_NUM_THREADS={machine.cores}."
        )
    if machine.idle < machine.cores:
        advice.append(
            f"Others keep {machine.cores - machine.idle} of {machine.cores} cores busy. Threads wait for the slowest"
            f" one, so that a shared core can cost more than it brings: set threads = {machine.idle}."
        )
    if machine.available is not None and machine.available < _LITTLE_MEMORY:
        advice.append(
            f"Only {machine.available / 2**30:.1f} GiB of memory are available: take smaller batches, or the same in"
            " parts (data.micro_batches = 4)."
        )
    if shutil.disk_usage(Path.cwd()).free < _LITTLE_DISK:
        advice.append("The disk of this folder is nearly full: name another place for runs with -o, or run.keep = 1.")
    if torch.cuda.is_available():
        advice.append('There is a GPU, which nothing uses unless it is asked for: device = "cuda".')
    return advice


def _package_advice() -> list[str]:
    return [f"{name} is not installed: {use}." for name, use in _EXTRAS.items() if not find_spec(name)]


def _cores(machine: Resources) -> str:
    words = [f"{machine.cores} usable of {machine.logical}"]
    if machine.affinity < machine.logical:
        words.append(f"{machine.affinity} by affinity")
    if machine.quota is not None:
        words.append(f"{machine.quota:g} by the control group")
    return ", ".join(words)


def _libraries() -> str:
    """BLAS and oneDNN, as PyTorch was built."""
    import re

    import torch

    text = torch.__config__.show()
    names = []
    if blas := re.search(r"BLAS_INFO=(\w+)", text):
        names.append(f"BLAS {blas[1]}")
    if torch.backends.mkldnn.is_available():
        version = re.search(r"MKL-DNN v([\d.]+)", text)
        names.append(f"oneDNN {version[1]}" if version else "oneDNN")
    if torch.backends.openmp.is_available():
        names.append("OpenMP")
    return ", ".join(names) or "none"


def cpu_features() -> set[str]:
    """The processor's feature names as Linux tells them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    named = [text.partition(":")[2] for text in lines if text.startswith(("flags", "Features"))]
    return set(named[0].split()) if named else set()


def memory_text() -> str:
    """Main memory that may be used, and what of it is free, in GiB."""
    from mezzotint.kernels.resources import resources

    machine = resources()
    if machine.memory is None or machine.available is None:
        return "unknown"
    return f"{machine.memory / 2**30:.1f} GiB, {machine.available / 2**30:.1f} GiB available"


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none that PyTorch can use"
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return ", ".join(names)
