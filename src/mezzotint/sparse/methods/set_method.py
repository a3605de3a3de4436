"""How does a topology evolve without any gradient of missing weights? SET: prune near zero, grow at random.

Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
network science", algorithm 1: after each epoch each layer loses the same fraction of its smallest positive and of its
largest negative weights, and gets as many new ones at random places.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.grow import rewired
from mezzotint.sparse.prune import fraction_counts, kept_by_sign
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology


class SET(DynamicTopology):
    """Sparse evolutionary training: random growth, any optimiser, no dense gradient ever."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int,
        total_steps: int,
        prune_rate: float = 0.3,
        decay: str = "constant",
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters.
            interval: steps between updates; one epoch in the paper.
            total_steps: length of the training.
            prune_rate: the paper's zeta, which stays.
            decay: of the prune rate: "constant" as published; RigL's authors ran SET with "cosine".
            seed: of the growth.
        """
        schedule = Schedule(interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay=decay)
        rules = Rules(
            name="set",
            decide=lambda views, occasion: swap_in_place(views, fraction_counts(views, occasion.rate)),
            rewire=partial(rewired, keep=kept_by_sign),
        )
        super().__init__(model, optimizer, schedule, rules, seed)
