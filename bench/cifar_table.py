"""What does a tenth of the weights cost on CIFAR-10? Methods side by side, and sparse against dense by the clock.

Four parts, each with a recipe of ``configs/fast``:

* ``methods``: Wide ResNet 16-2, dense, and static, SET, RigL, GMP and sparse momentum at density 0.1.
* ``minutes``: the sparse networks of ``methods`` again, for twice as many epochs: what they reach in the minutes that
  the dense network takes for its twelve (two cores, 56 and 29 seconds an epoch). GMP begins dense and gains less time.
* ``clock``: Wide ResNet 28-2, dense, sparse momentum at density 0.1, and two methods that prune down to a tenth over
  three quarters of the training, falling momentum from half density and GMP from all weights, for the same number of
  epochs; also the minutes until the test accuracy first is within one point of the dense network's last.
* ``rate``: the same at half of the recipe's learning rate, 0.1, and also GraNet, which begins at half density, too.

A run takes from six minutes to an hour, so finished runs are kept in ``bench/results/cifar_table.json`` and not trained
again, those of other days and machines included; an unfinished one goes on where it was stopped. Several processes can
share the work: start the script twice to use two cores.

    python bench/cifar_table.py [--parts methods minutes clock] [--seeds 3] [--runs runs/cifar] [--only-tell]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mezzotint.bench.machine import machine
from mezzotint.train import load_config
from mezzotint.train.progress import Silent
from mezzotint.train.sweep import Cell, plan, sweep

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "cifar_table.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A recipe and the methods that are trained by it.

    Attributes:
        epochs: instead of the recipe's.
        learning_rate: instead of the recipe's.
        beside: the part that has the dense networks to compare with; None: this one.
        by_clock: also tell how long it takes until a goal is reached.
    """

    recipe: str
    title: str
    methods: tuple[str, ...]
    epochs: int | None = None
    learning_rate: float | None = None
    beside: str | None = None
    by_clock: bool = False


PARTS = {
    "methods": Part(
        recipe="cifar10_wrn16_2",
        title="CIFAR-10, Wide ResNet 16-2, density 0.1, BF16",
        methods=("static", "set", "rigl", "gmp", "sparse_momentum"),
    ),
    "minutes": Part(
        recipe="cifar10_wrn16_2",
        title="CIFAR-10, Wide ResNet 16-2, density 0.1, BF16, 24 epochs beside 12 dense ones",
        methods=("sparse_momentum", "set", "static", "rigl"),
        epochs=24,
        beside="methods",
    ),
    "clock": Part(
        recipe="cifar10_wrn28_2",
        title="CIFAR-10, Wide ResNet 28-2, density 0.1, BF16",
        methods=("sparse_momentum", "falling_momentum", "gmp"),
        by_clock=True,
    ),
    "rate": Part(
        recipe="cifar10_wrn28_2",
        title="CIFAR-10, Wide ResNet 28-2, density 0.1, BF16, learning rate 0.1",
        methods=("sparse_momentum", "granet", "falling_momentum"),
        learning_rate=0.1,
        by_clock=True,
    ),
}


def known() -> dict[str, list[Row]]:
    """The finished runs of each part."""
    if not RESULTS.is_file():
        return {name: [] for name in PARTS}
    parts: dict[str, list[Row]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: parts.get(name, []) for name in PARTS}


