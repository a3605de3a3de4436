"""How does an N:M pattern move? In each group of M inputs the weakest active weight may give way to the best missing.

N:M patterns (Zhou et al. 2021, "Learning N:M fine-grained structured sparse neural networks from scratch") are usually
trained with a dense weight behind them. Here only the active weights exist, as in RigL: an update looks at the weakest
active weight of each group, and in the groups where it is smallest it is replaced by the missing weight of largest
gradient. Every group has N weights at every step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.grow import Scores
from mezzotint.sparse.layer import sparse_layers
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.prune import fraction_of
from mezzotint.sparse.ranking import smallest
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.structure import Structure
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def rewire(view: LayerView, lost: int, gained: int, scores: Scores, structure: Structure) -> Pattern:
    """In the ``lost`` groups whose weakest weight is smallest, that weight is replaced by the best missing one."""
    pattern, evidence = view.pattern, scores().reshape(-1)
    members = structure.groups(pattern.shape, view.name).to(evidence.device)
    mask = pattern.to_mask().reshape(-1)
    magnitude = torch.full((pattern.numel,), torch.inf, dtype=torch.float32, device=evidence.device)
    magnitude[pattern.indices.long()] = view.values.detach().abs().float()
    weakest = magnitude[members].min(1)
    best = evidence.masked_fill(mask, -1.0)[members].max(1)
    groups = smallest(weakest.values, lost)
    mask[members[groups, weakest.indices[groups]]] = False
    mask[members[groups, best.indices[groups]]] = True
    return Pattern(mask.nonzero().view(-1), pattern.shape)


class NM(DynamicTopology):
    """Gradient growth within N:M groups; works with any optimiser. Start from ``sparsify(..., structure="2:4")``."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int = 100,
        total_steps: int,
        structure: str = "2:4",
        prune_rate: float = 0.3,
        decay: str = "cosine",
        window: int = 1,
        stagger: bool = True,
        end: float = 0.75,
    ) -> None:
        """
        Args:
            model: with sparse layers of that structure.
            optimizer: over its parameters.
            structure: "n:m".
            prune_rate: fraction of a layer's weights that an update replaces, at first; at most one in each group.
            interval, total_steps, decay, window, stagger, end: as of RigL.

        Raises:
            InputError: a pattern without this structure, or another kind of structure.
        """
        grouped = Structure.parse(structure)
        if grouped.of_group is None:
            raise InputError(message("structure", received=structure, allowed='"n:m", as "2:4"', fix="See block."))
        for name, layer in sparse_layers(model).items():
            grouped.check(layer.pattern, name)
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

        def count(view: LayerView, rate: float) -> int:
            return min(fraction_of(view.pattern.nnz, rate), view.pattern.numel // grouped.size)

        rules = Rules(
            name="nm",
            decide=lambda views, occasion: swap_in_place(views, [count(view, occasion.rate) for view in views]),
            rewire=lambda view, lost, gained, scores: rewire(view, lost, gained, scores, grouped),
            evidence="gradient",
            settings={"structure": structure},
        )
        super().__init__(model, optimizer, schedule, rules)
