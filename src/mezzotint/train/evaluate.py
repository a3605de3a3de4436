"""How good is the network on the test images? Loss, accuracy and confusion over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.data.loader import Loader
from mezzotint.errors import DataError, message
from mezzotint.precision import Precision
from mezzotint.train.layout import channels_last
from mezzotint.train.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result.

    Attributes:
        loss: mean cross entropy, without label smoothing.
        correct: images whose largest logit is that of their class.
        count: images.
        confusion: int64 [classes, classes]: ``confusion[true, predicted]``.
    """

    loss: float
    correct: int
    count: int
    confusion: Tensor

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
    try:
        for batch in loader:
            check_labels(batch.labels, num_classes, loader, batch.indices)
            images, labels = batch.to(precision.device)
            with precision.autocast():
                logits = model(channels_last(images))
            loss += F.cross_entropy(logits.float(), labels, reduction="sum").double()
            confusion += _confusion(batch.labels, logits.argmax(1).cpu(), num_classes)
            if watch is not None:
                watch(loader.position, len(loader))
    finally:
        model.train(was_training)
    if ranks is not None:
        sums = torch.cat([loss.reshape(1), confusion.reshape(-1).to(loss)])
        ranks.sum_([sums])
        loss, confusion = sums[0], sums[1:].reshape(confusion.shape).long().cpu()
    count = int(confusion.sum())
    return Evaluation(loss=float(loss) / count, correct=int(confusion.trace()), count=count, confusion=confusion)


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
