"""How long must a dense window be? Sparse momentum with a window of W steps before each turn, against W = always.

Three questions, each a part that runs alone:

* ``overlap``: LeNet-5-Caffe on MNIST trains with the exact algorithm; at each update the set of weights that a window
  of W steps would have grown is compared with the set that the exact momentum grows. One trajectory, the same pruned
  weights and counts for all W.
* ``accuracy``: the same network trained to the end with each W, several seeds, by ``mezzotint``'s own training loop.
* ``cost``: one whole interval (an epoch of CIFAR-10, 390 steps) of WRN-28-2 at 90 % sparsity: steps with a moving
  topology against steps with a fixed pattern, in turns, so that both see the same noise of the machine. Layers keep
  their counts (redistribution "none"), so that both do the same work but for the windows and the updates.
* ``layers``: ResNet-50 at 90 % sparsity, 224 x 224 pixels: what the window of each layer adds to a step, and what
  windows of 44 steps therefore add to an epoch of ImageNet (5,004 steps).

    python bench/window.py [--part overlap accuracy cost layers] [--windows 1 11 22 44 88 176] [--seeds 3] [--epochs 10]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import torch
from matplotlib import pyplot
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import mezzotint as mz
from mezzotint import models
from mezzotint.bench.machine import in_words, machine
from mezzotint.sparse import Static, sparse_layers
from mezzotint.sparse.grow import grown_pattern
from mezzotint.sparse.prune import kept_by_magnitude
from mezzotint.sparse.view import LayerView
from mezzotint.sparse.window import DenseWindow
from mezzotint.train import RunConfig, load_config, train
from mezzotint.train.inputs import open_inputs

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
MOMENTUM = 0.9
DENSITY = 0.05
PARTS = ("overlap", "accuracy", "cost", "layers")


class Windows:
    """Momentum of all weights of each layer, as windows of several lengths would have collected it."""

    def __init__(self, model: nn.Module, interval: int, lengths: list[int]) -> None:
        self.layers = sparse_layers(model)
        self.interval, self.lengths = interval, lengths
        self.moments: dict[tuple[int, str], Tensor] = {}

    def fold(self, step: int, gradients: list[Tensor]) -> None:
        """Take the dense gradients of ``step`` (from 1) into every window that is open then."""
        left = -step % self.interval  # steps until the update, after this one
        for length in self.lengths:
            if left < length:
                for name, gradient in zip(self.layers, gradients, strict=True):
                    known = self.moments.get((length, name))
                    flat = gradient.reshape(-1)
                    self.moments[length, name] = flat.clone() if known is None else known.mul_(MOMENTUM).add_(flat)

    def clear(self) -> None:
        """An update is over: all but the endless window begin anew."""
        self.moments = {key: moment for key, moment in self.moments.items() if key[0] >= self.interval}


def overlaps(config: RunConfig, lengths: list[int]) -> list[dict[str, Any]]:
    """For each update and window: the fraction of the exactly grown weights that the window would have grown."""
    inputs = open_inputs(config)
    interval, epochs = len(inputs.train), config.schedule.epochs
    torch.manual_seed(config.seed)
    model = mz.sparsify(
        models.build("lenet5_caffe", num_classes=10, in_channels=1, image_size=28), DENSITY, seed=0, init="rescale"
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=MOMENTUM, nesterov=True, weight_decay=5e-4)
    precision = mz.Precision("bf16")
    topology = mz.SparseMomentum(
        model, optimizer, interval=interval, total_steps=interval * epochs, window=interval, stagger=False
    )
    windows = Windows(model, interval, [*lengths, interval])
    found = []
    for _ in range(epochs):
        for batch in inputs.train:
            with precision.autocast():
                loss = cross_entropy(model(batch.images).float(), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            precision.backward(loss)
            pending = topology.pending_gradients()
            if pending:
                windows.fold(topology.steps + 1, pending)
            stepped = precision.update(optimizer)
            # The update prunes by the values after the optimiser's step, which the topology is about to move.
            views = _views(windows) if (topology.steps + 1) % interval == 0 else {}
            report = topology.step(stepped)
            if report is not None:
                found.append(_compare(windows, views, report))
                windows.clear()
    return found


def _views(windows: Windows) -> dict[str, LayerView]:
    return {
        name: LayerView(name=name, values=layer.values.detach().clone(), pattern=layer.pattern)
        for name, layer in windows.layers.items()
    }


def _compare(windows: Windows, views: dict[str, LayerView], report: Any) -> dict[str, Any]:
    shared = dict.fromkeys(windows.lengths, 0)
    grown = 0
    for name, change in report.layers.items():
        kept = kept_by_magnitude(views[name], change.pruned)
        stay = views[name].pattern.indices[kept]

        def new(length: int, name: str = name, kept: Tensor = kept, count: int = change.grown) -> set[int]:
            scores = windows.moments[length, name].abs()
            pattern = grown_pattern(views[name].pattern, kept, scores, count)
            return set(pattern.indices.tolist()) - set(stay.tolist())  # noqa: B023

        actual = set(windows.layers[name].pattern.indices.tolist()) - set(stay.tolist())
        for length in windows.lengths:
            shared[length] += len(actual & new(length))
        grown += len(actual)
    return {"step": report.step, "grown": grown, "overlap": {str(w): shared[w] / grown for w in windows.lengths}}


def accuracies(
    config: RunConfig, lengths: list[int], seeds: int, folder: Path, known: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Test errors of whole runs, resumable: a run that is there, or among the ``known``, is not trained again."""
    told = {(row["window"], row["seed"]): row for row in known}
    for seed in range(seeds):
        for length in lengths:
            if (length, seed) in told:
                yield told[length, seed]
                continue
            run = folder / f"window-{length}-seed-{seed}"
            sparsity = replace(config.sparsity, window=length, density=DENSITY)
            one = replace(config, name=run.name, seed=seed, sparsity=sparsity)
            if not (run / "summary.json").is_file():
                train(one, folder=run, resume=run.exists())
            summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
            yield {"window": length, "seed": seed, "test_error": summary["test_error"]}


