"""Can dynamic sparsity have structure that hardware likes? SRigL: equally many inputs per unit, useless units ablated.

Lasby et al. 2024, "Dynamic sparse training with structured sparsity", section 3. The smallest weights go and the
missing ones of largest gradient come, as in RigL, but every unit that is alive has the same number of inputs; a unit
with too few *salient* weights (kept ones, or candidates for growth) is removed for good, and its weights go to others.

The number of weights is kept exactly, so fan-ins differ by one where it does not divide by the number of units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.grow import Scores
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.prune import fraction_counts, kept_by_magnitude
from mezzotint.sparse.ranking import largest
from mezzotint.sparse.rules import Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def living_units(salient: Tensor, alive: Tensor, nnz: int, row: int, threshold: float) -> Tensor:
    """bool ``[O]``: the units that keep weights.

    Args:
        salient: int ``[O]``: salient weights of each unit.
        alive: bool ``[O]``: units that have weights now; others stay without.
        nnz: weights of the layer.
        row: weights that a unit can have.
        threshold: a unit lives when its salient weights are at least this fraction of the fan-in. As many live as are
            needed to hold all weights, the most salient first.
    """
    fan_in = nnz / max(int(alive.sum()), 1)
    living = alive & (salient >= threshold * fan_in)
    needed = min(max(-(-nnz // row), 1), int(alive.sum()))
    if int(living.sum()) < needed:
        order = torch.where(alive, salient.double(), -1.0)
        living = torch.zeros_like(alive)
        living[largest(order, needed)] = True
    return living


def with_constant_fan_in(view: LayerView, kept: Tensor, scores: Tensor, living: Tensor) -> Pattern:
    """Every living unit gets the same number of weights: its largest kept ones, then missing ones of highest score."""
    pattern = view.pattern
    units, row = pattern.shape[0], math.prod(pattern.shape[1:])
    places = living.nonzero().view(-1).tolist()
    counts = torch.zeros(units, dtype=torch.int64)
    counts[living.cpu()] = torch.tensor(
        apportion(pattern.nnz, [1.0] * len(places), [0] * len(places), [row] * len(places))
    )
    # Kept weights by magnitude rank before missing ones by score: two stable sorts, the second key first.
    magnitude = torch.full((pattern.numel,), -1.0, dtype=torch.float32, device=scores.device)
    magnitude[pattern.indices[kept].long()] = view.values.detach()[kept].abs().float()
    by_score = scores.reshape(units, row).argsort(dim=1, descending=True, stable=True)
    by_both = magnitude.view(units, row).gather(1, by_score).argsort(dim=1, descending=True, stable=True)
    ranked = by_score.gather(1, by_both)
    taken = torch.arange(row, device=scores.device) < counts.to(scores.device)[:, None]
    positions = ranked + torch.arange(units, device=scores.device)[:, None] * row
    return Pattern(positions[taken].sort().values, pattern.shape)


def rewire(view: LayerView, lost: int, gained: int, scores: Scores, threshold: float) -> Pattern:
    """The layer's pattern with constant fan-in; ``lost`` weights stop being salient, ``gained`` become so."""
    pattern, evidence = view.pattern, scores().reshape(-1)
    units, row = pattern.shape[0], math.prod(pattern.shape[1:])
    kept = kept_by_magnitude(view, lost)
    missing = evidence.clone()
    missing[pattern.indices.long()] = -1.0
    candidates = largest(missing, min(gained, pattern.numel - pattern.nnz))
    salient = torch.cat([pattern.indices[kept].long(), candidates]).div(row, rounding_mode="floor")
    alive = torch.bincount(pattern.indices.long().div(row, rounding_mode="floor"), minlength=units) > 0
    living = living_units(torch.bincount(salient, minlength=units), alive, pattern.nnz, row, threshold)
    return with_constant_fan_in(view, kept, evidence, living)


class SRigL(DynamicTopology):
    """Structured RigL; works with any optimiser. Start from ``sparsify(..., choose="fan_in")``."""

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
        ablation: float = 0.3,
    ) -> None:
        """
        Args:
            model: with sparse layers; the first update gives them constant fan-in when they have not.
            optimizer: over its parameters.
            interval, total_steps, prune_rate, decay, window, stagger, end: as of RigL.
            ablation: a unit with fewer salient weights than this fraction of the fan-in is removed, in [0, 1] (the
                paper's gamma_sal, 0.3 for convolutional networks); 0 removes none.

        Raises:
            InputError: a setting out of range.
        """
        if not 0 <= ablation <= 1:
            raise InputError(message("ablation", received=ablation, allowed="0 to 1; 0.3 in the paper"))
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
            name="srigl",
            decide=lambda views, occasion: swap_in_place(views, fraction_counts(views, occasion.rate)),
            rewire=lambda view, lost, gained, scores: rewire(view, lost, gained, scores, ablation),
            evidence="gradient",
            settings={"ablation": ablation},
        )
        super().__init__(model, optimizer, schedule, rules)
