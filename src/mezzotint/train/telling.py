"""What is told of a step and of an epoch? The rows of the record, callbacks, and what the progress bar shows."""

from __future__ import annotations

import time

from mezzotint.train import memory
from mezzotint.train.divergence import diverged
from mezzotint.train.evaluate import Evaluation
from mezzotint.train.progress import EpochView, StepView
from mezzotint.train.run import Run
from mezzotint.train.step import Clock, StepResult


def tell_step(run: Run, epoch: int, rate: float, result: StepResult, clock: Clock) -> None:
    """Write what is to be written about a step, and show it."""
    parts, counters, folder = run.parts, run.counters, run.folder
    if result.stepped and counters.memory is None:
        counters.memory = memory.measure(parts.model, parts.optimizer).record()
        folder.metrics({"kind": "memory", **counters.memory})
    if result.topology is not None:
        moved = {**result.topology.as_record(), "step": counters.step, "epoch": epoch}
        folder.metrics({"kind": "topology", **moved})
        run.callbacks("on_topology_update", moved)
    density = memory.weight_counts(parts.model).density
    if clock.running:
        row = {
            "step": counters.step,
            "epoch": epoch,
            "loss": result.loss,
            "accuracy": result.correct / result.count,
            "lr": rate,
            "loss_scale": parts.precision.loss_scale,
            "skipped": not result.stepped,
            "density": density,
        }
        folder.metrics({"kind": "step", **row})
        seconds = sum(clock.phases.values())
        speed = {"seconds": seconds, "images_per_second": result.count / seconds}
        folder.timing({"step": counters.step, **speed, "phases": clock.phases})
        run.callbacks("on_step", {**row, **speed})
    run.progress.step(
        StepView(
            step=counters.step,
            epoch=epoch,
            loss=counters.mean_loss,
            accuracy=counters.accuracy,
            density=density,
            loss_scale=parts.precision.loss_scale,
        )
    )


def tell_epoch(run: Run, epoch: int, evaluation: Evaluation, *, trained: float, waited: float) -> None:
    """Write and show an epoch that is trained and tested; ``trained`` and ``waited`` are seconds before its test."""
    parts, counters = run.parts, run.counters
    counts = memory.weight_counts(parts.model)
    counters.diverged = diverged(
        train_loss=counters.mean_loss,
        test_loss=evaluation.loss,
        classes=len(parts.inputs.record.classes),
        taken=counters.taken,
        steps=parts.steps_per_epoch,
        loss_scale=parts.precision.loss_scale,
    )
    if counters.diverged:
        counters.lost.append(epoch)
    row = {
        "epoch": epoch,
        "step": counters.step,
        "train_loss": counters.mean_loss,
        "train_accuracy": counters.accuracy,
        "test_loss": evaluation.loss,
        "test_accuracy": evaluation.accuracy,
        "test_images": evaluation.count,
        "diverged": counters.diverged,
        **counts.record(),
        "layers": {name: layer.record() for name, layer in memory.layer_counts(parts.model).items()},
    }
    run.folder.metrics({"kind": "epoch", **row})
    seconds = time.perf_counter() - run.epoch_began
    run.folder.timing({"epoch": epoch, "seconds": seconds, "waited": waited, "tested": seconds - trained})
    run.callbacks("on_epoch_end", row)
    run.folder.write_json("decisions.json", run.decisions)
    run.progress.epoch(
        EpochView(
            epoch=epoch,
            train_loss=counters.mean_loss,
            train_accuracy=counters.accuracy,
            test_loss=evaluation.loss,
            test_accuracy=evaluation.accuracy,
            density=counts.density,
            skipped=counters.step - counters.updates,
            quarantined=len(run.bad),
            diverged=counters.diverged,
            waited=waited / trained,
            seconds=seconds,
        )
    )
