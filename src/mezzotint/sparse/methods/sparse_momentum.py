"""Which weights does sparse momentum move? Prune by magnitude, redistribute by mean momentum, grow by momentum.

Dettmers and Zettlemoyer 2019, "Sparse networks from scratch: faster training without losing performance". The dense
momentum that ranks missing weights is collected only in a window before each update (see ``sparse.moments``); a window
as long as the interval gives the published algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import NotRegistered, message, suggest
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import Decision, DynamicTopology, Rules
from mezzotint.sparse.update import (
    PULLS,
    LayerView,
    grow_counts,
    grown_pattern,
    importance,
    kept_by_magnitude,
    mean_momentum,
    prune_counts,
)

OWN_LAYER: Final = "none"


def decide(views: Sequence[LayerView], rate: float, redistribution: str = "momentum") -> Decision:
    """How many weights each layer loses and gets in one update.

    Args:
        views: the layers.
        rate: fraction of its active weights that each layer loses.
        redistribution: "momentum", "magnitude" or "nonzeros": in proportion to that; "none": each layer gets back as
            many as it lost.
    """
    by_momentum = importance(mean_momentum(views), views)
    pruned = prune_counts(views, by_momentum, rate)
    if redistribution == OWN_LAYER:
        return Decision(share=by_momentum, pruned=pruned, grown=pruned)
    share = importance(PULLS[redistribution](views), views)
    return Decision(share=share, pruned=pruned, grown=grow_counts(views, pruned, share))


class SparseMomentum(DynamicTopology):
    """Moves the sparse layers' weights to where momentum says they are needed; nnz is the same after every update.

    Call :meth:`step` after every optimiser step with what ``Precision.step`` returned. The optimiser's state moves
    with the weights; a grown weight starts at 0.0 with the momentum of the window. A weight that is pruned and grown
    again in the same update keeps its value and its state, as in the published code. Frozen layers
    (``values.requires_grad`` False) are left alone.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int,
        total_steps: int,
        prune_rate: float = 0.5,
        window: int = 44,
        decay: str = "cosine",
        redistribution: str = "momentum",
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters, built after ``sparsify``: SGD with momentum (Nesterov or not), Adam, AdamW.
            interval: steps between updates; the published recipes use one epoch.
            total_steps: length of the training in steps. The last update leaves one whole interval of training.
            prune_rate: fraction of the active weights that each update moves, at first.
            window: steps before each update in which dense gradients are computed; ``interval`` or more: always.
            decay: of the prune rate: "cosine", "linear" or "constant".
            redistribution: "momentum", "magnitude", "nonzeros" or "none".

        Raises:
            InputError: no sparse layer, an optimiser without momentum, or a setting out of range.
            NotRegistered: an unknown decay or redistribution.
        """
        schedule = Schedule(
            interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay=decay, window=window
        )
        super().__init__(model, optimizer, schedule, sparse_momentum_rules(redistribution))

    @classmethod
    def build(cls, model: nn.Module, optimizer: Optimizer, schedule: Schedule) -> SparseMomentum:
        """Sparse momentum with ``schedule``, redistributing by momentum."""
        return cls(
            model,
            optimizer,
            interval=schedule.interval,
            total_steps=schedule.total_steps,
            prune_rate=schedule.prune_rate,
            window=schedule.window,
            decay=schedule.decay,
        )


def sparse_momentum_rules(redistribution: str = "momentum") -> Rules:
    """The rules of sparse momentum."""
    known = [*PULLS, OWN_LAYER]
    if redistribution not in known:
        raise NotRegistered(
            message("redistribution", received=redistribution, allowed=", ".join(known))
            + suggest(redistribution, known)
        )
    return Rules(
        name="sparse_momentum",
        decide=lambda views, rate: decide(views, rate, redistribution),
        keep=kept_by_magnitude,
        grow=grown_pattern,
        settings={"redistribution": redistribution},
    )
