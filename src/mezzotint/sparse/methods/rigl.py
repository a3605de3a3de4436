"""What if missing weights grow where the gradient of the moment is largest? RigL.

Evci et al. 2020, "Rigging the lottery: making all tickets winners", algorithm 1: in each layer the smallest fraction of
weights is replaced by the missing ones of largest gradient magnitude, with a cosine down to 0 over the first three
quarters of the training. A grown weight starts at 0 without momentum; one that is pruned and grown in the same update
keeps its value, as in the published code. The counts of layers stay.
"""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.prune import fraction_counts
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology


class RigL(DynamicTopology):
    """Gradient growth; works with any optimiser."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int = 100,
        total_steps: int,
        prune_rate: float = 0.3,
        decay: str = "cosine",
        window: int = 1,
        stagger: bool = True,
        end: float = 0.75,
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters.
            interval: steps between updates (the paper's delta T, 100).
            total_steps: length of the training.
            prune_rate: fraction that an update moves, where its decay begins (the paper's alpha, 0.3).
            decay: of the prune rate, down to 0.
            window: how many gradients before a layer's turn are summed; 1 as published.
            stagger: spread the layers' turns over the interval, so that one dense gradient exists at a time; False, as
                published: all at once.
            end: fraction of the training after which the topology stays.
        """
        schedule = Schedule(
            interval=interval,
            total_steps=total_steps,
            prune_rate=prune_rate,
            decay=decay,
            window=window,
            stagger=stagger,
            end=end,
            final_rate=0.0,
        )
        super().__init__(model, optimizer, schedule, rigl_rules("rigl"))


def rigl_rules(name: str) -> Rules:
    """Each layer swaps its smallest weights for the missing ones of largest gradient."""
    return Rules(
        name=name,
        decide=lambda views, occasion: swap_in_place(views, fraction_counts(views, occasion.rate)),
        evidence="gradient",
    )
