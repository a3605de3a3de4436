"""What is left of the speed-up on a CPU with AVX2 alone? ResNet-50's convolutions, dense FP32 beside ours.

Both sides are held to AVX2 by their own switches, which are read when a process begins: this one starts itself again.
Dense is PyTorch in FP32 and channels_last, the best that such a CPU has; ours FP32, and BF16 that is widened to FP32
as it is read. All three directions, medians, contenders in turn.

    python bench/avx2_layers.py [--densities 0.1] [--network resnet50] [--rounds 2] [--write]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mezzotint.bench.kernels import dense_jobs, medians, sparse_jobs
from mezzotint.bench.layers import LAYERS
from mezzotint.bench.machine import write_result

RESULT = Path(__file__).parent / "results" / "avx2_layers.json"
HELD = {
    "MEZZOTINT_ISA": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
OURS = {"FP32": torch.float32, "BF16": torch.bfloat16}


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", default="resnet50", choices=list(LAYERS))
    parser.add_argument("--densities", default="0.1")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT}")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in HELD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **HELD})
    densities = [float(one) for one in arguments.densities.split(",")]
    network = LAYERS[arguments.network]
    rows, sums = [], dict.fromkeys([("dense FP32", 1.0), *((name, one) for name in OURS for one in densities)], 0.0)
    for layer in track(network.layers, "layers", console=Console(stderr=True)):
        jobs = {("dense FP32", 1.0, way): job for way, job in dense_jobs(layer, network.batch, torch.float32).items()}
        for name, dtype in OURS.items():
            for density in densities:
                ours = sparse_jobs(layer, network.batch, density, dtype)[1]
                jobs |= {(name, density, way): job for way, job in ours.items()}
        taken = medians(jobs, arguments.rounds)
        for (name, density, way), ms in taken.items():
            sums[name, density] += layer.times * ms
            rows.append({"layer": list(layer), "side": name, "density": density, "direction": way, "ms": ms})
    dense = sums["dense FP32", 1.0]
    found = {f"{name}, {density:g}": dense / ms for (name, density), ms in sums.items() if name in OURS}
    table = Table("ours, density", "dense FP32 / ours", title=f"{arguments.network}: its convolutions, AVX2")
    for name, ratio in found.items():
        table.add_row(name, f"{ratio:.2f}")
    Console().print(table)
    if arguments.write:
        write_result(
            RESULT, {"network": arguments.network, "batch": network.batch, "dense_over_ours": found, "rows": rows}
        )


if __name__ == "__main__":
    main()
