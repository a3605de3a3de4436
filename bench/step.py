"""How fast is a whole training step? An unmodified network, dense and sparse, in one interleaved run.

Dense: PyTorch's best on a CPU, BF16 autocast in channels_last. Sparse: the same network after ``mz.sparsify``, density
uniform over its layers, stem and classifier dense, and nothing else changed. SGD with Nesterov momentum on both sides.

    python bench/step.py --network resnet50 --batch 32 --densities 0.2,0.1,0.05 --write
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

import mezzotint as mz
from machine import write_result

SIZES = {"resnet50": 224, "wrn_28_2": 32}


def step_of(name: str, batch: int, density: float) -> Callable[[], tuple[float, float]]:
    """A closure that takes one training step and returns its (forward, whole) seconds."""
    size = SIZES[name]
    torch.manual_seed(0)
    network = mz.models.build(name, num_classes=1000 if size == 224 else 10, image_size=size)
    if density < 1:
        network = mz.sparsify(network, density, "uniform", exclude=("conv1", "fc"))
    else:
        network = network.to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    precision = mz.Precision("bf16")

    def step() -> tuple[float, float]:
        optimizer.zero_grad(set_to_none=True)
        began = time.perf_counter()
        with precision.autocast():
            loss = F.cross_entropy(network(x).float(), labels)
        forward = time.perf_counter()
        precision.step(loss, optimizer)
        return forward - began, time.perf_counter() - began

    return step


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(SIZES), default="resnet50")
    parser.add_argument("--batch", type=int, default=32, help="images a step (default 32)")
    parser.add_argument("--densities", default="0.2,0.1,0.05", help="comma-separated (default 0.2,0.1,0.05)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds after one to warm up (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--write", action="store_true", help="write bench/results/, the machine named")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    densities = [1.0, *map(float, chosen.densities.split(","))]
    steps = {density: step_of(chosen.network, chosen.batch, density) for density in densities}
    seconds: dict[float, list[tuple[float, float]]] = {density: [] for density in densities}
    for turn in range(chosen.rounds + 1):
        for density, step in steps.items():
            taken = step()
            if turn:
                seconds[density].append(taken)
    rows = []
    for density, taken in seconds.items():
        forward, whole = (statistics.median(column) * 1e3 for column in zip(*taken, strict=True))
        dense = statistics.median(both[1] for both in seconds[1.0]) * 1e3
        rows.append({"density": density, "forward_ms": forward, "step_ms": whole, "dense_over_ours": dense / whole})
        kind = "dense" if density == 1 else f"density {density:g}"
        print(
            f"{chosen.network} batch {chosen.batch} {kind:>13}: step {whole:7.0f} ms, dense / ours {dense / whole:.2f}"
        )
    if chosen.write:
        write_result(f"step_{chosen.network}", {"network": chosen.network, "batch": chosen.batch, "rows": rows})


if __name__ == "__main__":
    main()
