"""Which weights does sparse momentum move? Prune by magnitude, redistribute by mean momentum, grow by momentum.

Dettmers and Zettlemoyer 2019, "Sparse networks from scratch: faster training without losing performance", algorithm 1,
as its authors coded it where paper and code differ, but with exact counts and no correction terms. The dense momentum
that ranks missing weights is collected only in a window before each layer's turn (see ``sparse.moments``); a window as
long as the interval gives the published algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import require_registered
from mezzotint.sparse.grow import Grow, grown_by_neuron, grown_pattern, rewired
from mezzotint.sparse.prune import KEEPS, Keep, global_counts, kept_by_magnitude, prune_counts
from mezzotint.sparse.redistribute import PULLS, grow_counts, importance, mean_momentum
from mezzotint.sparse.rules import Decision, Rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView

OWN_LAYER: Final = "none"
GLOBAL: Final = "global"
GROWTHS: Final[dict[str, tuple[str | None, Grow]]] = {
    "momentum": ("momentum", grown_pattern),
    "momentum_neuron": ("momentum", grown_by_neuron),
    "gradient": ("gradient", grown_pattern),
    "random": (None, grown_pattern),
}
"""Name -> the evidence by which missing weights rank (None: random numbers), and how they are chosen by it."""


def decide(
    views: Sequence[LayerView], rate: float, redistribution: str = "momentum", pruning: str = "magnitude"
) -> Decision:
    """How many weights each layer loses and gets in one update.

    Args:
        views: the layers, with momentum.
        rate: fraction of its active weights that each layer loses.
        redistribution: "momentum", "magnitude" or "nonzeros": in proportion to that; "none": each layer gets back as
            many as it lost.
        pruning: "global": the layers lose the smallest weights of the whole network, as many as they would lose
            one by one; otherwise each loses its own fraction.
    """
    by_momentum = importance(mean_momentum(views), views)
    pruned = prune_counts(views, by_momentum, rate)
    if pruning == GLOBAL:
        pruned = global_counts(views, sum(pruned))
    if redistribution == OWN_LAYER:
        return Decision(share=by_momentum, pruned=pruned, grown=pruned)
    share = importance(PULLS[redistribution](views), views)
    return Decision(share=share, pruned=pruned, grown=grow_counts(views, pruned, share))


class SparseMomentum(DynamicTopology):
    """Moves the sparse layers' weights to where momentum says they are needed; nnz is the same after every step.

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
        stagger: bool = True,
        redistribution: str = "momentum",
        growth: str = "momentum",
        pruning: str = "magnitude",
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters, built after ``sparsify``: SGD with momentum (Nesterov or not), Adam, AdamW.
            interval: steps between updates; the published recipes use one epoch.
            total_steps: length of the training in steps. The last update leaves one whole interval of training.
            prune_rate: fraction of the active weights that an update moves, where its decay begins: see ``Schedule``.
            window: steps before each layer's turn in which its dense gradient is computed; ``interval``: always.
            decay: of the prune rate: "cosine", "linear" or "constant".
            stagger: spread the layers' turns over the interval, so that their windows follow each other; at most
                ``ceil(window * layers / interval)`` dense buffers are alive. False: all layers change at once.
            redistribution: over layers, by "momentum", "magnitude", "nonzeros", or "none".
            growth: by "momentum", "momentum_neuron" (first shared out over output units by their mean momentum),
                "gradient" (of the window, as RigL) or "random".
            pruning: by "magnitude", "set" (smallest positive and largest negative) or "global" (smallest of the whole
                network).
            seed: of random growth.

        Raises:
            InputError: no sparse layer, an optimiser without momentum, or a setting out of range.
            NotRegistered: an unknown decay, redistribution, growth or pruning.
        """
        schedule = Schedule(
            interval=interval,
            total_steps=total_steps,
            prune_rate=prune_rate,
            decay=decay,
            window=window,
            stagger=stagger,
        )
        super().__init__(model, optimizer, schedule, sparse_momentum_rules(redistribution, growth, pruning), seed)


def sparse_momentum_rules(
    redistribution: str = "momentum", growth: str = "momentum", pruning: str = "magnitude"
) -> Rules:
    """The rules of sparse momentum."""
    keeps: dict[str, Keep] = {**KEEPS, GLOBAL: kept_by_magnitude}
    require_registered("redistribution", redistribution, (*PULLS, OWN_LAYER))
    require_registered("growth", growth, GROWTHS)
    require_registered("pruning", pruning, keeps)
    evidence, grow = GROWTHS[growth]
    return Rules(
        name="sparse_momentum",
        decide=lambda views, occasion: decide(views, occasion.rate, redistribution, pruning),
        rewire=partial(rewired, keep=keeps[pruning], grow=grow),
        evidence=evidence,
        reads_momentum=True,
        settings={"redistribution": redistribution, "growth": growth, "pruning": pruning},
    )
