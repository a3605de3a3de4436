"""How accurate is LeNet-5-Caffe on MNIST at each density? A table over seeds, from configs/mnist_lenet5.toml.

Every run is an ordinary ``mezzotint train`` run: it resumes where it was stopped, so the script can be interrupted and
started again.

    python bench/mnist_table.py [--densities 1 0.05 0.02 0.01] [--seeds 0 1 2] [--epochs 10] [--runs runs/mnist_table]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mezzotint.bench.machine import write_result
from mezzotint.cli import main as mezzotint

ROOT = Path(__file__).resolve().parents[1]


def train(config: Path, folder: Path, density: float, seed: int, epochs: int) -> dict[str, Any]:
    """The summary of one run; trained now unless it is there already."""
    summary = folder / "summary.json"
    if not summary.exists():
        settings = [f"sparsity.density={density}", f"seed={seed}", f"schedule.epochs={epochs}"]
        arguments = ["train", str(config), "-o", str(folder), "--set", *settings]
        code = mezzotint([*arguments, "--resume"] if folder.exists() else arguments)
        if code:
            raise SystemExit(code)
    found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "mnist_lenet5.toml")
    parser.add_argument("--densities", type=float, nargs="+", default=[1.0, 0.05, 0.02, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mnist_table")
    options = parser.parse_args()

    rows = []
    for density in options.densities:
        for seed in options.seeds:
            folder = options.runs / f"density-{density:g}-seed-{seed}"
            summary = train(options.config, folder, density, seed, options.epochs)
            rows.append({"density": density, "seed": seed, **summary})
    table = Table(title=f"LeNet-5-Caffe on MNIST, BF16, {options.epochs} epochs: test error in percent")
    for heading in ("density", *(f"seed {seed}" for seed in options.seeds), "mean", "nnz"):
        table.add_column(heading, justify="right")
    for density in options.densities:
        of_density = [row for row in rows if row["density"] == density]
        errors = [100 * row["test_error"] for row in of_density]
        mean = f"{statistics.mean(errors):.2f}"
        table.add_row(f"{density:g}", *(f"{error:.2f}" for error in errors), mean, f"{of_density[0]['nnz']:,}")
    Console().print(table)
    file = ROOT / "bench" / "results" / "mnist_lenet5.json"
    Console().print(f"written to {write_result(file, {'epochs': options.epochs, 'rows': rows})}")


if __name__ == "__main__":
    main()
