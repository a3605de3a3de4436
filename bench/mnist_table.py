"""Are the published accuracies on MNIST reached? LeNet-5-Caffe and LeNet-300-100 at each density, five seeds, BF16.

The recipes are configs/fast/mnist_lenet5.toml and configs/fast/mnist_lenet300.toml; the published figures are those of
Dettmers and Zettlemoyer 2019 (``results/`` of their repository), who keep a tenth of the images for validation and take
the best epoch; here all 60,000 train and the last epoch counts. Two sweeps, which resume where they were stopped and
which several processes can share: start the script twice to use two cores.

    python bench/mnist_table.py [--networks lenet5 lenet300] [--seeds 5] [--runs runs/mnist] [--only-tell]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mezzotint.bench.machine import write_result
from mezzotint.report import read_sweep
from mezzotint.report.sweep import sweep_record
from mezzotint.train import load_config
from mezzotint.train.progress import Progress, Silent
from mezzotint.train.sweep import Cell, plan, sweep

ROOT = Path(__file__).resolve().parents[1]
#: Network -> density -> published test error in percent.
PUBLISHED = {
    "lenet5": {0.093: 0.64, 0.05: 0.69, 0.02: 0.76, 0.01: 0.83},
    "lenet300": {0.1: 1.33, 0.05: 1.47, 0.04: 1.58, 0.03: 1.70, 0.02: 1.80, 0.01: 2.47},
}


def run(network: str, seeds: int, folder: Path) -> None:
    """Train what is missing of one network's sweep."""
    config = load_config(ROOT / "configs" / "fast" / f"mnist_{network}.toml")
    cells = plan(["sparse_momentum"], list(PUBLISHED[network]), range(seeds))

    def watched(cell: Cell, number: int) -> Progress:
        Console().print(f"{network}: {cell.name} ({number + 1} of {len(cells)})")
        return Silent()

    outcome = sweep(config, cells, folder, progress=watched)
    for cell, error in outcome.failed.items():
        Console().print(f"{network}: {cell.name} failed: {error}")
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)


def rows_of(network: str, folder: Path) -> list[dict[str, Any]]:
    """Error in percent of each density: mean, standard error, every run, the published one."""
    rows = []
    for group in read_sweep(folder).groups:
        found = group.estimate("test_error")
        if found is not None:
            rows.append(
                {
                    "network": network,
                    "density": group.density,
                    "published": PUBLISHED[network].get(group.density),
                    "mean": 100 * found.mean,
                    "standard_error": None if found.error is None else 100 * found.error,
                    "runs": [100 * trial.summary["test_error"] for trial in group.finished],
                }
            )
    return rows


def tell(rows: list[dict[str, Any]]) -> None:
    """The table."""
    table = Table(title="MNIST, sparse momentum, BF16: test error in percent")
    for heading in ("network", "density", "published", "mean ± SE", "seeds", "runs"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in rows:
        error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
        runs = " ".join(f"{one:.2f}" for one in row["runs"])
        cells = (f"{row['density']:g}", str(row["published"]), f"{row['mean']:.3f}{error}", str(len(row["runs"])), runs)
        table.add_row(row["network"], *cells)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=sorted(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "mnist")
    parser.add_argument("--only-tell", action="store_true", help="train nothing; tell what is finished")
    options = parser.parse_args()
    rows, sweeps = [], {}
    for network in options.networks:
        folder = options.runs / network
        if not options.only_tell:
            run(network, options.seeds, folder)
        rows += rows_of(network, folder)
        sweeps[network] = sweep_record(read_sweep(folder))
    tell(rows)
    file = ROOT / "bench" / "results" / "mnist_table.json"
    Console().print(f"written to {write_result(file, {'rows': rows, 'sweeps': sweeps})}")


if __name__ == "__main__":
    main()
