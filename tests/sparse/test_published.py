"""Is a window as long as the interval the published algorithm? Ours against dense weights under masks, step by step.

The reference keeps what the published code keeps: dense weights that are masked after each step, dense gradients,
dense optimiser state, masks applied only after growth (so that a weight pruned and grown again keeps its value).
Everything is float64, so that both rank weights alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import densify
from mezzotint.sparse import sparse_layers
from mezzotint.sparse.apportion import apportion


class Masked:
    """Sparse momentum on a dense network, as published, but with exact counts."""

    def __init__(self, training: Any, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        self.model, self.optimizer, self.training = model, optimizer, training
        self.schedule = training.topology.schedule
        self.masks = {name: layer.pattern.to_mask() for name, layer in sparse_layers(training.model).items()}
        self.steps = 0

    def weight(self, name: str) -> nn.Parameter:
        return self.model.get_submodule(name).weight  # type: ignore[return-value]

    def momentum(self, name: str) -> Tensor:
        state = self.optimizer.state[self.weight(name)]
        if "momentum_buffer" in state:
            return state["momentum_buffer"].abs()  # type: ignore[no-any-return]
        step = state["step"].item()
        first, second = state["exp_avg"] / (1 - 0.9**step), state["exp_avg_sq"] / (1 - 0.999**step)
        return (first / (second.sqrt() + 1e-8)).abs()  # type: ignore[no-any-return]

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.apply_masks()
        self.steps += 1
        if (
            self.steps % self.schedule.interval == 0
            and self.steps + self.schedule.interval <= self.schedule.total_steps
        ):
            self.update(self.schedule.rate(self.steps))

    def apply_masks(self) -> None:
        with torch.no_grad():
            for name, mask in self.masks.items():
                self.weight(name).mul_(mask)

    def update(self, rate: float) -> None:
        means = {name: self.momentum(name)[mask].mean().item() for name, mask in self.masks.items()}
        shares = {name: mean / sum(means.values()) for name, mean in means.items()}
        removed = {}
        for name, mask in self.masks.items():
            density = mask.double().mean().item()
            protected = density > 0.8 and shares[name] > 1 / len(shares)
            count = math.ceil((min(rate, 1 - density) if protected else rate) * int(mask.sum()) - 1e-9)
            sizes = self.weight(name).detach().abs().where(mask, torch.inf).reshape(-1)
            mask.view(-1)[sizes.sort(stable=True).indices[:count]] = False
            removed[name] = count
        rooms = [int((~mask).sum()) for mask in self.masks.values()]
        least = [0] * len(rooms)
        grown = apportion(sum(removed.values()), list(shares.values()), least, rooms)
        for (name, mask), count in zip(self.masks.items(), grown, strict=True):
            scores = self.momentum(name).where(~mask, -1.0).reshape(-1)
            mask.view(-1)[scores.sort(descending=True, stable=True).indices[:count]] = True
        self.apply_masks()


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_full_window_reproduces_the_published_algorithm(optimizer: str, training: Callable[..., Any]) -> None:
    torch.manual_seed(3)
    ours = training(optimizer, dtype=torch.float64, window=6, total_steps=90)
    torch.manual_seed(3)
    twin = training(optimizer, dtype=torch.float64, window=6)
    dense = densify(twin.model)
    options = {key: value for key, value in ours.optimizer.defaults.items() if key != "decoupled_weight_decay"}
    reference = Masked(ours, type(ours.optimizer)(dense.parameters(), **options), dense)
    moved = 0
    for step in range(90):
        before = {name: layer.pattern for name, layer in sparse_layers(ours.model).items()}
        reference.step(twin.loss(step))
        ours.run([step])
        for name, layer in sparse_layers(ours.model).items():
            assert torch.equal(layer.pattern.to_mask(), reference.masks[name]), (step, name)
            torch.testing.assert_close(layer.dense_weight().detach(), reference.weight(name).detach())
            moved += int((layer.pattern.to_mask() & ~before[name].to_mask()).sum())
    assert moved > 300  # the topology really moved
    for name, layer in sparse_layers(ours.model).items():
        positions = layer.pattern.indices.long()
        for key, theirs in reference.optimizer.state[reference.weight(name)].items():
            if theirs.dim():
                torch.testing.assert_close(ours.optimizer.state[layer.values][key], theirs.reshape(-1)[positions])
