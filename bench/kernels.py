"""How fast are the sparse kernels against PyTorch's dense convolution? Layers of real networks, each direction alone.

Both sides run interleaved in one process, warm, and the medians are compared. The dense side is PyTorch's best of FP32
and (where the CPU computes in it) BF16, contiguous and channels-last. Ratios above 1 are wins of the sparse kernel;
losses are shown as well.

    python bench/kernels.py [--network lenet5 resnet20 wrn28_2] [--densities 0.2 0.1 0.05] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from mezzotint import ops
from mezzotint.bench.machine import write_result
from mezzotint.kernels.hardware import computes_in
from mezzotint.ops.sparse_family import transposed_order

RESULTS = Path(__file__).parent / "results"
#: name -> (batch, [(layer, input channels, output channels, kernel, stride, input side)]).
NETWORKS: dict[str, tuple[int, list[tuple[str, int, int, int, int, int]]]] = {
    "lenet5": (128, [("conv1", 1, 20, 5, 1, 28), ("conv2", 20, 50, 5, 1, 12)]),
    "resnet20": (
        128,
        [("16 at 32", 16, 16, 3, 1, 32), ("32 at 16", 32, 32, 3, 1, 16), ("64 at 8", 64, 64, 3, 1, 8)],
    ),
    "wrn28_2": (
        128,
        [
            ("32 at 32", 32, 32, 3, 1, 32),
            ("32-64 /2", 32, 64, 3, 2, 32),
            ("64 at 16", 64, 64, 3, 1, 16),
            ("128 at 8", 128, 128, 3, 1, 8),
        ],
    ),
    "resnet50": (
        32,
        [
            ("256-64 1x1", 256, 64, 1, 1, 56),
            ("64 at 56", 64, 64, 3, 1, 56),
            ("128 at 28", 128, 128, 3, 1, 28),
            ("1024-256 1x1", 1024, 256, 1, 1, 14),
            ("256 at 14", 256, 256, 3, 1, 14),
            ("512 at 7", 512, 512, 3, 1, 7),
        ],
    ),
}
DIRECTIONS = ("output", "input gradient", "weight gradient")
Job = Callable[[], Any]


def medians(jobs: dict[str, Job], rounds: int) -> dict[str, float]:
    """Median milliseconds of each job, interleaved after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if round_:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(samples) for name, samples in times.items()}


def dense_jobs(x: Tensor, weight: Tensor, stride: int, padding: int) -> dict[str, dict[str, Job]]:
    """Direction -> variant -> PyTorch's own kernel."""
    jobs: dict[str, dict[str, Job]] = {direction: {} for direction in DIRECTIONS}
    for dtype in (t for t in (torch.float32, torch.bfloat16) if computes_in(t, "cpu")):
        for layout in (torch.contiguous_format, torch.channels_last):
            name = f"{str(dtype)[6:]} {'channels_last' if layout == torch.channels_last else 'contiguous'}"
            xv, wv = x.to(dtype).contiguous(memory_format=layout), weight.to(dtype).contiguous(memory_format=layout)
            gv = torch.nn.functional.conv2d(xv, wv, None, stride, padding)
            for direction, wanted in ((1, [True, False, False]), (2, [False, True, False])):
                jobs[DIRECTIONS[direction]][name] = _backward(gv, xv, wv, stride, padding, wanted)
            jobs["output"][name] = lambda xv=xv, wv=wv: torch.nn.functional.conv2d(xv, wv, None, stride, padding)
    return jobs


def _backward(gy: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: list[bool]) -> Job:
    sizes = ([stride, stride], [padding, padding], [1, 1], False, [0, 0], 1)
    return lambda: torch.ops.aten.convolution_backward(gy, x, weight, None, *sizes, wanted)


def sparse_jobs(x: Tensor, weight: Tensor, density: float, stride: int, padding: int) -> dict[str, dict[str, Job]]:
    """Direction -> variant -> our native kernel."""
    indices = (torch.rand(weight.numel()) < density).nonzero().flatten().to(torch.int32)
    values, order = weight.flatten()[indices.long()], transposed_order(indices, weight.shape)
    shared = {"weight_shape": list(weight.shape), "stride": [stride] * 2, "padding": [padding] * 4}
    gy = torch.nn.functional.conv2d(x, weight, None, stride, padding)
    forward, backward_x, backward_w = (ops.get("sparse_conv2d" + s) for s in ("", "_input_grad", "_weight_grad"))
    jobs: dict[str, dict[str, Job]] = {direction: {} for direction in DIRECTIONS}
    for dtype in (torch.float32, torch.bfloat16):
        xv, gv, name = x.to(dtype), gy.to(dtype), str(dtype)[6:]
        size = list(x.shape[2:])
        jobs["output"][name] = lambda xv=xv: forward.run("native", xv, values, indices, order, None, **shared)
        jobs["input gradient"][name] = lambda gv=gv, size=size: backward_x.run(
            "native", gv, values, indices, order, input_size=size, **shared
        )
        jobs["weight gradient"][name] = lambda xv=xv, gv=gv: backward_w.run("native", xv, gv, indices, **shared)
    return jobs


def compare(
    layer: tuple[str, int, int, int, int, int], batch: int, densities: list[float], rounds: int
) -> list[dict[str, Any]]:
    """One row a direction and density: best dense and best sparse milliseconds."""
    name, channels, filters, kernel, stride, side = layer
    padding = kernel // 2 if kernel == 3 else 0
    x, weight = torch.randn(batch, channels, side, side), torch.randn(filters, channels, kernel, kernel)
    dense, rows = dense_jobs(x, weight, stride, padding), []
    for density in densities:
        sparse = sparse_jobs(x, weight, density, stride, padding)
        for direction in DIRECTIONS:
            jobs = {f"dense {k}": v for k, v in dense[direction].items()}
            jobs |= {f"sparse {k}": v for k, v in sparse[direction].items()}
            times = medians(jobs, rounds)
            best = {side_: min(t for k, t in times.items() if k.startswith(side_)) for side_ in ("dense", "sparse")}
            rows.append({"layer": name, "density": density, "direction": direction, **best, "milliseconds": times})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=sorted(NETWORKS), default=["lenet5", "resnet20", "wrn28_2"])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.2, 0.1, 0.05])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = []
    for network in options.network:
        batch, layers = NETWORKS[network]
        for layer in track(layers, description=network):
            found = compare(layer, batch, options.densities, options.rounds)
            rows += [{"network": network, "batch": batch, **row} for row in found]
    table = Table(title="best dense time / best sparse time (above 1: sparse wins)")
    for heading in ("network", "layer", "direction", *(f"density {d:g}" for d in options.densities)):
        table.add_column(heading)
    for row in rows:
        if row["density"] == options.densities[0]:
            same = [r for r in rows if all(r[k] == row[k] for k in ("network", "layer", "direction"))]
            ratios = [f"{r['dense'] / r['sparse']:.2f}x" for r in same]
            table.add_row(row["network"], row["layer"], row["direction"], *ratios)
    Console().print(table)
    Console().print(f"written to {write_result(RESULTS / 'kernels.json', {'rows': rows})}")


if __name__ == "__main__":
    main()
