"""How far does one get on memory that never holds a dense gradient? MEST: elastic mutation, with soft memory bounds.

Yuan et al. 2021, "MEST: accurate and fast memory-economic sparse training framework on the edge". Weights go by their
magnitude plus the magnitude of their gradient (section 3.2), new ones come at random, and the fraction that mutates
shrinks as training goes on. With a soft bound (EM&S) new weights are grown first and the least important of all are
pruned at the next update, when the new ones have been trained: the number of weights is above the target by what the
last update grew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.grow import rewired
from mezzotint.sparse.prune import fraction_of, kept_by_score
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def kept_by_importance(view: LayerView, count: int, gradient_weight: float) -> Tensor:
    """bool ``[nnz]``: False at the ``count`` weights of least ``|w| + gradient_weight * |gradient|``.

    Raises:
        InputError: a view without gradient: the rules do not say ``reads_gradient=True``.
    """
    if view.gradient is None:
        raise InputError(
            message(
                f"gradient of layer {view.name!r}",
                received=None,
                allowed="that of the active weights",
                fix="Say reads_gradient=True in the rules.",
            )
        )
    return kept_by_score(torch.add(view.values.detach().abs(), view.gradient.abs(), alpha=gradient_weight), count)


def decide_soft(views: Sequence[LayerView], occasion: Occasion, last: bool) -> Decision:
    """Prune what the last update grew too much; grow in advance what the next one will prune."""
    surplus = occasion.memory.get("surplus", {})
    pruned = [int(surplus.get(view.name, 0)) for view in views]
    targets = [view.pattern.nnz - lost for view, lost in zip(views, pruned, strict=True)]
    rooms = [view.pattern.numel - target for view, target in zip(views, targets, strict=True)]
    grown = [
        0 if last else min(fraction_of(target, occasion.rate), room)
        for target, room in zip(targets, rooms, strict=True)
    ]
    share = swap_in_place(views, pruned).share
    memory = {"surplus": {view.name: count for view, count in zip(views, grown, strict=True)}}
    return Decision(pruned=pruned, grown=grown, share=share, memory=memory)


class MEST(DynamicTopology):
    """Memory-economic sparse training; works with any optimiser, no dense gradient ever."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        interval: int,
        total_steps: int,
        prune_rate: float = 0.3,
        decay: str = "linear",
        soft: bool = False,
        gradient_weight: float = 0.01,
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over its parameters.
            interval: steps between updates.
            total_steps: length of the training.
            prune_rate: fraction that mutates, where its decay begins.
            decay: of the prune rate, to 0 at the end ("elastic").
            soft: grow before pruning: more memory between updates, no untrained weight is ever judged.
            gradient_weight: of the gradient's magnitude in the importance of a weight (the paper's lambda), at least 0.
            seed: of the growth.

        Raises:
            InputError: a setting out of range.
        """
        if not gradient_weight >= 0:
            raise InputError(message("gradient_weight", received=gradient_weight, allowed="at least 0"))
        schedule = Schedule(
            interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay=decay, final_rate=0.0
        )

        def decide(views: Sequence[LayerView], occasion: Occasion) -> Decision:
            if not soft:
                counts = [fraction_of(view.pattern.nnz, occasion.rate) for view in views]
                return swap_in_place(views, counts)
            return decide_soft(views, occasion, last=not schedule.is_due(occasion.step + interval))

        rules = Rules(
            name="mest",
            decide=decide,
            rewire=partial(rewired, keep=partial(kept_by_importance, gradient_weight=gradient_weight)),
            reads_gradient=True,
            settings={"soft": soft, "gradient_weight": gradient_weight},
        )
        super().__init__(model, optimizer, schedule, rules, seed)

    @property
    def budget(self) -> int:
        """The target, and with a soft bound what the last update grew in advance."""
        surplus: dict[str, int] = self._memory.get("surplus", {})
        return self._initial + sum(surplus.values())
