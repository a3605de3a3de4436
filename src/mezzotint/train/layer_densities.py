"""How dense is each layer to be, where the configuration says so layer by layer? ``[sparsity] layers``, resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from torch import nn

from mezzotint.errors import ConfigError, message, suggest
from mezzotint.sparse import first_density, layer_nnz, select, sparse_layers
from mezzotint.train.config_sparsity import SparsityConfig

_SHOWN: Final = 12
Shape = tuple[int, ...]
Density = float | dict[str, float]
"""Of all layers together, or of each by its name."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a network is made sparse.

    Attributes:
        density: at the beginning, as :func:`mezzotint.sparse.sparsify` takes it.
        exclude: names and globs of layers that stay dense: those of the configuration, and those whose density is 1.
    """

    density: Density
    exclude: tuple[str, ...]

    @property
    def prunes(self) -> bool:
        """Whether any weight is missing at the beginning."""
        densities = self.density.values() if isinstance(self.density, dict) else [self.density]
        return any(density < 1 for density in densities)


def start_of(model: nn.Module, sparsity: SparsityConfig) -> Start:
    """What ``sparsity`` asks of a network that is dense.

    Raises:
        ConfigError: a name or glob of ``layers`` fits no layer.
        InputError: see :func:`mezzotint.sparse.select`.
    """
    if not sparsity.by_layer:
        return Start(density=sparsity.first_density, exclude=sparsity.exclude)
    shapes = {name: tuple(layer.weight.shape) for name, layer in select(model, sparsity.exclude).layers.items()}
    _check(list(shapes), sparsity.by_layer)
    given, others = _given(shapes, sparsity.by_layer), sparsity.density
    dense = [name for name in shapes if given.get(name, others) == 1]
    left = {name: shape for name, shape in shapes.items() if name not in dense}
    exclude = (*sparsity.exclude, *dense)
    if sparsity.start_density is not None:
        return Start(density=sparsity.start_density, exclude=exclude)
    first = {name: first_density(sparsity.method, density) for name, density in given.items() if name in left}
    rest = {name: shape for name, shape in left.items() if name not in given}
    return Start(density=first | _shared_out(rest, first_density(sparsity.method, others), sparsity), exclude=exclude)


def goal_density(model: nn.Module, sparsity: SparsityConfig) -> Density:
    """The density at the end, of all sparse layers of ``model`` or of each."""
    if not sparsity.by_layer:
        return sparsity.density
    shapes = {name: layer.weight_shape for name, layer in sparse_layers(model).items()}
    given = _given(shapes, sparsity.by_layer)
    rest = {name: shape for name, shape in shapes.items() if name not in given}
    return given | _shared_out(rest, sparsity.density, sparsity)


def _given(shapes: Mapping[str, Shape], by_layer: Mapping[str, float]) -> dict[str, float]:
    """The density of each layer that is named: by its own name, or else by the first glob that fits."""
    found = {}
    for name in shapes:
        fitting = [name] if name in by_layer else [glob for glob in by_layer if fnmatchcase(name, glob)]
        if fitting:
            found[name] = by_layer[fitting[0]]
    return found


def _shared_out(shapes: Mapping[str, Shape], density: float, sparsity: SparsityConfig) -> dict[str, float]:
    """``density`` of these layers together; groups of "n:m" and blocks are the same in all of them."""
    if not shapes:
        return {}
    if sparsity.structure is not None:
        return dict.fromkeys(shapes, density)
    counts = layer_nnz(shapes, density, sparsity.distribution)
    return {name: counts[name] / math.prod(shape) for name, shape in shapes.items()}


def _check(names: list[str], by_layer: Mapping[str, float]) -> None:
    for key in by_layer:
        if any(fnmatchcase(name, key) for name in names):
            continue
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        fix = suggest(key, names).strip() or "Layers that sparsity.exclude names are not among them."
        allowed = f"names of layers, or globs: {', '.join(names[:_SHOWN])}{more}"
        raise ConfigError(
            message("sparsity.layers", received=f"{key!r}, which fits no layer", allowed=allowed, fix=fix)
        )
