"""What if the last weights are noisier than their average? EMA and SWA of weights whose topology moves.

The average is held for active weights only, like everything else. When a layer's pattern changes, averages of pruned
weights go with them and a grown weight's average starts at 0: while it did not exist it was 0 in the dense network.

* ``ema``: ``average = d * average + (1 - d) * weight`` after every step, with ``d = min(decay, (1 + t) / (10 + t))``
  (the warm-up of TensorFlow's ``ExponentialMovingAverage``), so that the first weights are soon forgotten.
* ``swa``: the mean of the weights after every step from ``start`` on (Izmailov et al. 2018, "Averaging weights leads to
  wider optima", with the cycle length of one step).

Floating-point buffers of the state dict (running statistics of batch norms) are averaged in the same way. Numbers that
have no average, as the -inf of a mask of attention, are those of the model.

``torch.optim.swa_utils.AveragedModel`` and other averages in a deep copy of the model keep the pattern that the copy
was made with: they would mix values of different weights once the pattern moves (:mod:`mezzotint.sparse.copies` tells).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from mezzotint.errors import CheckpointError, InputError, message, require_registered
from mezzotint.sparse.carry import carried
from mezzotint.sparse.layer import sparse_layers
from mezzotint.sparse.pattern import Pattern

KINDS: Final = ("ema", "swa")


class WeightAverage:
    """The running average of a model's parameters and saved floating-point buffers; it follows patterns as they move.

    ::

        average = WeightAverage(model, "ema", decay=0.999)
        ...
        stepped = precision.step(loss, optimizer)
        topology.step(stepped)
        average.step(stepped)
        ...
        with average.applied():
            evaluate(model)  # or export it, or keep copy.deepcopy(model)
    """

    def __init__(self, model: nn.Module, kind: str = "ema", *, decay: float = 0.999, start: int = 0) -> None:
        """
        Args:
            model: in training, sparse or not.
            kind: "ema" or "swa".
            decay: of "ema", in (0, 1).
            start: of "swa": steps that do not enter the mean, at least 0.

        Raises:
            NotRegistered: another kind.
            InputError: a decay or a start out of range.
        """
        require_registered("kind", kind, KINDS)
        if not 0 < decay < 1:
            raise InputError(message("decay", received=decay, allowed="a number between 0 and 1"))
        if start < 0:
            raise InputError(message("start", received=start, allowed="a number of steps, at least 0"))
        self._model, self._kind, self._decay, self._start = model, kind, decay, start
        self._owners = {f"{name}.values" if name else "values": layer for name, layer in sparse_layers(model).items()}
        self.steps = 0
        """Steps of the training."""
        self.count = 0
        """Steps that entered the average."""
        self._means: dict[str, Tensor] = {}
        self._patterns: dict[str, Pattern] = {}

    @torch.no_grad()
    def step(self, stepped: bool = True) -> None:
        """Take the present weights into the average; to be called after the optimiser's step and the topology's.

        Args:
            stepped: what ``Precision.step`` returned; False when the optimiser's step was skipped: nothing changes.
        """
        self.steps += int(stepped)
        if not stepped or (self._kind == "swa" and self.steps <= self._start):
            return
        weight = self._weight_of_the_new()
        for name, tensor in self._tensors():
            self._follow(name, tensor)
            _take_in(self._means[name], tensor, weight)
        self.count += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averages inside, and its own weights again afterwards; nothing while there are none yet."""
        if not self.count:
            yield
            return
        self._follow_all()
        own = {name: tensor.detach().clone() for name, tensor in self._tensors()}
        try:
            self._write(self._means)
            yield
        finally:
            self._write(own)

    def state_dict(self) -> dict[str, Any]:
        """The numbers of steps; the averages themselves are :meth:`tensors`."""
        return {"kind": self._kind, "steps": self.steps, "count": self.count}

    def tensors(self) -> dict[str, Tensor]:
        """The averaged model's state dict; empty while there is no average."""
        if not self.count:
            return {}
        self._follow_all()
        means = {id(tensor): self._means[name] for name, tensor in self._tensors()}  # a shared tensor has more names
        state = self._model.state_dict(keep_vars=True)
        return {name: means.get(id(tensor), tensor).detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue exactly from :meth:`state_dict` and :meth:`tensors`; load the model first.

        Raises:
            CheckpointError: the average is of another kind, or lacks a tensor.
        """
        if state.get("kind") != self._kind:
            raise CheckpointError(
                message("average of the checkpoint", received=state.get("kind"), allowed=f"{self._kind}")
            )
        self.steps, self.count = int(state["steps"]), int(state["count"])
        self._means, self._patterns = {}, {}
        for name, tensor in self._tensors() if self.count else ():
            if name not in tensors or tensors[name].shape != tensor.shape:
                raise CheckpointError(f"average of the checkpoint: {name!r} is missing or has another shape.")
            self._means[name] = tensors[name].to(tensor.device, copy=True)
            if name in self._owners:
                self._patterns[name] = self._owners[name].pattern

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What is averaged, by its first name in the state dict; what is not in there is made anew with the model."""
        names = {id(tensor): name for name, tensor in reversed(self._model.state_dict(keep_vars=True).items())}
        buffers = (buffer for buffer in self._model.buffers() if buffer.is_floating_point())
        for tensor in (*self._model.parameters(), *buffers):
            if id(tensor) in names:
                yield names[id(tensor)], tensor

    def _weight_of_the_new(self) -> float:
        if not self.count:
            return 1.0
        if self._kind == "swa":
            return 1 / (self.count + 1)
        return 1 - min(self._decay, (1 + self.count) / (10 + self.count))

    def _follow(self, name: str, tensor: Tensor) -> None:
        """Bring the average of ``name`` to the layer's present pattern."""
        layer = self._owners.get(name)
        if name not in self._means:
            self._means[name] = tensor.detach().clone()
        elif layer is not None and layer.pattern is not self._patterns[name]:
            self._means[name] = carried(self._means[name], self._patterns[name], layer.pattern)
        if layer is not None:
            self._patterns[name] = layer.pattern

    @torch.no_grad()
    def _follow_all(self) -> None:
        """Patterns may have moved since the last step."""
        for name, tensor in self._tensors():
            self._follow(name, tensor)

    @torch.no_grad()
    def _write(self, content: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors():
            tensor.copy_(content[name])


def _take_in(mean: Tensor, new: Tensor, weight: float) -> None:
    """Move ``mean`` towards ``new``, in place; it is ``new`` itself where there is nothing finite between the two."""
    finite = mean.lerp_(new, weight).isfinite()
    if not bool(finite.all()):
        mean.copy_(torch.where(finite, mean, new))
