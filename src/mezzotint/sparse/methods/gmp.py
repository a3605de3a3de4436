"""What does dense-to-sparse training reach? Gradual magnitude pruning: fewer and fewer weights, none comes back.

Zhu and Gupta 2017, "To prune, or not to prune"; Gale et al. 2019, "The state of sparsity in deep neural networks". The
network starts dense (stored as a sparse layer in which every weight is active) or as dense as it is told to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import require_registered
from mezzotint.sparse.gradual import Descending, Descent
from mezzotint.sparse.prune import global_counts
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.view import LayerView

SCOPES = ("layer", "global")


def decide(views: Sequence[LayerView], targets: Mapping[str, int], scope: str) -> Decision:
    """Prune to the targets: each layer to its own, or the smallest weights of all layers to their sum."""
    lost = [max(view.pattern.nnz - targets[view.name], 0) for view in views]
    if scope == "global":
        total = sum(view.pattern.nnz for view in views) - sum(targets[view.name] for view in views)
        lost = global_counts(views, max(total, 0))
    share = swap_in_place(views, lost).share
    return Decision(pruned=lost, grown=[0] * len(views), share=share)


class GMP(Descending):
    """Gradual magnitude pruning; works with any optimiser, no dense gradient ever."""

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
        begin: float = 0.0,
        end: float = 0.75,
        scope: str = "layer",
    ) -> None:
        """
        Args:
            model: with sparse layers, as dense as training starts.
            optimizer: over its parameters.
            interval: steps between updates.
            total_steps: length of the training.
            goal: layer name -> nonzeros at the end.
            density, distribution: the same as a density at the end, shared out as ``sparsify`` does it; give either.
            begin, end: fractions of the training in which pruning happens.
            scope: "layer": each layer goes to its own goal; "global": the smallest weights of all layers go.

        Raises:
            InputError: both goal and density or neither, a goal above what a layer starts with, or too few steps for
                an update.
            NotRegistered: an unknown scope.
        """
        require_registered("scope", scope, SCOPES)
        schedule = Schedule(interval=interval, total_steps=total_steps)
        descent = Descent.of(
            model, schedule, goal=goal, density=density, distribution=distribution, begin=begin, end=end
        )

        def decided(views: Sequence[LayerView], occasion: Occasion) -> Decision:
            return decide(views, self._descent.targets(occasion.step), scope)

        rules = Rules(
            name="gmp",
            decide=decided,
            settings={"scope": scope},
        )
        super().__init__(model, optimizer, descent, rules)

    @classmethod
    def first_density(cls, density: float) -> float:
        """Dense."""
        return 1.0