def cost(window: int, interval: int, density: float, batch: int) -> dict[str, float]:
    """Seconds of an interval with a moving and with a fixed topology, step by step in turns."""
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))

    def contender(moving: bool) -> Any:
        torch.manual_seed(0)
        model = mz.sparsify(models.build("wrn_28_2", num_classes=10), density, exclude=["conv1"])
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=MOMENTUM)
        precision = mz.Precision("bf16")
        topology: Any = Static(model)
        if moving:
            topology = mz.SparseMomentum(
                model, optimizer, interval=interval, total_steps=9 * interval, window=window, redistribution="none"
            )

        def step() -> float:
            began = time.perf_counter()
            with precision.autocast():
                loss = cross_entropy(model(images).float(), labels)
            optimizer.zero_grad(set_to_none=True)
            topology.step(precision.step(loss, optimizer))
            return time.perf_counter() - began

        return step

    fixed, moving = contender(False), contender(True)
    for _ in range(3):
        fixed()
    seconds: dict[str, list[float]] = {"fixed": [], "moving": []}
    for _ in range(interval):
        seconds["fixed"].append(fixed())
        seconds["moving"].append(moving())
    ratios = [m / f for m, f in zip(seconds["moving"], seconds["fixed"], strict=True)]
    return {
        "window": window,
        "interval": interval,
        "density": density,
        "fixed_seconds": sum(seconds["fixed"]),
        "moving_seconds": sum(seconds["moving"]),
        # Sums carry every hiccup of the machine; the mean of the trimmed step ratios carries few.
        "ratio_of_sums": sum(seconds["moving"]) / sum(seconds["fixed"]),
        "trimmed_mean_of_ratios": _trimmed(ratios),
    }


