"""What does sparse momentum gain from a denser start? Its own update, with a number of weights that falls to the goal.

No publication: sparse momentum (Dettmers and Zettlemoyer 2019) with the cubic descent of Zhu and Gupta 2017, as GraNet
(Liu et al. 2021) has it for growth by gradient. A network that is sparse from its first step learns more slowly than a
dense one; this one spends its first epochs denser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from mezzotint.sparse.gradual import Descending, Descent
from mezzotint.sparse.prune import fraction_counts, prune_counts
from mezzotint.sparse.redistribute import grow_counts, importance, mean_momentum
from mezzotint.sparse.rules import Decision, Occasion, Rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.view import LayerView


def decide(views: Sequence[LayerView], total: int, rate: float) -> Decision:
    """Prune what is above ``total`` and ``rate`` of what is left; layers get the latter back by mean momentum.

    Args:
        views: the layers, with momentum.
        total: nonzeros of all of them after the update; at least one a layer.
        rate: fraction of the weights that stay in number which moves, in [0, 1].
    """
    share = importance(mean_momentum(views), views)
    now = sum(view.pattern.nnz for view in views)
    goes = max(1 - total / now, 0.0) if now else 0.0
    lost = goes + (1 - goes) * rate
    pruned = prune_counts(views, share, lost)
    if now - sum(pruned) > total:  # layers that are nearly dense were spared too much
        pruned = fraction_counts(views, lost)
    return Decision(pruned=pruned, grown=grow_counts(views, pruned, share, total - (now - sum(pruned))), share=share)


class FallingMomentum(Descending):
    """Sparse momentum with fewer and fewer weights: a cubic descent, then as many as the goal says.

    Pruned, redistributed and grown as by :class:`SparseMomentum`, of which it also has the turns and windows. It needs
    an optimiser with momentum.
    """

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
        window: int = 44,
        decay: str = "cosine",
        stagger: bool = True,
        begin: float = 0.0,
        end: float = 0.75,
    ) -> None:
        """
        Args:
            model: with sparse layers, as dense as training starts.
            optimizer: over its parameters: SGD with momentum, Adam or AdamW.
            interval: steps between updates.
            total_steps: length of the training.
            goal: layer name -> nonzeros at the end, of which the sum counts: momentum shares it out.
            density, distribution: the same as a density at the end, shared out as ``sparsify`` does it; give either.
            prune_rate, window, decay, stagger: as of :class:`SparseMomentum`.
            begin, end: fractions of the training in which the number of weights falls.

        Raises:
            InputError: both goal and density or neither, a goal above what a layer starts with, too few steps for an
                update, or an optimiser without momentum.
        """
        schedule = Schedule(
            interval=interval,
            total_steps=total_steps,
            prune_rate=prune_rate,
            decay=decay,
            window=window,
            stagger=stagger,
        )
        descent = Descent.of(
            model, schedule, goal=goal, density=density, distribution=distribution, begin=begin, end=end
        )

        def decided(views: Sequence[LayerView], occasion: Occasion) -> Decision:
            targets = self._descent.targets(occasion.step)
            return decide(views, sum(targets[view.name] for view in views), occasion.rate)

        rules = Rules(
            name="falling_momentum",
            decide=decided,
            evidence="momentum",
            reads_momentum=True,
        )
        super().__init__(model, optimizer, descent, rules)

    @classmethod
    def first_density(cls, density: float) -> float:
        """Half of the weights, as of GraNet; never less than the goal."""
        return max(0.5, density)

    @property
    def budget(self) -> int:
        """What the descent says; what is too much goes with the first turn of an update."""
        return self._descent.total(self.steps if self._round is None else self._round.step)
