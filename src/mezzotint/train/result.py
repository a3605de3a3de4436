"""What is a run's last word? The summary, the confusion counts, and what ``train`` returns."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mezzotint.train import memory
from mezzotint.train.divergence import as_a_guess
from mezzotint.train.evaluate import Evaluation
from mezzotint.train.parts import Parts, method_name
from mezzotint.train.run import Run
from mezzotint.train.run_folder import Folder
from mezzotint.train.samples import write_mistakes
from mezzotint.train.state import Counters

_MOST_CLASSES: Final = 200  # a larger confusion matrix is written as the pairs that occur
_MOST_PAIRS: Final = 60_000  # more than ImageNet has test images: none is left out there


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a call of ``train`` ended.

    Attributes:
        folder: of the run.
        step: batches done.
        signal: the signal that asked it to stop, or None when it is finished.
        summary: what ``summary.json`` holds, or None while it is not finished.
    """

    folder: Path
    step: int
    signal: signal.Signals | None
    summary: dict[str, Any] | None


def conclude(run: Run, evaluation: Evaluation) -> RunResult:
    """Write ``mistakes.json``, ``decisions.json`` and ``summary.json`` of a run that is finished."""
    parts, folder, counters = run.parts, run.folder, run.counters
    if parts.ranks.leads:
        worst = write_mistakes(folder.path, parts.inputs.test, evaluation.worst)
        write_confusion(parts, folder, evaluation, worst=worst)
    folder.write_json("decisions.json", run.decisions)
    summary = _summary(parts, counters, evaluation)
    folder.write_json("summary.json", summary)
    return RunResult(folder=folder.path, step=counters.step, signal=None, summary=summary)


def write_confusion(parts: Parts, folder: Folder, evaluation: Evaluation, **more: Any) -> None:
    """Write ``mistakes.json`` of the network as it stands; the leader of several ranks does. ``more`` goes with it."""
    if parts.ranks.leads:
        classes = list(parts.inputs.record.classes)
        folder.write_json("mistakes.json", {"classes": classes, **_confusion(evaluation.confusion), **more})


def _confusion(counts: Tensor) -> dict[str, Any]:
    """The matrix; of many classes, images and right answers of each and (true, chosen, count) of frequent mistakes."""
    if len(counts) <= _MOST_CLASSES:
        return {"confusion": counts.tolist()}
    wrong = counts.clone().fill_diagonal_(0)
    places = wrong.nonzero()
    times = wrong[places[:, 0], places[:, 1]]
    order = times.argsort(descending=True, stable=True)[:_MOST_PAIRS]
    pairs = torch.cat([places, times[:, None]], dim=1)[order]
    return {"images": counts.sum(1).tolist(), "right": counts.diagonal().tolist(), "pairs": pairs.tolist()}


def _summary(parts: Parts, counters: Counters, evaluation: Evaluation) -> dict[str, Any]:
    config = parts.config
    largest = int(evaluation.confusion.sum(1).max())  # images of the largest class: what a guess gets right
    held = counters.memory or memory.measure(parts.model, parts.optimizer).record()
    return {
        "name": config.name,
        "model": config.model.name,
        "method": method_name(config.sparsity),
        "precision": config.precision.mode,
        "seed": config.seed,
        "test_accuracy": evaluation.accuracy,
        "test_error": 1.0 - evaluation.accuracy,
        "test_loss": evaluation.loss,
        "test_images": evaluation.count,
        "diverged": counters.diverged,
        "diverged_epochs": counters.lost,
        "chance": largest / max(1, evaluation.count),
        "as_a_guess": as_a_guess(round(evaluation.accuracy * evaluation.count), evaluation.count, largest),
        "epochs": config.schedule.epochs,
        "steps": counters.step,
        "skipped_steps": counters.step - counters.updates,
        "seconds": counters.seconds,
        **memory.weight_counts(parts.model).record(),
        "weight_bytes": held["weights"],
        "optimizer_bytes": held["optimizer"],
        "index_bytes": held["index"],
        "dense_weight_bytes": held["dense"]["weights"],
        "dense_optimizer_bytes": held["dense"]["optimizer"],
    }
