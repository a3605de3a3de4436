"""How does the network look inside? Its patterns as small pictures, how old its weights are, and its first filters.

What is kept from update to update is two bytes for each nonzero: the number of the update that grew it.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import torch
from torch import Tensor, nn

from mezzotint.lowering import explain
from mezzotint.sparse import Pattern, SparseConv2d, SparseLinear, sparse_layers
from mezzotint.sparse.carry import carried
from mezzotint.train.parts import Parts
from mezzotint.train.run_folder import Folder

FILE: Final = "patterns.json"
_ROWS, _COLUMNS = 96, 128
"""Cells of a layer's picture at most; larger layers are shown in blocks."""
_AGES: Final = 32
"""Bins of the histogram of ages."""
_NEWEST: Final = torch.iinfo(torch.int16).max
_LEVELS: Final = 15
"""Steps of a picture's tint: a picture in few steps is stored in few bytes."""
_FILTER_WEIGHTS: Final = 16_384
"""Weights of the first layer that are recorded at most."""


class Ages:
    """At which topology update did each weight appear? Update 0 is the beginning of the run.

    The layers of one update may have their turns at different steps.
    """

    def __init__(self, model: nn.Module) -> None:
        """Every weight of ``model`` appears now."""
        self.updates = 0
        self._known = {name: (layer.pattern, _births(layer.pattern)) for name, layer in sparse_layers(model).items()}

    def follow(self, model: nn.Module, *, ended: bool) -> None:
        """Note what a step has grown; weights that it left keep their age. Costs nothing where no pattern changed.

        Args:
            model: after the step.
            ended: whether a topology update has ended with it.
        """
        for name, layer in sparse_layers(model).items():
            pattern, births = self._known[name]
            if layer.pattern is not pattern:
                now = births.new_tensor(min(self.updates + 1, _NEWEST))
                self._known[name] = layer.pattern, carried(births, pattern, layer.pattern, now)
        self.updates += ended

    def of(self, name: str) -> Tensor:
        """int16 [nnz]: the update that grew each weight of a layer, at most 32767; in the pattern's order."""
        return self._known[name][1]

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint; nothing of a dense network."""
        if not self._known:
            return {}
        return {"updates": torch.tensor([self.updates]), **{f"born.{name}": self.of(name) for name in self._known}}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint. One that was made without ages leaves every weight as old as this process."""
        if "updates" not in tensors:
            return
        self.updates = int(tensors["updates"])
        for name, (pattern, births) in self._known.items():
            saved = tensors.get(f"born.{name}", births)
            if saved.shape == births.shape:
                self._known[name] = pattern, saved.to(births)


def write(folder: Folder, parts: Parts, ages: Ages, step: int) -> None:
    """Write ``patterns.json``: the network as it stands after ``step`` steps. Only the leader of several ranks does."""
    if parts.ranks.leads:
        data = parts.inputs.record
        folder.write_json(FILE, record(parts.model, ages, step, (data.in_channels, *data.image_size)))


def record(model: nn.Module, ages: Ages, step: int, image: tuple[int, int, int]) -> dict[str, Any]:
    """What ``patterns.json`` holds, JSON-ready.

    Args:
        model: of the run.
        ages: of its weights.
        step: steps done.
        image: (channels, height, width) of what enters the network.
    """
    layers = {name: _layer(layer.pattern, ages.of(name), ages.updates) for name, layer in sparse_layers(model).items()}
    layout = explain(model).splitlines() if layers else []
    return {
        "format": 1,
        "step": step,
        "updates": ages.updates,
        "layers": layers,
        "filters": _filters(model, image),
        "layout": layout,
    }


def _births(pattern: Pattern) -> Tensor:
    return torch.zeros(pattern.nnz, dtype=torch.int16, device=pattern.device)


def _layer(pattern: Pattern, births: Tensor, updates: int) -> dict[str, Any]:
    """A layer's picture: for each block of (output, input) the share of its weights that exist and their mean age."""
    outputs, inputs = pattern.shape[:2]
    kernel = prod(pattern.shape[2:])
    rows, columns = min(outputs, _ROWS), min(inputs, _COLUMNS)
    flat = pattern.indices.cpu().long()  # a GPU counts with weights in no fixed order
    row, column = flat // (inputs * kernel), flat // kernel % inputs
    cell = row * rows // outputs * columns + column * columns // inputs
    room = _sizes(outputs, rows).outer(_sizes(inputs, columns)).flatten() * kernel
    held = torch.bincount(cell, minlength=rows * columns)
    births = births.cpu().long().clamp(max=updates)  # those of an update under way count to the last one
    age = torch.bincount(cell, (updates - births).double(), minlength=rows * columns) / held.clamp(min=1)
    bins = births * min(_AGES, updates + 1) // (updates + 1)
    return {
        "shape": list(pattern.shape),
        "nnz": pattern.nnz,
        "rows": rows,
        "columns": columns,
        "share": _packed(_tints(held / room)),
        "age": _packed(_tints(age / max(updates, 1)) * (held > 0)),
        "born": torch.bincount(bins, minlength=min(_AGES, updates + 1)).tolist(),
        "empty_outputs": outputs - int(row.unique().numel()),
        "empty_inputs": inputs - int(column.unique().numel()),
    }


def _sizes(length: int, parts: int) -> Tensor:
    """How many of ``length`` places fall into each of ``parts`` blocks."""
    return torch.bincount(torch.arange(length) * parts // length, minlength=parts)


def _tints(shares: Tensor) -> Tensor:
    """Shares as steps: 0 for nothing, 1 for the least that is something, ``_LEVELS`` for all."""
    return (shares * _LEVELS).round().clamp_(0, _LEVELS).maximum((shares > 0).to(shares))


def _filters(model: nn.Module, image: tuple[int, int, int]) -> dict[str, Any] | None:
    """The first layer's weights, as far as they are pictures: of a convolution, or a linear layer upon the image."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | SparseConv2d | SparseLinear):
            weight, mask = _weight(module)
            if weight.ndim == 2 and weight.shape[1] == prod(image):
                weight, mask = weight.unflatten(1, image), mask.unflatten(1, image)
            return _pictures(name, weight, mask) if weight.ndim == 4 else None
    return None


def _weight(module: nn.Conv2d | nn.Linear | SparseConv2d | SparseLinear) -> tuple[Tensor, Tensor]:
    """(dense weight, mask of what exists) of a layer."""
    if isinstance(module, SparseConv2d | SparseLinear):
        return module.dense_weight().detach(), module.pattern.to_mask()
    return module.weight.detach(), torch.ones_like(module.weight, dtype=torch.bool)


def _pictures(name: str, weight: Tensor, mask: Tensor) -> dict[str, Any] | None:
    """Filters [O, I, kh, kw] in 255 steps of their largest weight; of too many the first."""
    shown = min(len(weight), _FILTER_WEIGHTS // prod(weight.shape[1:]))
    if shown == 0:
        return None
    part = weight[:shown].float()
    largest = float(part.abs().max())
    steps = (part / largest * 127).round() if 0 < largest < float("inf") else torch.zeros_like(part)
    return {
        "layer": name,
        "shape": list(part.shape),
        "of": len(weight),
        "largest": largest,
        # -128 stands for a weight that does not exist; one that is 0 and exists is 0.
        "weights": _packed((steps.where(mask[:shown], -128.0) + 128).nan_to_num(128)),
    }


def _packed(values: Tensor) -> str:
    """Values 0..255 as bytes, row by row, deflated, in base64."""
    return base64.b64encode(zlib.compress(values.to("cpu", torch.uint8).numpy().tobytes(), 9)).decode("ascii")
