"""What does sparse training gain from moving weights? The method to compare with: the first pattern stays."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from mezzotint.errors import CheckpointError, message
from mezzotint.sparse.collector import group_of
from mezzotint.sparse.layer import sparse_layers
from mezzotint.sparse.record import TopologyReport


class Static:
    """Leaves every pattern as it is; counts steps. Works with any optimiser and computes no dense gradient."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """
        Args:
            model: with sparse layers or without.
            optimizer: over its parameters. Nothing is asked of it but that it holds the values of all sparse layers
                that are trained; None: nothing is checked.

        Raises:
            InputError: the optimiser does not hold a layer's values: it was built before ``sparsify``.
        """
        self.steps = 0
        self._layers = sparse_layers(model)
        for name, layer in self._layers.items():
            if optimizer is not None and layer.values.requires_grad:
                group_of(optimizer, name, layer)

    @property
    def budget(self) -> int:
        """The number of nonzeros that there are."""
        return sum(layer.nnz for layer in self._layers.values())

    def step(self, stepped: bool = True) -> TopologyReport | None:
        """Count a step that was taken; there is never an update to report."""
        self.steps += int(stepped)
        return None

    def state_dict(self) -> dict[str, Any]:
        """The step counter, and digests of the patterns."""
        patterns = {name: layer.pattern.digest() for name, layer in self._layers.items()}
        return {"method": "static", "steps": self.steps, "patterns": patterns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            CheckpointError: the state is another method's, or of a model with other patterns.
        """
        expected = self.state_dict()
        for key in ("method", "patterns"):
            if state.get(key) != expected[key]:
                raise CheckpointError(
                    message(
                        f"topology state, {key}", received=state.get(key), allowed=f"{expected[key]}, as of this run"
                    )
                )
        self.steps = int(state["steps"])

    def close(self) -> None:
        """Nothing is held."""
