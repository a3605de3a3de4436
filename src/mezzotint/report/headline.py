"""What is the run's result in one line? Taken from the summary, or from the latest record while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mezzotint.report.files import finite, mapping, words
from mezzotint.report.record import Epoch, Layer, Run, Summary

#: Stands for the last epoch while none has ended.
_NOTHING = Epoch(
    epoch=-1,
    step=None,
    train_loss=None,
    train_accuracy=None,
    test_loss=None,
    test_accuracy=None,
    nnz=None,
    numel=None,
    density=None,
    layers={},
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The numbers that stand on top; None where the run does not (yet) hold them.

    Attributes:
        state: ``"finished"``, ``"in progress"``, or ``"not finished"`` where nobody trains in the folder.
        folder: the name of the run's folder, where it is another than ``name``.
        accuracy: test accuracy (0..1), last epoch, of ``images``.
        diverged: whether the last epoch's loss was one of a training that is lost.
        lost: the epochs whose loss was, counted from 1.
        as_a_guess: whether the accuracy is no better than ``chance``, that of always naming the largest class.
        epochs, steps: done so far; of_epochs: those that the run is to have; skipped: those steps that changed nothing,
            where the run counts them.
        seconds: training time; of a run that is not finished the sum of its epochs.
        multiply_adds: the share of the dense network's that the network as it stands computes.
        sparse_bytes, dense_bytes: weights + optimiser state + index, of the run and of its dense twin.
    """

    name: str
    folder: str
    model: str
    state: str
    method: str
    precision: str
    accuracy: float | None
    best_accuracy: float | None
    images: float | None
    diverged: bool
    lost: tuple[int, ...]
    as_a_guess: bool
    chance: float | None
    epochs: float | None
    of_epochs: float | None
    steps: float | None
    skipped: float | None
    seconds: float | None
    nnz: float | None
    numel: float | None
    density: float | None
    multiply_adds: float | None
    sparse_bytes: float | None
    dense_bytes: float | None


def headline(run: Run) -> Headline:
    """Put the run's result together."""
    summary = run.summary or Summary()
    last = run.epochs[-1] if run.epochs else _NOTHING
    sparse_bytes, dense_bytes = _bytes(run, summary)
    tested = [epoch.test_accuracy for epoch in run.epochs if epoch.test_accuracy is not None]
    folder = run.folder.resolve().name
    name = summary.name or words(run.config.get("name")) or folder
    return Headline(
        name=name,
        folder=folder if folder != name else "",
        model=summary.model or words(mapping(run.config.get("model")).get("name")),
        state="finished" if run.summary else "not finished" if run.training is False else "in progress",
        method=summary.method or _configured(run, "method"),
        precision=summary.precision or _configured(run, "precision") or _configured(run, "mode"),
        accuracy=_first(summary.test_accuracy, last.test_accuracy),
        best_accuracy=max(tested, default=None),
        images=_first(last.test_images, sum(run.mistakes.images) if run.mistakes else None),
        diverged=last.diverged,
        lost=tuple(epoch.epoch + 1 for epoch in run.epochs if epoch.diverged),
        as_a_guess=summary.as_a_guess,
        chance=summary.chance,
        epochs=_first(summary.epochs, last.epoch + 1 or None),
        of_epochs=finite(mapping(run.config.get("schedule")).get("epochs")),
        steps=_first(summary.steps, max([last.step or 0, *(step.step for step in run.steps)]) or None),
        skipped=summary.skipped_steps,
        seconds=_first(summary.seconds, _sum(*(item.seconds for item in run.epoch_times)) if run.epoch_times else None),
        nnz=_first(summary.nnz, last.nnz),
        numel=_first(summary.numel, last.numel),
        density=_first(summary.density, _density(summary), last.density),
        multiply_adds=multiply_adds(run),
        sparse_bytes=sparse_bytes,
        dense_bytes=dense_bytes,
    )


def guessed(accuracy: float | None, chance: float | None) -> str:
    """A few words for a result that a guess could have given."""
    return "may be luck" if luck(accuracy, chance) else "no better than guessing"


def luck(accuracy: float | None, chance: float | None) -> bool:
    """Of a result that a guess could have given: whether it is better than most guesses are."""
    return (accuracy or 0.0) > (chance or 0.0)


def final_layers(run: Run) -> dict[str, Layer]:
    """The layers as they stand after the last recorded epoch or topology update, whichever is later."""
    layers = dict(_last_with_layers(run.epochs))
    after = run.topology[-1] if run.topology else None
    last_epoch = run.epochs[-1].step if run.epochs else None
    if after is None or (layers and last_epoch is not None and last_epoch >= after.step):
        return layers
    for name, move in after.layers.items():
        numel = layers[name].numel if name in layers else _numel(move.after, move.density)
        layers[name] = Layer(nnz=move.after, numel=numel, density=move.density)
    return layers


def multiply_adds(run: Run) -> float | None:
    """The share of the dense network's multiply-adds that is left, with the layers as they stand; None: not counted."""
    dense = sum(run.arithmetic.values())
    layers = final_layers(run)
    if not dense or any(layer.density is None for layer in layers.values()):
        return None
    left = (of * (layers[name].density or 0.0 if name in layers else 1.0) for name, of in run.arithmetic.items())
    return sum(left) / dense


def _last_with_layers(epochs: tuple[Epoch, ...]) -> dict[str, Layer]:
    return next((epoch.layers for epoch in reversed(epochs) if epoch.layers), {})


def _numel(nnz: int | None, density: float | None) -> int | None:
    return round(nnz / density) if nnz is not None and density else None


def _density(summary: Summary) -> float | None:
    return summary.nnz / summary.numel if summary.nnz is not None and summary.numel else None


def _bytes(run: Run, summary: Summary) -> tuple[float | None, float | None]:
    """Weights + optimiser + index, sparse and dense: from the summary, else from the measurement."""
    sparse = _sum(summary.weight_bytes, summary.optimizer_bytes, summary.index_bytes or 0.0)
    dense = _sum(summary.dense_weight_bytes, summary.dense_optimizer_bytes)
    if run.memory is None:
        return sparse, dense
    held, full = run.memory.sparse, run.memory.dense
    return (
        _first(sparse, _sum(held.get("weights"), held.get("optimizer"), held.get("index", 0.0))),
        _first(dense, _sum(full.get("weights"), full.get("optimizer"))),
    )


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _configured(run: Run, key: str) -> str:
    """The first text value of ``key`` in the config, at the top or one table down."""
    tables: list[Any] = [run.config, *(mapping(value) for value in run.config.values())]
    return next((words(table[key]) for table in tables if isinstance(table.get(key), str)), "")
