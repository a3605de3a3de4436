"""How does a topology move while a network trains? Counting steps, windows, updates: what all dynamic methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint import precision
from mezzotint.errors import CheckpointError, InputError, message
from mezzotint.sparse.collector import Collector
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.record import LayerChange, TopologyReport
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.transfer import move_layer
from mezzotint.sparse.update import LayerView


class Topology(Protocol):
    """What a training loop needs of a method; every entry of ``methods.METHODS`` is one."""

    steps: int

    @classmethod
    def build(cls, model: nn.Module, optimizer: Optimizer, schedule: Schedule) -> Topology:
        """The method with the settings that all methods understand."""

    def step(self, stepped: bool = True) -> TopologyReport | None:
        """To be called after every optimiser step, with what ``Precision.step`` returned."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes: JSON-able, but for tensors as leaves."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, after model and optimiser have been loaded."""

    def close(self) -> None:
        """Collect nothing any more, and let go of the optimiser."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many weights each layer loses and gets; ``share`` sums to 1."""

    share: Sequence[float]
    pruned: Sequence[int]
    grown: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A method as pure functions.

    Attributes:
        name: the method's name, kept in checkpoints.
        decide: ``decide(views, rate)``: counts for all layers.
        keep: ``keep(view, count)``: bool ``[nnz]``, False at the ``count`` weights to prune.
        grow: ``grow(pattern, kept, scores, count)``: the new pattern.
        settings: the method's own settings, JSON-able; a checkpoint with other settings is refused.
    """

    name: str
    decide: Callable[[Sequence[LayerView], float], Decision]
    keep: Callable[[LayerView, int], Tensor]
    grow: Callable[[Pattern, Tensor, Tensor, int], Pattern]
    settings: dict[str, Any]


class DynamicTopology:
    """Runs a method's rules on a schedule. Methods derive from it and add a constructor, nothing else."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: Schedule, rules: Rules) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over their values; SGD with momentum, Adam or AdamW.
            schedule: when, and how much.
            rules: the method.

        Raises:
            InputError: no sparse layer, or an optimiser that does not fit.
        """
        self._layers = sparse_layers(model)
        if not self._layers:
            raise InputError(
                message(
                    "model", received="no sparse layer", allowed="a model with sparse layers", fix="Call sparsify()."
                )
            )
        self.schedule = schedule
        self.steps = 0
        self._rules = rules
        self._optimizer = optimizer
        self._collector = Collector(self._layers, optimizer)
        precision.attach_gradients(optimizer, self.pending_gradients)
        self._collector.set_open(schedule.collects(0))

    def pending_gradients(self) -> list[Tensor]:
        """Dense gradients of the step under way, FP32; empty outside the dense window.

        ``Precision`` unscales, checks and clips them; data-parallel training averages them over ranks, in place,
        before :meth:`step`.
        """
        return self._collector.pending()

    @torch.no_grad()
    def step(self, stepped: bool = True) -> TopologyReport | None:
        """To be called after every optimiser step and before the gradients are cleared.

        Args:
            stepped: False when the optimiser's step was skipped. Then nothing changes: neither the counters nor the
                schedule nor any statistic.

        Returns:
            What changed, when an update was due; otherwise None.
        """
        if not stepped:
            self._collector.drop()
            return None
        self.steps += 1
        self._collector.fold()
        report = self._update() if self.schedule.is_due(self.steps) else None
        if report is not None and not self.schedule.always_collects:
            self._collector.set_open(False)  # a window begins empty, even when the next one begins at once
        self._collector.set_open(self.schedule.collects(self.steps))
        return report

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, complete in the middle of a window: JSON-able, but for tensors as leaves."""
        return {
            "method": self._rules.name,
            "settings": self._settings(),
            "steps": self.steps,
            "patterns": {name: layer.pattern.digest() for name, layer in self._layers.items()},
            "layers": self._collector.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly from :meth:`state_dict`; load model and optimiser first.

        Raises:
            CheckpointError: another method or other settings, or the model's patterns are not those of the state.
        """
        self._check_state(state)
        self.steps = int(state["steps"])
        self._collector.load_state_dict(state["layers"])

    def close(self) -> None:
        """Close all windows and let go of the optimiser; the model stays as it is."""
        self._collector.set_open(False)
        precision.detach_gradients(self._optimizer, self.pending_gradients)

    def _settings(self) -> dict[str, Any]:
        return {**asdict(self.schedule), **self._rules.settings}

    def _check_state(self, state: dict[str, Any]) -> None:
        absent = [key for key in ("method", "settings", "steps", "patterns", "layers") if key not in state]
        if absent:
            raise CheckpointError(message("topology state", received=f"no {absent[0]!r}", allowed="a complete state"))
        ours = {"method": self._rules.name, **self._settings()}
        theirs = {"method": state["method"], **state["settings"]}
        for key in [*ours, *theirs]:
            if ours.get(key) != theirs.get(key):
                raise CheckpointError(
                    message(
                        f"topology setting {key!r}",
                        received=theirs.get(key),
                        allowed=f"{ours.get(key)!r}, as of this run",
                    )
                )
        for name, layer in self._layers.items():
            if state["patterns"].get(name) != layer.pattern.digest():
                raise CheckpointError(
                    f"topology state: the pattern of layer {name!r} is not the one that was saved. Load the model"
                    " of the same checkpoint first."
                )

    def _update(self) -> TopologyReport | None:
        names = [name for name in self._collector.open_names if self._layers[name].values.requires_grad]
        if not names:
            return None  # every layer is frozen
        rate = self.schedule.rate(self.steps)
        views = [self._view(name) for name in names]
        decision = self._rules.decide(views, rate)
        # All patterns are made before any is applied: an error on the way leaves the model as it was.
        moments = {name: self._collector.dense(name) for name in names}
        patterns = [
            self._rules.grow(view.pattern, self._rules.keep(view, lost), self._score(view.name, moments), gained)
            for view, lost, gained in zip(views, decision.pruned, decision.grown, strict=True)
        ]
        for name, pattern in zip(names, patterns, strict=True):
            move_layer(self._layers[name], pattern, self._optimizer, moments[name])
        changes = {
            view.name: _change(view, self._layers[view.name], lost, gained, share)
            for view, lost, gained, share in zip(views, decision.pruned, decision.grown, decision.share, strict=True)
        }
        return TopologyReport(step=self.steps, prune_rate=rate, layers=changes)

    def _score(self, name: str, moments: dict[str, Any]) -> Tensor:
        return self._collector.dense_score(name, moments[name])

    def _view(self, name: str) -> LayerView:
        layer = self._layers[name]
        return LayerView(
            name=name, values=layer.values.detach(), momentum=self._collector.active_score(name), pattern=layer.pattern
        )


def _change(view: LayerView, layer: SparseLayer, lost: int, gained: int, share: float) -> LayerChange:
    return LayerChange(
        before=view.pattern.nnz,
        pruned=lost,
        grown=gained,
        after=layer.nnz,
        importance=share,
        density=layer.density,
    )
