"""How does a topology move while a network trains? Counting steps, windows, updates: what all dynamic methods share."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mezzotint import precision
from mezzotint.errors import CheckpointError, InputError, message
from mezzotint.sparse.checks import as_saved, check_decision, check_pattern
from mezzotint.sparse.collector import Collector
from mezzotint.sparse.copies import check_before_moving
from mezzotint.sparse.initialise import keyed_generator
from mezzotint.sparse.layer import SparseLayer, sparse_layers
from mezzotint.sparse.moments import Moments
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.record import TopologyReport
from mezzotint.sparse.rounds import Round
from mezzotint.sparse.rules import Occasion, Rules
from mezzotint.sparse.schedule import Schedule
from mezzotint.sparse.steps import StepWatch
from mezzotint.sparse.transfer import move_layer
from mezzotint.sparse.view import LayerView

_log = logging.getLogger(__name__)


class Topology(Protocol):
    """What a training loop needs of a method; ``methods.build`` makes one."""

    steps: int

    @property
    def budget(self) -> int:
        """How many nonzeros all sparse layers together are to have now."""

    def step(self, stepped: bool = True) -> TopologyReport | None:
        """To be called after every optimiser step, with what ``Precision.step`` returned."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes: JSON-able, but for tensors as leaves."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, after model and optimiser have been loaded."""

    def close(self) -> None:
        """Collect nothing any more, and let go of the optimiser."""


class DynamicTopology:
    """Runs a method's rules on a schedule. Methods derive from it and add a constructor, seldom more."""

    _of_the_state: ClassVar[Collection[str]] = ()
    """Settings that tell how the training began: a checkpoint brings its own, and the method restores them from it."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: Schedule, rules: Rules, seed: int = 0) -> None:
        """
        Args:
            model: with sparse layers.
            optimizer: over their values; SGD with momentum, Adam or AdamW where the method reads momentum, any other
                as well where it does not.
            schedule: when, and how much.
            rules: the method.
            seed: of random growth.

        Raises:
            InputError: no sparse layer, an optimiser that does not fit, or settings that a checkpoint cannot hold.
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
        self._given = as_saved(f"settings of method {rules.name!r}", rules.settings)
        self._seed = seed
        self._optimizer = optimizer
        self._round: Round | None = None
        self._memory: dict[str, Any] = {}
        self._initial = sum(layer.nnz for layer in self._layers.values())
        self._collector = Collector(self._layers, optimizer, rules.evidence, rules.reads_momentum)
        self._gradients: dict[str, Tensor] = {}
        self._matched = False
        self._turns = self._turns_after(1)
        self._watch = StepWatch(optimizer, self._before_step)
        precision.attach_gradients(optimizer, self.pending_gradients)
        self._open_windows()
        if not schedule.updates:
            self._tell_of_no_updates()

    @property
    def budget(self) -> int:
        """How many nonzeros all sparse layers together are to have now: what they began with, unless a method says."""
        return self._initial

    def pending_gradients(self) -> list[Tensor]:
        """Dense gradients of the step under way, FP32; empty outside the dense windows.

        ``Precision`` unscales, checks and clips them; data-parallel training averages them over ranks, in place,
        before the optimiser's step. What else is done to the gradients of active weights until then by a factor or by
        clipping (``torch.nn.utils``, ``torch.amp.GradScaler``) is done to these when the optimiser steps.
        """
        return self._collector.pending()

    @torch.no_grad()
    def step(self, stepped: bool = True) -> TopologyReport | None:
        """To be called after every optimiser step.

        Args:
            stepped: False when the optimiser's step was skipped. Then nothing changes: neither the counters nor the
                schedule nor any statistic. A step that ``GradScaler`` has skipped is found out.

        Returns:
            What an update changed, when one ended with this step; otherwise None.

        Raises:
            InputError: the optimiser has not stepped yet, though gradients wait for it; or the rules gave counts or a
                pattern that do not fit.
        """
        taken = self._watch.taken(stepped)
        if taken and not self._matched:
            self._use_gradients()
        self._matched = False
        if not taken:
            self._collector.drop()
            self._gradients = {}
            return None
        self.steps += 1
        self._collector.fold()
        self._after_step()
        names = self._turns
        report = self._update(names) if names else None
        if not self.schedule.always_collects:
            # A window begins empty, even when the next one begins at once.
            self._collector.set_open([name for name in self._collector.open_names if name not in names])
        self._turns, self._gradients = self._turns_after(self.steps + 1), {}
        self._open_windows()
        return report

    def _before_step(self, scale: float) -> None:
        """The optimiser is about to step on gradients that are still to be divided by ``scale``."""
        if self._watch.behind:
            self._collector.drop()  # they are of two steps, and nobody can part them
        self._use_gradients(scale)

    @torch.no_grad()
    def _use_gradients(self, scale: float = 1.0) -> None:
        """Take from the gradients of active weights what an update will want to know of them."""
        self._collector.match(scale)
        self._matched = True
        self._gradients = {}
        if self._turns and self._rules.reads_gradient:
            for name, layer in self._layers.items():
                if layer.values.grad is not None:
                    self._gradients[name] = layer.values.grad / scale

    def _after_step(self) -> None:
        """For methods that do something after every step that was taken, before its update."""

    def _moved(self, name: str, layer: SparseLayer) -> None:
        """For methods that keep books: ``layer`` has just got a new pattern."""

    def _extra(self) -> dict[str, Any]:
        """For methods that tell more of an update than ``Decision.log`` did when it was decided; JSON-able."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, complete in the middle of a window: JSON-able, but for tensors as leaves."""
        return {
            "method": self._rules.name,
            "settings": self._settings(),
            "steps": self.steps,
            "initial": self._initial,
            "round": None if self._round is None else self._round.state(),
            "memory": dict(self._memory),
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
        self._initial = int(state["initial"])
        self._round = None if state["round"] is None else Round.from_state(state["round"])
        self._memory = dict(state["memory"])
        self._collector.load_state_dict(state["layers"])
        self._turns = self._turns_after(self.steps + 1)
        self._matched = True
        self._watch.resume()

    def close(self) -> None:
        """Close all windows and let go of the optimiser; the model stays as it is."""
        self._collector.set_open(())
        precision.detach_gradients(self._optimizer, self.pending_gradients)
        self._watch.close()

    def _tell_of_no_updates(self) -> None:
        schedule = self.schedule
        most = math.floor(min(schedule.total_steps / 2, schedule.end * schedule.total_steps))
        _log.warning(
            "Method %r makes 0 updates: with interval=%d and total_steps=%d, none leaves a whole interval of training,"
            " and the pattern stays as it is. %s",
            self._rules.name,
            schedule.interval,
            schedule.total_steps,
            f"interval={most} is the longest that has one." if most else "Train for longer.",
        )

    def _settings(self) -> dict[str, Any]:
        return {**asdict(self.schedule), **self._given, "seed": self._seed}

    def _check_state(self, state: dict[str, Any]) -> None:
        absent = [key for key in self.state_dict() if key not in state]
        if absent:
            raise CheckpointError(message("topology state", received=f"no {absent[0]!r}", allowed="a complete state"))
        ours = {"method": self._rules.name, **self._settings()}
        theirs = {"method": state["method"], **state["settings"]}
        for key in [*ours, *theirs]:
            if ours.get(key) != theirs.get(key) and not (key in self._of_the_state and key in theirs):
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

    # -- turns and updates ---------------------------------------------------------------------------------------------

    def _turns_after(self, step: int) -> list[str]:
        """The layers whose turn is after ``step`` steps."""
        layers = len(self._layers)
        return [name for place, name in enumerate(self._layers) if self.schedule.has_turn(step, place, layers)]

    def _open_windows(self) -> None:
        """Open the windows that the next step needs, close the others."""
        if self._rules.evidence is not None:
            layers = len(self._layers)
            wanted = [
                name for place, name in enumerate(self._layers) if self.schedule.collects(self.steps, place, layers)
            ]
            self._collector.set_open(wanted)

    def _able(self) -> list[str]:
        """The layers that can change: those that are trained."""
        return [name for name, layer in self._layers.items() if layer.values.requires_grad]

    def _update(self, names: Sequence[str]) -> TopologyReport | None:
        """Let the layers ``names`` take their turns; a report when this ends an update."""
        able = self._able()
        if not able:
            return None  # every layer is frozen
        if self._round is None:
            self._round = self._planned(able)
        moves = self._round.take_turns([name for name in names if self._can_grow(name)], able)
        # All patterns are made before any is applied: an error on the way leaves the model as it was.
        evidence = {name: self._evidence(name) for name, (_, gained) in moves.items() if gained}
        patterns = {
            name: self._rewired(name, lost, gained, evidence.get(name, {})) for name, (lost, gained) in moves.items()
        }
        for name in patterns:
            check_before_moving(name, self._layers[name])
        for name, pattern in patterns.items():
            move_layer(self._layers[name], pattern, self._optimizer, evidence.get(name, {}))
            self._moved(name, self._layers[name])
        if not self.schedule.is_due(self.steps):
            return None
        numels = {name: layer.pattern.numel for name, layer in self._layers.items()}
        report = self._round.report(numels, self._extra())
        self._round = None
        return report

    def _can_grow(self, name: str) -> bool:
        """Whether there is evidence to grow by; a layer that was frozen until a moment ago has none."""
        return self._rules.evidence is None or name in self._collector.open_names

    def _planned(self, able: Sequence[str]) -> Round:
        """Decide the update whose first turn is now."""
        end = -(-self.steps // self.schedule.interval) * self.schedule.interval
        rate = self.schedule.rate(end)
        views = [self._view(name) for name in able]
        occasion = Occasion(step=end, progress=end / self.schedule.total_steps, rate=rate, memory=self._memory)
        conserves = type(self).budget is DynamicTopology.budget
        decision = check_decision(self._rules.name, self._rules.decide(views, occasion), views, conserves)
        self._memory = dict(decision.memory)
        return Round.planned(end, rate, views, decision)

    def _evidence(self, name: str) -> Moments:
        """Of all weights of the layer, where the method collects it; nothing where it does not."""
        return self._collector.dense(name) if self._rules.evidence is not None else {}

    def _rewired(self, name: str, lost: int, gained: int, evidence: Moments) -> Pattern:
        def scores() -> Tensor:
            if self._rules.evidence is not None:
                return self._collector.dense_score(name, evidence)
            layer = self._layers[name]
            generator = keyed_generator("grow", self._seed, self.steps, name)
            return torch.rand(layer.pattern.numel, generator=generator).to(layer.values.device)

        view = self._view(name)
        return check_pattern(self._rules.name, self._rules.rewire(view, lost, gained, scores), view, lost, gained)

    def _view(self, name: str) -> LayerView:
        layer = self._layers[name]
        return LayerView(
            name=name,
            values=layer.values.detach(),
            pattern=layer.pattern,
            momentum=self._collector.active_momentum(name) if self._rules.reads_momentum else None,
            gradient=self._gradient(name) if self._rules.reads_gradient else None,
        )

    def _gradient(self, name: str) -> Tensor:
        found = self._gradients.get(name)
        return torch.zeros_like(self._layers[name].values) if found is None else found
