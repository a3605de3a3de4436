"""How do blocks of weights move? As single weights do in RigL, by the means of their members.

Block-sparse training after RigL: the blocks of smallest mean magnitude are replaced by the missing blocks of largest
mean gradient magnitude, in each layer as many as it loses.
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
from mezzotint.sparse.ranking import largest, smallest
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.structure import Structure
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def rewire(view: LayerView, lost: int, gained: int, scores: Scores, structure: Structure) -> Pattern:
    """The smallest blocks of ``lost`` weights go, the missing blocks of highest score come."""
    pattern, evidence = view.pattern, scores().reshape(-1)
    members = structure.groups(pattern.shape, view.name).to(evidence.device)
    active = pattern.to_mask().reshape(-1)[members[:, 0]]
    magnitude = torch.zeros(pattern.numel, dtype=torch.float32, device=evidence.device)
    magnitude[pattern.indices.long()] = view.values.detach().abs().float()
    size = torch.where(active, magnitude[members].mean(1), torch.inf)
    active[smallest(size, lost // structure.size)] = False
    candidates = evidence[members].mean(1).masked_fill(active, -1.0)
    active[largest(candidates, gained // structure.size)] = True
    return Pattern(members[active].reshape(-1).sort().values, pattern.shape)


class Block(DynamicTopology):
    """RigL over blocks; works with any optimiser. Start from ``sparsify(..., structure="4x4")``."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int = 100,
        total_steps: int,
        structure: str = "4x4",
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
            structure: "axb": a output channels by b input channels at one kernel position.
            interval, total_steps, prune_rate, decay, window, stagger, end: as of RigL.

        Raises:
            InputError: a pattern without this structure, or another kind of structure.
        """
        grouped = Structure.parse(structure)
        if grouped.of_group is not None:
            raise InputError(message("structure", received=structure, allowed='blocks, as "4x4"', fix="See method nm."))
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
            return fraction_of(view.pattern.nnz // grouped.size, rate) * grouped.size

        rules = Rules(
            name="block",
            decide=lambda views, occasion: swap_in_place(views, [count(view, occasion.rate) for view in views]),
            rewire=lambda view, lost, gained, scores: rewire(view, lost, gained, scores, grouped),
            evidence="gradient",
            settings={"structure": structure},
        )
        super().__init__(model, optimizer, schedule, rules)
