"""How do layers find their own densities with random growth? DSR: one magnitude threshold for the whole network.

Mostafa and Wang 2019, "Parameter efficient training of deep convolutional neural networks by dynamic sparse
reparameterization", algorithm 1. All weights below an adaptive threshold are pruned; the threshold doubles when too few
fell below it and halves when too many did; layers get new weights in proportion to those that survived in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.prune import counts_below
from mezzotint.sparse.redistribute import grow_counts
from mezzotint.sparse.rules import Decision, Occasion, Rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def decide(views: Sequence[LayerView], occasion: Occasion, threshold: float, tolerance: float) -> Decision:
    """What falls below the threshold is pruned, and grown in proportion to what survives.

    Args:
        views: the layers.
        occasion: ``rate`` is the fraction of all weights that an update is meant to prune.
        threshold: the first one; later ones are remembered.
        tolerance: the threshold stays while the number pruned is within this fraction of the number meant.
    """
    height = float(occasion.memory.get("threshold", threshold))
    pruned = counts_below(views, height)
    survivors = [float(view.pattern.nnz - lost) for view, lost in zip(views, pruned, strict=True)]
    total = sum(survivors)
    share = [count / total if total else 1 / len(views) for count in survivors]
    meant = occasion.rate * sum(view.pattern.nnz for view in views)
    if sum(pruned) < (1 - tolerance) * meant:
        height *= 2
    elif sum(pruned) > (1 + tolerance) * meant:
        height /= 2
    grown = grow_counts(views, pruned, share)
    return Decision(pruned=pruned, grown=grown, share=share, memory={"threshold": height})


class DSR(DynamicTopology):
    """Dynamic sparse reparameterization: any optimiser, no dense gradient ever."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int,
        total_steps: int,
        prune_rate: float = 0.1,
        decay: str = "constant",
        threshold: float = 1e-3,
        tolerance: float = 0.1,
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters.
            interval: steps between updates.
            total_steps: length of the training.
            prune_rate: fraction of all active weights that an update is meant to move.
            decay: of the prune rate.
            threshold: the first magnitude below which weights are pruned (the paper's H, 0.001).
            tolerance: see :func:`decide` (the paper's delta).
            seed: of the growth.

        Raises:
            InputError: a setting out of range.
        """
        if not threshold > 0:
            raise InputError(message("threshold", received=threshold, allowed="above 0; 0.001 in the paper"))
        if not 0 <= tolerance < 1:
            raise InputError(message("tolerance", received=tolerance, allowed="0 to below 1; 0.1 in the paper"))
        schedule = Schedule(interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay=decay)
        rules = Rules(
            name="dsr",
            decide=lambda views, occasion: decide(views, occasion, threshold, tolerance),
            settings={"threshold": threshold, "tolerance": tolerance},
        )
        super().__init__(model, optimizer, schedule, rules, seed)
