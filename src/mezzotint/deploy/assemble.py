"""How does a network get the sparse layers and weights that its tensors describe? Swapped in, checked, loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint import models
from mezzotint.deploy.description import Description
from mezzotint.errors import CheckpointError, InputError, NotRegistered, ShapeError, message
from mezzotint.lowering import attach
from mezzotint.sparse import Pattern, SparseConv2d, SparseLayer, sparse_layers
from mezzotint.sparse.conversion import sparse_twin
from mezzotint.sparse.swap import replace_modules

_INDICES = "indices"


def build(description: Description, where: str) -> nn.Module:
    """The network of ``description`` with fresh weights; the random state of the process is left as it was.

    Raises:
        CheckpointError: the description names no architecture, or one that cannot be built.
    """
    if description.architecture is None or models.is_external(description.architecture):
        raise CheckpointError(
            message(
                f"{where}: architecture",
                received="none: the network is not one of mezzotint.models",
                allowed="a file that names one, or the network itself",
                fix="Build the network as it was before sparsify and pass it: Session(path, model=network), or "
                "load(path, model=network).",
            )
        )
    try:
        with torch.random.fork_rng(devices=[]):
            return models.build(description.architecture, **description.arguments)
    except (InputError, NotRegistered, TypeError) as error:
        raise CheckpointError(f"{where}: the network cannot be built: {error}") from error


def assemble(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> nn.Module:
    """Give ``model`` the sparse layers that ``tensors`` name, and all weights; returns it in evaluation mode.

    Args:
        model: with dense layers, or sparse ones already; changed in place.
        tensors: a state dict: ``<layer>.values`` and ``<layer>.indices`` for a sparse layer.
        where: names the file in errors.

    Raises:
        CheckpointError: names, shapes or indices do not fit the network.
    """
    twins: dict[nn.Module, nn.Module] = {}
    for key in sorted(tensors):  # files keep no order, errors should
        prefix = key.removesuffix(_INDICES)
        if key.endswith(_INDICES) and f"{prefix}values" in tensors:
            name = prefix.rstrip(".")  # empty when the network is itself a sparse layer
            layer = _layer(model, name, where)
            if not isinstance(layer, SparseLayer):
                twins[layer] = _twin(layer, name, tensors[key], where)
    model = replace_modules(model, twins)
    try:
        model.load_state_dict(dict(tensors))
    except (RuntimeError, InputError) as error:
        raise CheckpointError(
            message(
                f"{where}: weights",
                received=str(error),
                allowed="those of this network",
                fix="Build the network as it was built for training.",
            )
        ) from error
    return attach(model.eval())


def layer_records(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Layer name -> what a program that reads the file must know of each sparse layer, JSON-ready."""
    return {name: _record(layer) for name, layer in sparse_layers(model).items()}


def check_layers(model: nn.Module, saved: object, where: str) -> None:
    """The sparse layers must be the recorded ones: a network with another stride would compute something else.

    Raises:
        CheckpointError: naming the layer that differs.
    """
    found = layer_records(model)
    if not isinstance(saved, Mapping):
        raise CheckpointError(message(f"{where}: layers", received=type(saved).__name__, allowed="a table of layers"))
    for name in [*saved, *found]:
        if saved.get(name) != found.get(name):
            raise CheckpointError(
                message(
                    f"{where}: layer {name!r}",
                    received=f"{found.get(name, 'no sparse layer')} in the network",
                    allowed=f"{saved.get(name, 'no sparse layer')} as in the file",
                    fix="Build the network as it was built for training.",
                )
            )


def _layer(model: nn.Module, name: str, where: str) -> nn.Module:
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        layer = model
    if (name and layer is model) or not isinstance(layer, (nn.Conv2d, nn.Linear, SparseLayer)):
        raise CheckpointError(
            message(
                f"{where}: sparse layer {name!r}",
                received="a network without such a layer" if layer is model else type(layer).__name__,
                allowed="a Conv2d or Linear of that name",
                fix="Build the network as it was built for training.",
            )
        )
    return layer


def _twin(layer: nn.Module, name: str, indices: Tensor, where: str) -> SparseLayer:
    """A sparse layer of the geometry of ``layer`` with these indices; its values come with the state dict."""
    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        raise TypeError(f"{type(layer).__name__} has no sparse twin")
    try:
        pattern = Pattern.from_indices(indices, layer.weight.shape)
    except ShapeError as error:
        raise CheckpointError(f"{where}: layer {name!r}: {error}") from error
    return sparse_twin(layer, pattern, torch.zeros(pattern.nnz))


def _record(layer: SparseLayer) -> dict[str, Any]:
    shared = {"weight_shape": list(layer.weight_shape), "nnz": layer.nnz, "bias": layer.bias is not None}
    if not isinstance(layer, SparseConv2d):
        return {"kind": "linear", **shared}
    padding = layer.padding if isinstance(layer.padding, str) else list(layer.padding)
    return {
        "kind": "conv2d",
        **shared,
        "stride": list(layer.stride),
        "padding": padding,
        "dilation": list(layer.dilation),
        "groups": layer.groups,
        "padding_mode": layer.padding_mode,
    }