def layer_costs(window: int, interval: int, density: float, batch: int) -> dict[str, Any]:
    """Seconds that each layer's open window adds to a step of ResNet-50; the step without it runs just before."""
    images, labels = torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))
    model = mz.sparsify(models.build("resnet50", num_classes=1000), density, exclude=["conv1"])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=MOMENTUM)
    precision = mz.Precision("bf16")

    def step() -> float:
        began = time.perf_counter()
        with precision.autocast():
            loss = cross_entropy(model(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        precision.step(loss, optimizer)
        return time.perf_counter() - began

    for _ in range(3):
        step()
    plain, added = [], {}
    for name, layer in sparse_layers(model).items():
        pairs = []
        for _ in range(3):
            plain.append(step())
            layer.open_window(DenseWindow())
            pairs.append(step() - plain[-1])
            layer.close_window()
        added[name] = statistics.median(pairs)
    base = statistics.median(plain)
    share = window * sum(added.values()) / (interval * base)
    return {"window": window, "interval": interval, "density": density, "step": base, "added": added, "share": share}


def _trimmed(values: list[float], share: float = 0.05) -> float:
    cut = math.floor(len(values) * share)
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


# -- what is told ------------------------------------------------------------------------------------------------------


def tell_overlap(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"Grown weights shared with the exact algorithm, LeNet-5, MNIST, density {DENSITY:g}")
    windows = list(rows[0]["overlap"])
    for heading in ("window", "mean", "worst update"):
        table.add_column(heading, justify="right")
    for window in windows:
        shares = [row["overlap"][window] for row in rows]
        table.add_row(window, f"{100 * statistics.fmean(shares):.2f} %", f"{100 * min(shares):.2f} %")
    Console().print(table)


def tell_accuracy(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"Test error in percent by window, LeNet-5, MNIST, density {DENSITY:g}")
    for heading in ("window", "mean", "standard error", "runs"):
        table.add_column(heading, justify="right")
    for window in dict.fromkeys(row["window"] for row in rows):
        errors = [100 * row["test_error"] for row in rows if row["window"] == window]
        spread = statistics.stdev(errors) / math.sqrt(len(errors)) if len(errors) > 1 else math.nan
        runs = ", ".join(f"{error:.2f}" for error in errors)
        table.add_row(str(window), f"{statistics.fmean(errors):.3f}", f"{spread:.3f}", runs)
    Console().print(table)


def plot(content: dict[str, Any], file: Path) -> None:
    """Overlap and accuracy against the window, side by side."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    overlap, accuracy = content.get("overlap"), content.get("accuracy")
    if overlap:
        windows = [int(window) for window in overlap[0]["overlap"]]
        for row in overlap:
            left.plot(windows, [100 * row["overlap"][str(w)] for w in windows], color="#8b949e", linewidth=0.7)
        means = [100 * statistics.fmean(row["overlap"][str(w)] for row in overlap) for w in windows]
        left.plot(windows, means, "o-", color="#0b6e99", label="mean over updates")
        left.set(xscale="log", xlabel="window W, steps", ylabel="shared with exact, %")
        left.legend(frameon=False)
        left.set_title("Which weights are grown", fontsize=10)
    if accuracy:
        windows = sorted({row["window"] for row in accuracy})
        for row in accuracy:
            right.plot(row["window"], 100 * row["test_error"], ".", color="#8b949e")
        means = [statistics.fmean(100 * r["test_error"] for r in accuracy if r["window"] == w) for w in windows]
        right.plot(windows, means, "o-", color="#0b6e99", label="mean over seeds")
        right.set(xscale="log", xlabel="window W, steps", ylabel="test error, %")
        right.legend(frameon=False)
        right.set_title("How good the network is in the end", fontsize=10)
    figure.suptitle(f"LeNet-5-Caffe, MNIST, density {DENSITY:g}, an update every 600 steps", fontsize=10)
    figure.savefig(file, dpi=160)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 11, 22, 44, 88, 176])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16, help="of the part layers")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "window")
    options = parser.parse_args()
    file = RESULTS / "window.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    config = load_config(ROOT / "configs" / "fast" / "mnist_lenet5.toml", [f"schedule.epochs={options.epochs}"])
    content.setdefault("machines", {})

    def keep(part: str, found: Any) -> Any:
        """Write what a part has found at once: the next may take long."""
        content[part] = found
        content["machines"][part] = machine()
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return found

    if "overlap" in options.part:
        tell_overlap(keep("overlap", overlaps(config, options.windows)))
    if "accuracy" in options.part:
        known, rows = content.get("accuracy", []), []
        for row in accuracies(config, [1, 11, 44, 600], options.seeds, options.runs, known):
            rows.append(row)
            keep("accuracy", rows if len(rows) > len(known) else known)
        tell_accuracy(rows)
    if "cost" in options.part:
        row = keep("cost", cost(44, 390, 0.1, 128))
        Console().print(
            f"WRN-28-2, density 0.1, batch 128, interval 390, window 44: {row['trimmed_mean_of_ratios']:.3f}x a fixed"
            f" pattern's step (sums: {row['moving_seconds']:.1f} s / {row['fixed_seconds']:.1f} s ="
            f" {row['ratio_of_sums']:.3f})"
        )
    if "layers" in options.part:
        row = keep("layers", layer_costs(44, 5004, 0.1, options.batch))
        Console().print(
            f"ResNet-50, density 0.1, batch {options.batch}: a step takes {row['step']:.2f} s, all windows together"
            f" {sum(row['added'].values()):.2f} s; 44 of 5,004 steps each add {100 * row['share']:.2f} %"
        )
    plot(content, RESULTS / "window.png")
    Console().print(f"{in_words()}; written to {file} and {RESULTS / 'window.png'}")


if __name__ == "__main__":
    main()
