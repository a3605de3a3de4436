"""What is known of weights that do not exist? Dense moments, layer by layer, alive only inside a window."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mezzotint.errors import CheckpointError, InputError, message
from mezzotint.sparse.layer import SparseLayer
from mezzotint.sparse.matching import NONE, Change, change_between
from mezzotint.sparse.moments import (
    Group,
    MomentRule,
    Moments,
    State,
    active_moments,
    evidence_of,
    no_moments,
    rule_for,
)
from mezzotint.sparse.window import DenseWindow


@dataclass(kw_only=True)
class _Open:
    """One open window: gradients of the step under way, and the moments of the steps before it."""

    window: DenseWindow = field(default_factory=DenseWindow)
    moments: Moments | None = None
    folded: int = 0


class Collector:
    """Collects, for every layer whose window is open, the evidence by which all of its weights rank."""

    def __init__(
        self, layers: dict[str, SparseLayer], optimizer: Optimizer, evidence: str | None, reads_momentum: bool
    ) -> None:
        """
        Args:
            layers: dotted name -> layer.
            optimizer: over the values of all of them.
            evidence: a key of ``moments.EVIDENCE``; None when no window is ever opened.
            reads_momentum: whether :meth:`active_momentum` will be asked for.

        Raises:
            InputError: the optimiser does not hold a layer's values, or keeps no momentum where that is needed.
        """
        self._layers = layers
        self._optimizer = optimizer
        self._evidence = evidence_of(evidence or "gradient")
        self._open: dict[str, _Open] = {}
        self._change: Change | None = None
        self._bound = math.inf
        for name, layer in layers.items():
            if layer.values.requires_grad:
                self.rule(name)
                if reads_momentum:
                    rule_for(optimizer, self.group(name))

    def group(self, name: str) -> Group:
        """The optimiser's settings for the layer ``name``."""
        return group_of(self._optimizer, name, self._layers[name])

    def rule(self, name: str) -> MomentRule:
        """How gradients of the layer ``name`` are averaged."""
        return self._evidence(self._optimizer, self.group(name))

    @property
    def open_names(self) -> list[str]:
        """The layers whose windows are open, in module order."""
        return [name for name in self._layers if name in self._open]

    def set_open(self, wanted: Collection[str]) -> None:
        """Open the windows of the layers ``wanted`` that are trained; close all others and free what they hold."""
        for name, layer in self._layers.items():
            collects = name in wanted and layer.values.requires_grad
            if collects and name not in self._open:
                self._open[name] = _Open()
                layer.open_window(self._open[name].window)
            elif name in self._open and not collects:
                layer.close_window()
                del self._open[name]

    def pending(self) -> list[Tensor]:
        """The dense gradients of the step under way; unscaling and reduction over ranks change them in place."""
        found = [entry.window.pending for entry in self._open.values()]
        return [tensor for tensor in found if tensor is not None]

    def drop(self) -> None:
        """Forget the gradients of a step that was skipped."""
        for entry in self._open.values():
            entry.window.take()

    def match(self, scale: float = 1.0) -> None:
        """Do to the pending gradients what was done to the gradients of active weights since the backward passes.

        To be called when those are as the optimiser's step uses them, but for a division by ``scale``. Where both are
        the same already, as after ``Precision``, nothing changes.

        Raises:
            InputError: something was done to the gradients that cannot be told of missing weights, or a layer is
                trained in evaluation mode.
        """
        used = {name: self._layers[name].values.grad for name in self._open}
        for name, grad in used.items():
            if grad is not None and self._open[name].window.pending is None:
                self._check_mode(name)
        gradients = {name: grad / scale if scale != 1 else grad for name, grad in used.items() if grad is not None}
        changes = {name: self._change_of(name, gradient) for name, gradient in gradients.items()}
        known = [change for change in changes.values() if change is not None]
        self._change = known[-1] if known else self._change
        self._follow_bound(known, gradients)
        for name, change in changes.items():
            self._match_one(self._open[name].window, change)

    def _check_mode(self, name: str) -> None:
        """Dense gradients of evaluation passes, such as a saliency map's, are not collected."""
        if not self._layers[name].training:
            raise InputError(
                message(
                    f"layer {name!r}",
                    received="a training step in evaluation mode, which collects no gradients of missing weights",
                    allowed="training mode",
                    fix="Call model.train() before the step; call eval() on batch norms or dropout alone.",
                )
            )

    def _change_of(self, name: str, used: Tensor) -> Change | None:
        """What was done to the gradients of a layer; None when its active weights have no gradient but 0."""
        window = self._open[name].window
        if window.pending is None:
            return None
        collected = window.pending.reshape(-1)[self._layers[name].pattern.indices.long()]
        try:
            return change_between(collected, used, [1.0] if self._change is None else [1.0, self._change.factor])
        except ValueError as error:
            if window.handled:
                return NONE
            raise InputError(
                message(
                    f"gradient of layer {name!r}",
                    received="values that were changed one by one between backward pass and optimiser's step",
                    allowed="one factor for the layer, or clipping by value: what can be done to missing weights, too",
                    fix="Clear the gradients after every step; what else is done to them, do to"
                    " topology.pending_gradients(), too, before the optimiser's step.",
                )
            ) from error

    def _follow_bound(self, changes: Sequence[Change], gradients: Mapping[str, Tensor]) -> None:
        """Clipping by value is seen only where an active weight is clipped; it holds until a gradient is larger."""
        bound = min((change.bound for change in changes), default=math.inf)
        if bound < math.inf:
            self._bound = bound
        elif self._bound < math.inf and any(bool((g.abs() > self._bound).any()) for g in gradients.values()):
            self._bound = math.inf

    def _match_one(self, window: DenseWindow, change: Change | None) -> None:
        if window.pending is None or (change is None and window.handled):
            return
        change = change or self._change
        if change is None:
            window.take()  # nothing has told yet by what the loop multiplies its gradients
        else:
            replace(change, bound=min(change.bound, self._bound)).apply_(window.pending)

    def fold(self) -> None:
        """Average the gradients of a step that was taken into the moments, as the optimiser did with its own.

        A layer without gradient in this step is left as it is: the optimiser left its momentum as it is, too.
        """
        for name, entry in self._open.items():
            gradient = entry.window.take()
            if gradient is not None:
                rule = self.rule(name)
                entry.moments = entry.moments or no_moments(rule, gradient.numel(), gradient)
                rule.fold(entry.moments, gradient.reshape(-1), self.group(name))
                entry.folded += 1

    def active_momentum(self, name: str) -> Tensor:
        """``[nnz]``: the momentum by which the active weights of the layer rank, from the optimiser's own state."""
        rule = rule_for(self._optimizer, self.group(name))
        return rule.score(self._active(rule, name), rule.steps(self._state(name)), self.group(name))

    def _active(self, rule: MomentRule, name: str) -> Moments:
        return active_moments(rule, self._state(name), self._layers[name].values.detach())

    def _state(self, name: str) -> State:
        # Not optimizer.state[...]: looking up a parameter that has no state yet would make an empty one.
        found: State = self._optimizer.state.get(self._layers[name].values, {})
        return found

    def dense(self, name: str) -> Moments:
        """``[numel]``: all weights' evidence; momentum is exact at the active weights and has the optimiser's scale."""
        layer, entry, rule = self._layers[name], self._open[name], self.rule(name)
        numel = math.prod(layer.weight_shape)
        moments = entry.moments or no_moments(rule, numel, layer.values)
        rule.normalise(moments, entry.folded, self._steps(name), self.group(name))
        if rule.of_optimizer:
            positions = layer.pattern.indices.long()
            for key, tensor in self._active(rule, name).items():
                moments[key][positions] = tensor
        entry.moments, entry.folded = moments, max(entry.folded, self._steps(name))
        return moments

    def dense_score(self, name: str, moments: Moments) -> Tensor:
        """``[numel]``: what ranks the weights of :meth:`dense`."""
        return self.rule(name).score(moments, self._steps(name), self.group(name))

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that is collected: layer -> "folded" (int), "moments" (key -> tensor), "pending" (or None)."""
        return {name: _saved(entry) for name, entry in self._open.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; windows that it does not name are closed."""
        self.set_open(())
        for name, saved in state.items():
            if name not in self._layers:
                raise CheckpointError(message("topology state", received=name, allowed=", ".join(self._layers)))
            self._open[name] = self._loaded(name, saved)
            self._layers[name].open_window(self._open[name].window)

    def _loaded(self, name: str, saved: dict[str, Any]) -> _Open:
        layer = self._layers[name]
        tensors = [*saved["moments"].values(), *([] if saved["pending"] is None else [saved["pending"]])]
        if any(tensor.numel() != math.prod(layer.weight_shape) for tensor in tensors):
            raise CheckpointError(
                f"topology state of layer {name!r}: its size is not that of the layer's dense weight."
            )
        entry = _Open(folded=int(saved["folded"]))
        if saved["moments"]:
            entry.moments = {key: _copy(t, layer.values.device) for key, t in saved["moments"].items()}
        if saved["pending"] is not None:
            entry.window.pending = _copy(saved["pending"], layer.values.device).view(layer.weight_shape)
        return entry

    def _steps(self, name: str) -> int:
        return self.rule(name).steps(self._state(name))


def group_of(optimizer: Optimizer, name: str, layer: SparseLayer) -> Group:
    """The settings of ``optimizer`` for ``layer``, whose dotted name is ``name``.

    Raises:
        InputError: the optimiser does not hold the layer's values.
    """
    for group in optimizer.param_groups:
        if any(parameter is layer.values for parameter in group["params"]):
            return group
    raise InputError(
        message(
            f"optimizer of layer {name!r}",
            received="an optimiser that does not hold its values",
            allowed="an optimiser over model.parameters()",
            fix="Build the optimiser after sparsify(): the swapped layers have new parameters.",
        )
    )


def _saved(entry: _Open) -> dict[str, Any]:
    pending = entry.window.pending
    return {
        "folded": entry.folded,
        "moments": {key: tensor.clone() for key, tensor in (entry.moments or {}).items()},
        "pending": None if pending is None else pending.clone(),
    }


def _copy(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.detach().to(device, copy=True)
