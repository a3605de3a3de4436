"""What is left of sparse momentum without redistribution? SNFS as the authors of RigL coded it.

Evci et al. 2020, section 4 and ``sparse_optimizers.py``: growth by a running average of dense gradients that is kept
apart from the optimiser (decay 0.9); every layer keeps its number of weights; grown weights start at 0 without state.
Their average needs the dense gradient at every step; here it is collected in a window before each layer's turn.
"""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.prune import fraction_counts
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology


class SNFS(DynamicTopology):
    """Growth by averaged gradients; works with any optimiser."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int = 100,
        total_steps: int,
        prune_rate: float = 0.3,
        decay: str = "cosine",
        window: int = 44,
        stagger: bool = True,
        end: float = 0.75,
    ) -> None:
        """Arguments as of RigL; ``window``: gradients that are averaged, ``interval`` or more: all, as published."""
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
        rules = Rules(
            name="snfs",
            decide=lambda views, occasion: swap_in_place(views, fraction_counts(views, occasion.rate)),
            evidence="average_gradient",
        )
        super().__init__(model, optimizer, schedule, rules)