def keep(part: str, row: Row) -> None:
    """Add a finished run to the results; another process may be doing the same."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts = known()
        parts[part] = [one for one in parts[part] if one["run"] != row["run"]] + [row]
        RESULTS.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".lock").unlink(missing_ok=True)


def run(name: str, seeds: int, folder: Path) -> None:
    """Train what is missing of one part, the runs of the first seed first."""
    part = PARTS[name]
    config = load_config(ROOT / "configs" / "fast" / f"{part.recipe}.toml")
    if part.epochs is not None:
        config = replace(config, schedule=replace(config.schedule, epochs=part.epochs))
    if part.learning_rate is not None:
        config = replace(config, optimizer=replace(config.optimizer, lr=part.learning_rate))
    densities = [0.1] if part.beside else [1.0, 0.1]
    for cell in plan(list(part.methods), densities, range(seeds)):
        if cell.name in {row["run"] for row in known()[name]}:
            continue
        Console().print(f"{name}: {cell.name}")
        outcome = sweep(config, [cell], folder, progress=lambda cell, number: Silent())
        for failed, error in outcome.failed.items():
            Console().print(f"{name}: {failed.name} failed: {error}")
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        if outcome.done:
            keep(name, row_of(cell, folder / "runs" / cell.name))


def row_of(cell: Cell, folder: Path) -> Row:
    """What is kept of a finished run."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    lines = [json.loads(line) for line in (folder / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
    timings = [line for line in lines if "step" in line]
    steps = summary["steps"] // len(epochs)
    # Medians: what the machine lent to something else for a while does not count.
    of_epochs = [
        statistics.median(one["seconds"] for one in timings if (one["step"] - 1) // steps == number)
        for number in range(len(epochs))
    ]
    return {
        "run": cell.name,
        "method": cell.method,
        "seed": cell.seed,
        "density": summary["density"],
        "test_accuracy": 100 * summary["test_accuracy"],
        "seconds": summary["seconds"],
        "steps": summary["steps"],
        "step_seconds": statistics.median(one["seconds"] for one in timings),
        "epoch_seconds": [steps * seconds for seconds in of_epochs],
        "curve": [100 * one["test_accuracy"] for one in epochs],
        "machine": machine(),
    }


# -- what is told ------------------------------------------------------------------------------------------------------


def tell_methods(rows: list[Row], title: str) -> None:
    """Accuracy of each method and its difference to the dense network, seed by seed."""
    dense = {row["seed"]: row["test_accuracy"] for row in rows if row["method"] == "dense"}
    table = Table(title=f"{title}: test accuracy in percent")
    for heading in ("method", "mean ± SE", "minus dense", "runs"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        accuracies = [row["test_accuracy"] for row in of_method]
        differences = [row["test_accuracy"] - dense[row["seed"]] for row in of_method if row["seed"] in dense]
        difference = f"{statistics.fmean(differences):+.2f}" if differences and method != "dense" else ""
        runs = " ".join(f"{one:.2f}" for one in accuracies)
        table.add_row(method, mean_and_error(accuracies), difference, runs)
    Console().print(table)


def tell_clock(rows: list[Row], title: str) -> None:
    """Accuracy in the end, and the time until one point below the dense network's is reached, seed by seed."""
    table = Table(title=f"{title}: epochs and minutes until one point below the dense network's last accuracy")
    for heading in ("seed", "method", "%", "minus dense", "s/epoch", "epochs", "minutes"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    dense = {row["seed"]: row["test_accuracy"] for row in rows if row["method"] == "dense"}
    for row in rows:
        if row["seed"] not in dense:
            continue
        of_dense = dense[row["seed"]]
        epochs, seconds = first_epoch(row, of_dense - 1), epoch_seconds(row)
        table.add_row(
            str(row["seed"]),
            row["method"],
            f"{row['test_accuracy']:.2f}",
            "" if row["method"] == "dense" else f"{row['test_accuracy'] - of_dense:+.2f}",
            f"{statistics.fmean(seconds):.0f}",
            "never" if epochs is None else str(epochs),
            "never" if epochs is None else f"{sum(seconds[:epochs]) / 60:.1f}",
        )
    Console().print(table)


def first_epoch(row: Row, goal: float) -> int | None:
    """After how many epochs ``goal`` percent are reached for the first time."""
    places = (number for number, accuracy in enumerate(row["curve"], 1) if accuracy >= goal)
    return next(places, None)


def epoch_seconds(row: Row) -> list[float]:
    """Of training, epoch by epoch; rows of before 30 November 2026 know the median of all steps alone."""
    epochs = len(row["curve"])
    found: list[float] = row.get("epoch_seconds", [row["step_seconds"] * row["steps"] / epochs] * epochs)
    return found


def mean_and_error(values: Iterable[float]) -> str:
    """ "91.20 ± 0.10"."""
    found = list(values)
    error = f" ± {statistics.stdev(found) / math.sqrt(len(found)):.2f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.2f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "cifar")
    parser.add_argument("--only-tell", action="store_true", help="train nothing; tell what is finished")
    options = parser.parse_args()
    for name in options.parts:
        if not options.only_tell:
            run(name, options.seeds, options.runs / name)
        rows = known()[name]
        beside = PARTS[name].beside
        if rows and beside:
            rows += [row for row in known()[beside] if row["method"] == "dense"]
        if rows:
            tell = tell_clock if PARTS[name].by_clock else tell_methods
            tell(sorted(rows, key=lambda row: row["seed"]), PARTS[name].title)
    Console().print(f"runs are kept in {RESULTS}")


if __name__ == "__main__":
    main()
