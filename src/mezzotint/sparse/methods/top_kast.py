"""Can weights be trained before they are used? Top-KAST: a small set for the forward pass, a larger one for gradients.

Jayakumar et al. 2020, "Top-KAST: top-K always sparse training". The forward pass uses the largest weights (set A); the
gradients go to a larger set B around it, so that a weight outside A can grow until it belongs to it. A penalty keeps
the explorers small: weights of B outside A decay faster, by one over the forward density (their section 2.3).

The published method keeps all weights, so that B can be chosen among them. Here only B is stored; what lies outside
does not exist. So that B explores, an update replaces a fraction of its smallest explorers by random newcomers.

How it is done: between steps the values of explorers are 0 and their true values lie beside; the optimiser's step on
such a 0 is the explorer's change. A layer that is frozen stays as it is; it gets its sets when it is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint.errors import InputError, message
from mezzotint.sparse.carry import carried
from mezzotint.sparse.goal import given_goal
from mezzotint.sparse.gradual import last_update
from mezzotint.sparse.grow import Scores, grown_pattern
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.prune import fraction_of, kept_by_score
from mezzotint.sparse.ranking import largest
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.topology import DynamicTopology
from mezzotint.sparse.view import LayerView


class TopKAST(DynamicTopology):
    """Top-KAST over sparse storage; the layers hold set B until the last update, then set A alone."""

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
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: with sparse layers that hold set B.
            optimizer: over its parameters.
            interval: steps between updates; set A is chosen anew at each.
            total_steps: length of the training; the last update drops the explorers.
            goal: layer name -> weights of set A.
            density, distribution: the same as a density of set A, shared out as ``sparsify`` does it; give either.
            prune_rate: fraction of the explorers that an update replaces, at first.
            decay: of that fraction.
            seed: of the newcomers.

        Raises:
            InputError: both goal and density or neither, or a goal above what a layer holds.
        """
        self._goal = given_goal(model, goal, density, distribution)
        layers = sparse_layers(model)
        if set(self._goal) != set(layers):
            raise InputError(
                message("goal", received=", ".join(self._goal), allowed=f"a number for each of {', '.join(layers)}")
            )
        for name, count in self._goal.items():
            if not 1 <= count <= layers[name].nnz:
                raise InputError(
                    message(f"goal of layer {name!r}", received=count, allowed=f"1 to {layers[name].nnz}, its set B")
                )
        self._density = sum(self._goal.values()) / sum(layer.pattern.numel for layer in layers.values())
        schedule = Schedule(interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay=decay)
        rules = Rules(name="top_kast", decide=self._decide, rewire=self._rewire, settings={"goal": self._goal})
        super().__init__(model, optimizer, schedule, rules, seed)
        self._patterns: dict[str, Pattern] = {}
        self._weights: dict[str, Tensor] = {}
        self._used: dict[str, Tensor] = {}
        for name in self._able():
            self._take(name)

    @classmethod
    def first_density(cls, density: float) -> float:
        """Of set B: twice that of set A."""
        return min(2 * density, 1.0)

    @property
    def budget(self) -> int:
        """Set B; set A after the last update."""
        last = last_update(self.schedule)
        return sum(self._goal.values()) if 0 < last <= self.steps else self._initial

    @torch.no_grad()
    def _after_step(self) -> None:
        for name in self._able():
            if name not in self._weights:  # it was frozen until now
                self._take(name)
                continue
            group = self._collector.group(name)
            weights, used, values = self._weights[name], self._used[name], self._layers[name].values
            shrink = 1 - group["lr"] * group.get("weight_decay", 0.0) / self._density
            self._weights[name] = torch.where(used, values, weights * max(shrink, 0.0) + values)
            values.mul_(used)

    def _take(self, name: str) -> None:
        """The weights of a layer that is trained from now on are its set B."""
        self._patterns[name] = self._layers[name].pattern
        self._weights[name] = self._layers[name].values.detach().clone()
        self._choose(name)

    @torch.no_grad()
    def _choose(self, name: str) -> None:
        """Set A anew: the largest weights of B. The others' values become 0."""
        layer, weights = self._layers[name], self._weights[name]
        used = torch.zeros(layer.nnz, dtype=torch.bool, device=weights.device)
        used[largest(weights.abs(), self._goal[name])] = True
        self._used[name] = used
        layer.values.copy_(torch.where(used, weights, weights.new_zeros(())))

    def _decide(self, views: Sequence[LayerView], occasion: Occasion) -> Decision:
        explorers = [view.pattern.nnz - self._goal[view.name] for view in views]
        if occasion.step >= last_update(self.schedule):
            share = swap_in_place(views, explorers).share
            return Decision(pruned=explorers, grown=[0] * len(views), share=share)
        return swap_in_place(views, [fraction_of(count, occasion.rate) for count in explorers])

    def _rewire(self, view: LayerView, lost: int, gained: int, scores: Scores) -> Pattern:
        kept = kept_by_score(self._weights[view.name].abs(), lost)
        if gained:
            return grown_pattern(view.pattern, kept, scores(), gained)
        return Pattern(view.pattern.indices[kept], view.pattern.shape)

    def _moved(self, name: str, layer: SparseLayer) -> None:
        self._weights[name] = carried(self._weights[name], self._patterns[name], layer.pattern)
        self._patterns[name] = layer.pattern
        self._choose(name)

    def state_dict(self) -> dict[str, Any]:
        """As of all methods, with the true values of set B and which of them are in set A."""
        return super().state_dict() | {
            "weights": {name: tensor.clone() for name, tensor in self._weights.items()},
            "used": {name: tensor.clone() for name, tensor in self._used.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from :meth:`state_dict`."""
        super().load_state_dict(state)
        layers = {name: self._layers[name] for name in state["weights"]}
        self._patterns = {name: layer.pattern for name, layer in layers.items()}
        self._weights = {name: state["weights"][name].to(layer.values).clone() for name, layer in layers.items()}
        self._used = {name: state["used"][name].to(layer.values.device).clone() for name, layer in layers.items()}
