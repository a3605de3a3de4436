"""How fast are SparseProp's convolutions at the same layers? Forward and both gradients, against ours in one run.

SparseProp (Nikdan et al., 2023) is the only public library that trains unstructured sparse convolutions on a CPU. It
computes in FP32 on ordinary NCHW tensors; each layer takes the better of its two modes. Ours: BF16 in the native
layout, where a network keeps it. ``pip install sparseprop scipy`` first; it compiles itself.

    python bench/peer_sparseprop.py --network resnet50 --write
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mezzotint import Pattern
from mezzotint.bench.layers import LAYERS, Layer
from mezzotint.bench.machine import machine
from mezzotint.kernels import native_layout, native_weight_grad


def theirs(layer: Layer, weight: torch.Tensor, batch: int) -> list[Callable[[], object]]:
    """A forward and a backward pass in each mode that the layer allows."""
    from sparseprop.modules import SparseConv2d  # type: ignore[import-not-found]

    def passes(over_width: bool) -> Callable[[], object]:
        module = SparseConv2d(weight, padding=layer.kernel // 2, stride=layer.stride, vectorizing_over_on=over_width)
        x = torch.randn(batch, layer.inputs, layer.size, layer.size, requires_grad=True)
        gy = torch.randn(batch, layer.outputs, *layer.output_size)
        return lambda: torch.autograd.grad(module(x), (x, module.W_val), gy)

    return [passes(over_width) for over_width in (False, True)]


def ours(layer: Layer, weight: torch.Tensor, batch: int) -> Callable[[], object]:
    """The three directions."""
    pattern = Pattern.from_mask(weight != 0)
    values, geometry, size = weight[weight != 0], layer.geometry, (layer.size, layer.size)
    x = native_layout.to_native(torch.randn(batch, layer.inputs, *size).bfloat16(), geometry.padding)
    halo = geometry.input_grad_halo(size, layer.output_size)
    gy = native_layout.to_native(torch.randn(batch, layer.outputs, *layer.output_size).bfloat16(), halo)

    def passes() -> None:
        native_layout.conv2d_output(x, values, pattern.indices, geometry)
        native_layout.conv2d_input_grad(gy, values, pattern.indices, pattern.transposed, geometry, size)
        native_weight_grad.conv2d_weight_grad(x, gy, pattern.indices, geometry)

    return passes


def milliseconds(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Medians, taken in turn after one round to warm up; infinite for a call that its library refuses."""
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for at, call in enumerate(calls):
            began = time.perf_counter()
            try:
                call()
            except (AssertionError, RuntimeError):
                taken[at] = [float("inf")]
                continue
            if turn:
                taken[at].append((time.perf_counter() - began) * 1e3)
    return [statistics.median(each) for each in taken]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(LAYERS), default="resnet50")
    parser.add_argument("--densities", default="0.2,0.1,0.05")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write bench/results/, the machine named")
    parser.add_argument("--results", type=Path, help="the file (default: sparseprop_NETWORK.json beside the others)")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    network = LAYERS[chosen.network]
    rows, ratios = [], {}
    for density in map(float, chosen.densities.split(",")):
        sums = [0.0, 0.0]
        for layer in network.layers:
            shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
            weight = torch.randn(shape) * (torch.rand(shape) < density)
            calls = [ours(layer, weight, network.batch), *theirs(layer, weight, network.batch)]
            mine, *modes = milliseconds(calls, chosen.rounds)
            sums = [sums[0] + mine * layer.times, sums[1] + min(modes) * layer.times]
            rows.append({"layer": layer, "density": density, "ours_ms": mine, "sparseprop_ms": min(modes)})
        ratios[f"{density:g}"] = sums[1] / sums[0]
        print(
            f"{chosen.network} density {density:g}: SparseProp {sums[1]:.0f} ms, ours {sums[0]:.0f} ms,"
            f" SparseProp / ours {sums[1] / sums[0]:.1f}",
            flush=True,
        )
    if chosen.write:
        path = chosen.results or Path(__file__).parent / "results" / f"sparseprop_{chosen.network}.json"
        content = {"machine": machine(), "network": chosen.network, "sparseprop_over_ours": ratios, "rows": rows}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
