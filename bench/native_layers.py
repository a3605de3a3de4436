"""How fast are the convolutions alone, in the native layout? Each layer and direction against PyTorch's dense BF16.

Dense: BF16 in channels_last. Sparse: BF16 in the native layout, where a network keeps it, random nonzeros. Dense and
sparse are timed in turn; the medians of all rounds are compared, summed up weighted by how often a layer occurs.

    python bench/native_layers.py --network resnet50 --write
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from machine import write_result
from mezzotint import Pattern
from mezzotint.kernels import native_layout
from mezzotint.kernels.native_layout import ConvGeometry

Layer = tuple[int, int, int, int, int, int]
#: (channels in, out, kernel, stride, image size, how often).
LAYERS: dict[str, tuple[int, list[Layer]]] = {
    "resnet50": (
        32,
        [
            *((64, 64, 1, 1, 56, 1), (256, 64, 1, 1, 56, 2), (64, 64, 3, 1, 56, 3), (64, 256, 1, 1, 56, 4)),
            *((256, 128, 1, 1, 56, 1), (128, 128, 3, 2, 56, 1), (128, 512, 1, 1, 28, 4), (256, 512, 1, 2, 56, 1)),
            *((512, 128, 1, 1, 28, 3), (128, 128, 3, 1, 28, 3), (512, 256, 1, 1, 28, 1), (256, 256, 3, 2, 28, 1)),
            *((256, 1024, 1, 1, 14, 6), (512, 1024, 1, 2, 28, 1), (1024, 256, 1, 1, 14, 5), (256, 256, 3, 1, 14, 5)),
            *((1024, 512, 1, 1, 14, 1), (512, 512, 3, 2, 14, 1), (512, 2048, 1, 1, 7, 3), (1024, 2048, 1, 2, 14, 1)),
            *((2048, 512, 1, 1, 7, 2), (512, 512, 3, 1, 7, 2)),
        ],
    ),
    "wrn_28_2": (
        128,
        [
            *((16, 32, 3, 1, 32, 1), (16, 32, 1, 1, 32, 1), (32, 32, 3, 1, 32, 7), (32, 64, 3, 2, 32, 1)),
            *((32, 64, 1, 2, 32, 1), (64, 64, 3, 1, 16, 7), (64, 128, 3, 2, 16, 1), (64, 128, 1, 2, 16, 1)),
            (128, 128, 3, 1, 8, 7),
        ],
    ),
}
DIRECTIONS = ("output", "input gradient", "weight gradient")


def dense_calls(layer: Layer, batch: int) -> list[Callable[[], object]]:
    """PyTorch's three directions."""
    inputs, out, kernel, stride, size, _ = layer
    pad = kernel // 2
    x = torch.randn(batch, inputs, size, size).bfloat16().contiguous(memory_format=torch.channels_last)
    weight = torch.randn(out, inputs, kernel, kernel).bfloat16().contiguous(memory_format=torch.channels_last)
    gy = torch.randn_like(torch.nn.functional.conv2d(x, weight, None, stride, pad))

    def back(wanted: list[bool]) -> object:
        shape = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution_backward(gy, x, weight, None, *shape, wanted)

    forward = torch.nn.functional.conv2d
    return [
        lambda: forward(x, weight, None, stride, pad),
        lambda: back([True, False, False]),
        lambda: back([False, True, False]),
    ]


def sparse_calls(layer: Layer, batch: int, density: float) -> tuple[int, list[Callable[[], object]]]:
    """Ours, and how many nonzeros they have."""
    inputs, out, kernel, stride, size, _ = layer
    pad = kernel // 2
    shape = (out, inputs, kernel, kernel)
    pattern = Pattern.from_mask(torch.rand(shape) < density)
    values = torch.randn(pattern.nnz)
    geometry = ConvGeometry(shape, (stride, stride), (pad,) * 4)
    result = geometry.output_size((size, size))
    x = native_layout.to_native(torch.randn(batch, inputs, size, size).bfloat16(), (pad,) * 4)
    halo = geometry.input_grad_halo((size, size), result)
    gy = native_layout.to_native(torch.randn(batch, out, *result).bfloat16(), halo)
    weight: tuple[Tensor, Tensor, Tensor] = (values, pattern.indices, pattern.transposed)
    return pattern.nnz, [
        lambda: native_layout.conv2d_output(x, values, pattern.indices, geometry),
        lambda: native_layout.conv2d_input_grad(gy, *weight, geometry, (size, size)),
        lambda: native_layout.conv2d_weight_grad(x, gy, pattern.indices, geometry),
    ]


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Milliseconds of each call, taken in turn."""
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for at, call in enumerate(calls):
            began = time.perf_counter()
            call()
            if turn:
                taken[at].append((time.perf_counter() - began) * 1e3)
    return [statistics.median(each) for each in taken]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(LAYERS), default="resnet50")
    parser.add_argument("--densities", default="0.2,0.1,0.05")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write bench/results/, the machine named")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    densities = [float(density) for density in chosen.densities.split(",")]
    batch, layers = LAYERS[chosen.network]
    rows, sums = [], {density: [0.0] * 3 for density in [1.0, *densities]}
    for layer in layers:
        sparse = {density: sparse_calls(layer, batch, density) for density in densities}
        calls = [*dense_calls(layer, batch), *(call for _, each in sparse.values() for call in each)]
        taken = medians(calls, chosen.rounds)
        for at, density in enumerate([1.0, *densities]):
            milliseconds = taken[3 * at : 3 * at + 3]
            sums[density] = [a + b * layer[-1] for a, b in zip(sums[density], milliseconds, strict=True)]
            rows.append({"layer": layer, "density": density, "ms": dict(zip(DIRECTIONS, milliseconds, strict=True))})
        ratios = "  ".join(
            f"{density:g}: " + "/".join(f"{taken[i] / taken[3 * at + 3 + i]:.1f}" for i in range(3))
            for at, density in enumerate(densities)
        )
        print(
            f"{layer[0]:5}->{layer[1]:<5}{layer[2]}x{layer[2]} s{layer[3]} @{layer[4]:<3} dense / ours  {ratios}",
            flush=True,
        )
    totals = {}
    for density in densities:
        whole = sum(sums[1.0]) / sum(sums[density])
        each = [a / b for a, b in zip(sums[1.0], sums[density], strict=True)]
        totals[f"{density:g}"] = {"all": whole, **dict(zip(DIRECTIONS, each, strict=True))}
        print(f"{chosen.network} density {density:g}: " + " / ".join(f"{x:.2f}" for x in each) + f", all {whole:.2f}")
    if chosen.write:
        content = {"network": chosen.network, "batch": batch, "dense_over_ours": totals, "rows": rows}
        write_result(f"native_layers_{chosen.network}", content)


if __name__ == "__main__":
    main()
