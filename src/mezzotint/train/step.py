"""What happens in one training step? Forward, backward, update, topology; a skipped step leaves no trace."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.data.augment.mix import build_mix, mix_batch
from mezzotint.data.batch import Batch
from mezzotint.data.random import Key
from mezzotint.precision.gradients import attached_gradients, own_gradients
from mezzotint.sparse import TopologyReport, topology_digest
from mezzotint.train.evaluate import check_labels
from mezzotint.train.layout import channels_last
from mezzotint.train.optimizer import set_learning_rate
from mezzotint.train.parts import Parts


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The outcome of a step.

    Attributes:
        loss: of the batch, label smoothing included; not finite when the forward pass overflowed. With several ranks
            this one's part of it: they add up.
        correct: images of the batch (of this rank's part) that were classified rightly, before the update.
        count: images of the whole batch.
        stepped: False when the update was skipped.
        topology: what a topology update changed, or None.
    """

    loss: float
    correct: int
    count: int
    stepped: bool
    topology: TopologyReport | None


@dataclass(kw_only=True)
class Clock:
    """Seconds by phase. On a GPU it waits for the device at every lap, so it runs only on steps that are logged."""

    device: torch.device
    running: bool
    phases: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Book the time since the last lap on ``phase``."""
        if not self.running:
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self._last
        self._last = now


def training_step(parts: Parts, batch: Batch, rate: float, clock: Clock) -> StepResult:
    """Take one step with the learning rate ``rate``.

    The gradients stay until the next step clears them. When the update is skipped (a gradient is not finite),
    parameters, optimiser state, topology and the running statistics of batch norms are as they were before.

    Raises:
        DataError: a label that is no class of the network.
        RunError: too many skipped steps in a row.
    """
    model, precision, optimizer = parts.model, parts.precision, parts.optimizer
    ranks = parts.ranks
    whole = len(batch) if ranks.size == 1 else parts.config.data.batch_size
    _seed(parts)
    check_labels(batch.labels, len(parts.inputs.record.classes), parts.inputs.train, batch.indices)
    images, labels = batch.to(precision.device)
    images, targets = _mixed(parts, images, labels)
    set_learning_rate(optimizer, rate)
    before = _copies(model)
    optimizer.zero_grad(set_to_none=True)
    total, correct = 0.0, 0
    for part, wanted, true in _micro_batches(parts, images, targets, labels):
        with precision.autocast():
            logits = model(channels_last(part))
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=parts.config.optimizer.label_smoothing)
        loss = loss * (len(part) / whole)  # so that the sum over parts and ranks is the mean over the batch
        clock.lap("forward")
        precision.backward(loss)
        clock.lap("backward")
        total += float(loss.detach())
        correct += int((logits.detach().argmax(1) == true).sum())
    # Before the check for overflow: what is not finite anywhere is not finite in the sum, so all ranks skip or none.
    ranks.sum_([*own_gradients(optimizer), *attached_gradients(optimizer)])
    ranks.mean_([buffer for buffer in model.buffers() if buffer.is_floating_point()])
    if ranks.size > 1:
        clock.lap("reduction")
    stepped = precision.update(optimizer, clip_norm=parts.config.optimizer.clip_norm)
    if not stepped:
        _restore(before)
    clock.lap("optimizer")
    report = parts.topology.step(stepped)
    if report is not None:
        ranks.require_equal("topology", topology_digest(model))
    if parts.average is not None:
        parts.average.step(stepped)
    clock.lap("topology")
    return StepResult(
        loss=total,
        correct=correct,
        count=whole,
        stepped=stepped,
        topology=report,
    )


def _seed(parts: Parts) -> None:
    """Random numbers of the network's own (dropout) depend on the step and the rank alone: nothing need be saved."""
    loader = parts.inputs.train
    key = Key(parts.config.seed, loader.epoch, loader.position).child(_of_rank("network", parts))
    torch.manual_seed(key.integers(0, 1 << 31))


def _of_rank(what: str, parts: Parts) -> str:
    return f"{what}, rank {parts.ranks.rank}" if parts.ranks.rank else what


def _mixed(parts: Parts, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch after the mixes of the configuration, with soft targets; without any, the batch and its labels."""
    settings, loader = parts.config.data.mix, parts.inputs.train
    if not settings:
        return images, labels
    key = Key(parts.config.seed, loader.epoch, loader.position).child(_of_rank("mix", parts))
    return mix_batch([build_mix(one) for one in settings], images, labels, len(parts.inputs.record.classes), key)


def _micro_batches(
    parts: Parts, images: Tensor, targets: Tensor, labels: Tensor
) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    """(images, targets, labels) of each part of the batch."""
    count = parts.config.data.micro_batches
    return zip(images.chunk(count), targets.chunk(count), labels.chunk(count), strict=True)


def _copies(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Buffers and their contents: an overflow in the forward pass would stay in running statistics for ever."""
    return [(buffer, buffer.clone()) for buffer in model.buffers()]


def _restore(copies: list[tuple[Tensor, Tensor]]) -> None:
    for buffer, content in copies:
        buffer.copy_(content)
