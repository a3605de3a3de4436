"""What is known of weights that do not exist? Dense moments, layer by layer, alive only inside a window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mezzotint.errors import CheckpointError, InputError, message
from mezzotint.sparse.layer import SparseLayer
from mezzotint.sparse.moments import Group, MomentRule, Moments, active_moments, no_moments, rule_for
from mezzotint.sparse.window import DenseWindow


@dataclass(kw_only=True)
class _Open:
    """One open window: gradients of the step under way, and the moments of the steps before it."""

    window: DenseWindow = field(default_factory=DenseWindow)
    moments: Moments | None = None
    folded: int = 0


class Collector:
    """Collects, for every layer whose window is open, the momentum that each of its weights would have."""

    def __init__(self, layers: dict[str, SparseLayer], optimizer: Optimizer) -> None:
        """
        Args:
            layers: dotted name -> layer.
            optimizer: over the values of all of them.

        Raises:
            InputError: the optimiser does not hold a layer's values, or keeps no momentum.
        """
        self._layers = layers
        self._optimizer = optimizer
        self._open: dict[str, _Open] = {}
        for name, layer in layers.items():
            if layer.values.requires_grad:
                self.rule(name)

    def group(self, name: str) -> Group:
        """The optimiser's settings for the layer ``name``."""
        values = self._layers[name].values
        for group in self._optimizer.param_groups:
            if any(parameter is values for parameter in group["params"]):
                return group
        raise InputError(
            message(
                f"optimizer of layer {name!r}",
                received="an optimiser that does not hold its values",
                allowed="an optimiser over model.parameters()",
                fix="Build the optimiser after sparsify(): the swapped layers have new parameters.",
            )
        )

    def rule(self, name: str) -> MomentRule:
        """How the optimiser averages gradients of the layer ``name``."""
        return rule_for(self._optimizer, self.group(name))

    @property
    def open_names(self) -> list[str]:
        """The layers whose windows are open, in module order."""
        return [name for name in self._layers if name in self._open]

    def set_open(self, wanted: bool) -> None:
        """Open the windows of all layers that are trained, or close all and free what they hold."""
        for name, layer in self._layers.items():
            if wanted and layer.values.requires_grad and name not in self._open:
                self._open[name] = _Open()
                layer.open_window(self._open[name].window)
            elif name in self._open and not (wanted and layer.values.requires_grad):
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

    def active(self, name: str) -> Moments:
        """``[nnz]``: the optimiser's own moments of the layer's active weights."""
        values = self._layers[name].values
        return active_moments(self.rule(name), self._optimizer.state.get(values, {}), values.detach())

    def active_score(self, name: str) -> Tensor:
        """``[nnz]``: what ranks the active weights."""
        return self.rule(name).score(self.active(name), self._steps(name), self.group(name))

    def dense(self, name: str) -> Moments:
        """``[numel]``: exact moments at the active weights, windowed ones elsewhere, all as the optimiser's state."""
        layer, entry, rule = self._layers[name], self._open[name], self.rule(name)
        numel = math.prod(layer.weight_shape)
        moments = entry.moments or no_moments(rule, numel, layer.values)
        rule.normalise(moments, entry.folded, self._steps(name), self.group(name))
        positions = layer.pattern.indices.long()
        for key, tensor in self.active(name).items():
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
        self.set_open(False)
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
        return self.rule(name).steps(self._optimizer.state.get(self._layers[name].values, {}))


def _saved(entry: _Open) -> dict[str, Any]:
    pending = entry.window.pending
    return {
        "folded": entry.folded,
        "moments": {key: tensor.clone() for key, tensor in (entry.moments or {}).items()},
        "pending": None if pending is None else pending.clone(),
    }


def _copy(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.detach().to(device, copy=True)
