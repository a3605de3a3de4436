"""How is the README's picture made? From bench/results: writes docs/pictures/overview.png."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results"
TARGET = Path(__file__).parent / "pictures" / "overview.png"
DENSE, SPARSE, FAINT = "#9aa4af", "#0b6e99", "#57606a"


def read(name: str) -> dict[str, Any]:
    """A file of results."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], unit: str, title: str) -> None:
    """One bar a row, the first of them dense, each with its value and how many times less than dense it is."""
    places = range(len(names))
    axes.barh(places, values, 0.62, color=[DENSE, *[SPARSE] * (len(values) - 1)])
    for place, value in zip(places, values, strict=True):
        gain = "" if place == 0 else f"   {values[0] / value:.1f}x less"
        axes.annotate(
            f"{value:,.0f} {unit}{gain}", (value, place), (5, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.set(yticks=places, yticklabels=names, xlim=(0, 1.45 * max(values)))
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def steps(axes: Axes) -> None:
    """Whole training steps of ResNet-50."""
    rows = read("step_resnet50")["rows"]
    names = ["dense BF16" if row["density"] == 1 else f"{100 * row['density']:g} % of weights" for row in rows]
    bars(axes, names, [row["step_ms"] for row in rows], "ms", "Training step, ResNet-50, batch 32")


def memory(axes: Axes) -> None:
    """Weights, gradients, optimiser, index."""
    content = read("memory")
    names, values = ["dense, mixed"], [sum(content["dense"].values()) / 1e6]
    for one in content["densities"]:
        names.append(f"{100 * one['density']:g} % of weights")
        values.append(sum(one["fixed"].values()) / 1e6)
    bars(axes, names, values, "MB", "Weights, gradients and optimiser, ResNet-50")


def errors(axes: Axes) -> None:
    """MNIST beside the paper's figures."""
    rows = sorted((r for r in read("mnist_table")["rows"] if r["network"] == "lenet300"), key=lambda r: r["density"])
    density = [100 * row["density"] for row in rows]
    axes.plot(density, [row["published"] for row in rows], "o--", color=DENSE, label="published", markersize=4)
    axes.errorbar(
        density, [row["mean"] for row in rows], [row["standard_error"] for row in rows],
        fmt="o-", color=SPARSE, label="mezzotint, 5 seeds", markersize=4, capsize=2,
    )  # fmt: skip
    axes.set(xlabel="% of weights", ylabel="test error, %", ylim=(1, None))
    axes.legend(frameon=False, fontsize=8.5)
    axes.set_title("Accuracy, LeNet-300-100, MNIST", fontsize=10, loc="left")


def main() -> None:
    """The picture."""
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = pyplot.subplots(1, 3, figsize=(12.5, 2.7), layout="constrained")
    for place, draw in zip(axes, (steps, memory, errors), strict=True):
        draw(place)
    machine = read("step_resnet50")["machine"]
    words = f"two cores, {machine['isa'].replace('_', ' ').upper()}, PyTorch {machine['torch']}"
    figure.supxlabel(words, fontsize=7.5, color=FAINT, x=0.995, ha="right")
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=150)
    sys.stdout.write(f"wrote {TARGET}\n")


if __name__ == "__main__":
    main()
