"""How are the pictures of the guide to sparse momentum made? From one real update: writes docs/guide/pictures/*.png."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import cross_entropy

import mezzotint as mz
from mezzotint.sparse import LayerChange, Pattern, TopologyReport, sparse_layers

TARGET = Path(__file__).parent / "guide" / "pictures"
INTERVAL, UPDATES, LAYER = 22, 3, "conv2"
INK, BLUE, RED, GREEN, GREY = "#24292f", "#0b6e99", "#b5403a", "#3a8a4d", "#b9c0c8"


@dataclass(frozen=True)
class Update:
    """What the pictures show: one layer before and after an update, and the counts of all layers."""

    before: Pattern
    after: Pattern
    values: Tensor
    momentum: Tensor
    changes: dict[str, LayerChange]


def one_update() -> Update:
    """Train the network for the digits and stop at the update number ``UPDATES``."""
    torch.manual_seed(0)
    loader = mz.data.Loader(mz.data.open_source("digits", "train"), batch_size=64, seed=0, drop_last=True)
    model = mz.models.build("digits_cnn", num_classes=10, in_channels=1, image_size=(8, 8))
    model = mz.sparsify(model, 0.1, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    precision = mz.Precision("fp32")
    topology = mz.SparseMomentum(
        model, optimizer, interval=INTERVAL, total_steps=20 * INTERVAL, window=INTERVAL, stagger=False
    )
    layer = sparse_layers(model)[LAYER]
    moments = torch.zeros(layer.pattern.numel)
    for _ in range(UPDATES):
        for images, labels in loader:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad(set_to_none=True)
            precision.backward(loss)
            gradients = dict(zip(sparse_layers(model), topology.pending_gradients(), strict=True))
            moments = 0.9 * moments + gradients[LAYER].reshape(-1)
            stepped = precision.update(optimizer)
            before, values = layer.pattern, layer.values.detach().clone()
            report = topology.step(stepped)
    return Update(before, layer.pattern, values, moments, changes_of(report))


def changes_of(report: TopologyReport | None) -> dict[str, LayerChange]:
    """The layers of an update that has happened."""
    if report is None:
        raise RuntimeError("no update ended with the last step")
    return dict(report.layers)


def prune(update: Update, axes: Axes) -> None:
    """Active weights by magnitude; the smaller half goes."""
    magnitudes = update.values.abs().sort().values
    count = update.changes[LAYER].pruned
    places = range(len(magnitudes))
    axes.fill_between(places, magnitudes, step="mid", color=BLUE, label="stay", linewidth=0)
    axes.fill_between(places[:count], magnitudes[:count], step="mid", color=RED, label="pruned", linewidth=0)
    axes.set(
        xlabel=f"active weights of {LAYER}, by magnitude", ylabel="|weight|", xlim=(0, len(magnitudes)), ylim=(0, None)
    )
    axes.legend(frameon=False, loc="upper left")


def label(axes: Axes, number: int, x: float, y: float, side: str) -> None:
    """A number beside the end of its bar."""
    shift = -4 if side == "right" else 4
    axes.annotate(
        f"{number:,}", (x, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=8, color=INK
    )


def redistribute(update: Update, axes: Axes) -> None:
    """How many weights each layer loses and gets back."""
    names = list(update.changes)
    for place, name in enumerate(names):
        change = update.changes[name]
        axes.barh(place - 0.19, -change.pruned, 0.36, color=RED, label="loses" if not place else None)
        axes.barh(place + 0.19, change.grown, 0.36, color=GREEN, label="gets" if not place else None)
        label(axes, change.pruned, -change.pruned, place - 0.19, "right")
        label(axes, change.grown, change.grown, place + 0.19, "left")
    widest = max(max(change.pruned, change.grown) for change in update.changes.values())
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="weights", xlim=(-1.25 * widest, 1.25 * widest))
    axes.set_xticks([])
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="upper right")


def grow(update: Update, axes: Axes) -> None:
    """Momentum of weights that do not exist; the largest come to life."""
    active = torch.zeros(update.before.numel, dtype=torch.bool)
    active[update.before.indices.long()] = True
    new = torch.zeros_like(active)
    new[update.after.indices.long()] = True
    scores = update.momentum.abs()
    missing = scores[~active].sort(descending=True)
    grown = new[~active][missing.indices]
    shown = min(len(grown), 6 * int(grown.sum()))
    places = torch.arange(shown)
    heights, chosen = missing.values[:shown], grown[:shown]
    axes.fill_between(places, heights, step="mid", color=GREY, label="stay away", linewidth=0)
    axes.fill_between(places, heights * chosen, step="mid", color=GREEN, label="grown", linewidth=0)
    words = f"missing weights of {LAYER}, by momentum (the first {shown:,})"
    axes.set(xlabel=words, ylabel="|momentum|", xlim=(0, shown), ylim=(0, None))
    axes.legend(frameon=False, loc="upper right")


def pattern(update: Update, axes: Axes) -> None:
    """A corner of the layer's weight as a picture: what stayed, went and came."""
    rows, columns = 32, 96
    channels = update.before.shape[0]
    picture = torch.ones(channels, update.before.numel // channels, 3)
    old, new = (one.to_mask().reshape(channels, -1) for one in (update.before, update.after))
    for mask, colour in ((old & new, BLUE), (old & ~new, RED), (new & ~old, GREEN)):
        picture[mask] = torch.tensor(mpl.colors.to_rgb(colour))
    axes.imshow(picture[:rows, :columns].numpy(), interpolation="nearest", aspect="equal")
    axes.set(xticks=[], yticks=[], xlabel="inputs x taps", ylabel="output channels")


def main() -> None:
    """All pictures."""
    TARGET.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    update = one_update()
    for name, draw, size in (
        ("prune", prune, (6.4, 2.4)),
        ("redistribute", redistribute, (6.4, 2.4)),
        ("grow", grow, (6.4, 2.4)),
        ("pattern", pattern, (6.4, 2.5)),
    ):
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        draw(update, axes)
        figure.savefig(TARGET / f"{name}.png", dpi=140)
        pyplot.close(figure)
        sys.stdout.write(f"wrote {TARGET / name}.png\n")


if __name__ == "__main__":
    main()
