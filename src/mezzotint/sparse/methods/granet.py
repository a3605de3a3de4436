"""Can pruning take back its mistakes? GraNet: gradual pruning with regeneration at every update.

Liu et al. 2021, "Sparse training via boosting pruning plasticity with neuroregeneration": at each update the network
is pruned to the cubic descent's number; then a fraction of what is left is replaced by the missing weights of largest
gradient, at no cost in weights. It starts at half density, or dense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.gradual import Descending, Descent
from mezzotint.sparse.prune import fraction_of
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.view import LayerView


def decide(views: Sequence[LayerView], targets: Mapping[str, int], rate: float) -> Decision:
    """Prune to the targets and ``rate`` of them besides; regrow the latter."""
    lost, gained = [], []
    for view in views:
        target = min(targets[view.name], view.pattern.nnz)
        swapped = fraction_of(target, rate)
        lost.append(view.pattern.nnz - target + swapped)
        gained.append(swapped)
    return Decision(pruned=lost, grown=gained, share=swap_in_place(views, lost).share)


class GraNet(Descending):
    """Gradual pruning with gradient regrowth; works with any optimiser."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int,
        total_steps: int,
        goal: Mapping[str, int] | None = None,
        density: float | Mapping[str, float] | None = None,
        distribution: str = "erk",
        prune_rate: float = 0.5,
        decay: str = "cosine",
        window: int = 1,
        begin: float = 0.0,
        end: float = 0.75,
    ) -> None:
        """
        Args:
            model: with sparse layers, as dense as training starts.
            optimizer: over its parameters.
            interval: steps between updates.
            total_steps: length of the training.
            goal: layer name -> nonzeros at the end.
            density, distribution: the same as a density at the end, shared out as ``sparsify`` does it; give either.
            prune_rate: fraction that an update regenerates, where its decay begins.
            decay: of that fraction, to 0.
            window: how many gradients before an update are summed.
            begin, end: fractions of the training in which the number of weights shrinks.
        """
        schedule = Schedule(
            interval=interval,
            total_steps=total_steps,
            prune_rate=prune_rate,
            decay=decay,
            window=window,
            final_rate=0.0,
        )
        descent = Descent.of(
            model, schedule, goal=goal, density=density, distribution=distribution, begin=begin, end=end
        )

        def decided(views: Sequence[LayerView], occasion: Occasion) -> Decision:
            return decide(views, self._descent.targets(occasion.step), occasion.rate)

        rules = Rules(
            name="granet",
            decide=decided,
            evidence="gradient",
        )
        super().__init__(model, optimizer, descent, rules)

    @classmethod
    def first_density(cls, density: float) -> float:
        """Half of the weights, as published; never less than the goal."""
        return max(0.5, density)
