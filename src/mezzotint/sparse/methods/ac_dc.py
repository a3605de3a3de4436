"""Do sparse phases and dense phases help each other? AC/DC: compressed and decompressed in turns, sparse at the end.

Peste et al. 2021, "AC/DC: alternating compressed/decompressed training of deep neural networks", section 4: a dense
warm-up, then phases with and without the top weights by magnitude; the last phase is sparse. In a dense phase every
weight is active (those that were pruned come back as 0), and the optimiser's state starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message, require_registered
from mezzotint.sparse.goal import given_goal
from mezzotint.sparse.gradual import last_update
from mezzotint.sparse.grow import Scores, rewired
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.methods.gmp import SCOPES
from mezzotint.sparse.methods.gmp import decide as pruned_to
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


def is_compressed(progress: float, warmup: float, phase: float, final: float) -> bool:
    """Whether the network is sparse from this fraction of the training on: the first phase after the warm-up is."""
    if progress < warmup:
        return False
    # The tiny addend keeps a phase that ends at 0.15000000000000002 from beginning late.
    return progress >= final or int((progress - warmup) / phase + 1e-9) % 2 == 0


def _rewire(view: LayerView, lost: int, gained: int, scores: Scores) -> Pattern:
    if gained:  # a dense phase begins: everything is grown, so that nothing need be ranked
        every = torch.arange(view.pattern.numel, device=view.values.device)
        return Pattern(every, view.pattern.shape)
    return rewired(view, lost, 0, scores)


class ACDC(DynamicTopology):
    """Alternating compressed and decompressed training; works with any optimiser, no dense gradient of missing ones."""

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
        warmup: float = 0.1,
        phase: float = 0.05,
        final: float = 0.85,
        scope: str = "global",
    ) -> None:
        """
        Args:
            model: with sparse layers in which every weight is active.
            optimizer: over its parameters.
            interval: steps between the moments at which a phase can change.
            total_steps: length of the training.
            goal: layer name -> nonzeros of the sparse phases.
            density, distribution: the same as a density, shared out as ``sparsify`` does it; give either.
            warmup, phase, final: fractions of the training: first dense phase, length of a phase, begin of the last.
            scope: "global": the largest weights of all layers stay, as many as the goals sum to; "layer": each layer's.

        Raises:
            InputError: a setting out of range, or too few steps.
            NotRegistered: an unknown scope.
        """
        require_registered("scope", scope, SCOPES)
        for name, value in (("warmup", warmup), ("phase", phase), ("final", final)):
            if not 0 < value < 1:
                raise InputError(message(name, received=value, allowed="a fraction of the training, between 0 and 1"))
        self._goal = given_goal(model, goal, density, distribution)
        self._phases = {"warmup": warmup, "phase": phase, "final": final}
        schedule = Schedule(interval=interval, total_steps=total_steps)
        layers = sparse_layers(model)
        self._dense = {name: layer.pattern.numel for name, layer in layers.items()}
        self._check(layers, schedule)
        rules = Rules(
            name="ac_dc",
            decide=lambda views, occasion: self._decide(views, occasion, scope),
            rewire=_rewire,
            settings={"goal": self._goal, **self._phases, "scope": scope},
        )
        super().__init__(model, optimizer, schedule, rules)

    @classmethod
    def first_density(cls, density: float) -> float:
        """Dense."""
        return 1.0

    @property
    def budget(self) -> int:
        """All weights in a dense phase, the goals' sum in a sparse one."""
        update = min(self.steps // self.schedule.interval * self.schedule.interval, last_update(self.schedule))
        return sum((self._goal if update and self._sparse_after(update) else self._dense).values())

    def _sparse_after(self, update: int) -> bool:
        last = update >= last_update(self.schedule)
        return last or is_compressed(update / self.schedule.total_steps, **self._phases)

    def _decide(self, views: Sequence[LayerView], occasion: Occasion, scope: str) -> Decision:
        if self._sparse_after(occasion.step):
            return pruned_to(views, self._goal, scope)
        grown = [view.pattern.numel - view.pattern.nnz for view in views]
        nothing = [0] * len(views)
        return Decision(pruned=nothing, grown=grown, share=swap_in_place(views, nothing).share)

    def _moved(self, name: str, layer: SparseLayer) -> None:
        if layer.nnz == layer.pattern.numel:
            state: dict[str, Any] = self._optimizer.state.get(layer.values, {})
            for tensor in state.values():
                if isinstance(tensor, Tensor):  # Adam's count of steps, too: it corrects the bias of what starts anew
                    tensor.zero_()

    def _check(self, layers: Mapping[str, SparseLayer], schedule: Schedule) -> None:
        if set(self._goal) != set(layers):
            raise InputError(
                message("goal", received=", ".join(self._goal), allowed=f"a number for each of {', '.join(layers)}")
            )
        for name, count in self._goal.items():
            if not 1 <= count <= self._dense[name]:
                raise InputError(
                    message(f"goal of layer {name!r}", received=count, allowed=f"1 to {self._dense[name]}")
                )
        if last_update(schedule) < 1:
            raise InputError(
                message(
                    "schedule of AC/DC",
                    received=f"{schedule.total_steps} steps, a possible change every {schedule.interval}",
                    allowed="at least two intervals",
                )
            )
