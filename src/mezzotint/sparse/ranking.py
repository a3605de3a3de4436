"""Which k entries are the largest or the smallest? One answer on every device: ties go to the lower position."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.errors import InputError, RunError, message


def largest(scores: Tensor, count: int) -> Tensor:
    """Positions (int64, ascending) of the ``count`` largest entries of ``scores``, a tensor of one axis.

    Equal entries are taken from the lowest position up, so that the choice does not depend on the sorting algorithm of
    the device at hand.

    Raises:
        InputError: ``count`` is negative or more than there are scores.
        RunError: a score is NaN, which has no rank.
    """
    if not 0 <= count <= scores.numel():
        raise InputError(message("count of entries to choose", received=count, allowed=f"0 to {scores.numel()}"))
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    if bool(scores.isnan().any()):
        raise RunError("scores to rank: some are NaN; the weights or the momentum have diverged before this update.")
    threshold = torch.topk(scores, count, sorted=False).values.min()
    chosen = scores > threshold
    ties = (scores == threshold).nonzero().view(-1)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen.nonzero().view(-1)


def smallest(scores: Tensor, count: int) -> Tensor:
    """Positions (int64, ascending) of the ``count`` smallest entries; ties and errors as in :func:`largest`."""
    return largest(scores.neg(), count)
