"""How good is the network on the test images? Loss, accuracy and confusion over all of them that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.data.batch import Batch
from mezzotint.data.loader import Loader
from mezzotint.errors import DataError, message
from mezzotint.precision import Precision
from mezzotint.train.layout import channels_last
from mezzotint.train.ranks import Ranks

_WORST: Final = 24


class Mistake(NamedTuple):
    """A wrongly classified image: its place in the source, its class, the chosen one, and the probability of both."""

    sample: int
    true: int
    chosen: int
    true_probability: float
    chosen_probability: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result.

    Attributes:
        loss: mean cross entropy, without label smoothing.
        correct: images whose largest logit is that of their class.
        count: images that could be read; what stands in for the others in a batch is not looked at.
        confusion: int64 [classes, classes]: ``confusion[true, predicted]``.
        worst: the wrongly classified images whose true class was given the least probability, the worst first.
    """

    loss: float
    correct: int
    count: int
    confusion: Tensor
    worst: tuple[Mistake, ...] = ()

    @property
    def accuracy(self) -> float:
        """correct / count."""
        return self.correct / self.count


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    precision: Precision,
    num_classes: int,
    ranks: Ranks | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run every batch of one pass through the model in evaluation mode; the mode is put back afterwards.

    Args:
        model: images [N, C, H, W] to logits [N, num_classes], on ``precision.device``.
        loader: is set to its beginning.
        precision: casts the forward pass as in training.
        num_classes: length of the logits.
        ranks: the processes that share the work, each with its shard of the images; all get the whole result.
        watch: is told how many batches of how many are done.

    Raises:
        DataError: a label that is no class of the network.
    """
    loader.seek(0)
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=precision.device)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    worst: list[Mistake] = []
    try:
        for handed in loader:
            batch = _readable(handed)
            if len(batch) == 0:
                continue
            check_labels(batch.labels, num_classes, loader, batch.indices)
            images, labels = batch.to(precision.device)
            with precision.autocast():
                logits = model(channels_last(images))
            loss += F.cross_entropy(logits.float(), labels, reduction="sum").double()
            predicted = logits.argmax(1)
            confusion += _confusion(batch.labels, predicted.cpu(), num_classes)
            worst = _worst([*worst, *_mistakes(logits, labels, predicted, batch.indices)])
            if watch is not None:
                watch(loader.position, len(loader))
    finally:
        model.train(was_training)
    if ranks is not None:
        sums = torch.cat([loss.reshape(1), confusion.reshape(-1).to(loss)])
        ranks.sum_([sums])
        loss, confusion = sums[0], sums[1:].reshape(confusion.shape).long().cpu()
        worst = _worst(chain.from_iterable(ranks.gathered(worst)))
    count = int(confusion.sum())
    return Evaluation(
        loss=float(loss) / count,
        correct=int(confusion.trace()),
        count=count,
        confusion=confusion,
        worst=tuple(worst),
    )


def _readable(batch: Batch) -> Batch:
    """The batch without the stand-ins for images that cannot be read."""
    if not batch.bad:
        return batch
    bad = torch.tensor([sample.index for sample in batch.bad])
    kept = ~torch.isin(batch.indices, bad)
    return Batch(batch.images[kept], batch.labels[kept], batch.indices[kept])


def _mistakes(logits: Tensor, labels: Tensor, predicted: Tensor, indices: Tensor) -> list[Mistake]:
    """The wrongly classified images of a batch."""
    wrong = (predicted != labels).nonzero()[:, 0]
    true, chosen = labels[wrong], predicted[wrong]
    shares = logits[wrong].float().softmax(1)
    both = torch.stack([shares.gather(1, one[:, None])[:, 0] for one in (true, chosen)]).nan_to_num(0.0)
    columns = (indices[wrong.cpu()], true, chosen, *both)
    return [Mistake(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _worst(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The worst of them, in an order that does not depend on batches or ranks."""
    return nsmallest(_WORST, mistakes, key=lambda one: (one.true_probability, one.sample))


def check_labels(labels: Tensor, num_classes: int, loader: Loader, indices: Tensor) -> None:
    """Refuse labels, int64 [N], outside 0 .. num_classes - 1.

    Raises:
        DataError: naming the first such sample.
    """
    wrong = (labels < 0) | (labels >= num_classes)
    if not bool(wrong.any()):
        return
    place = int(wrong.nonzero()[0])
    raise DataError(
        message(
            f"label of {loader.source.name(int(indices[place]))}",
            received=int(labels[place]),
            allowed=f"0 to {num_classes - 1}, as the network has {num_classes} classes",
            fix="Correct the label file, or train with the data set's own number of classes.",
        )
    )


def _confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    cells = torch.bincount(labels * num_classes + predicted, minlength=num_classes * num_classes)
    return cells.reshape(num_classes, num_classes)
