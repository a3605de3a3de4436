"""From which weights does a run start, if not from random ones? Another run's checkpoint, or a state dict in a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mezzotint.errors import CheckpointError, ConfigError, message, suggest
from mezzotint.train import checkpoint

_VALUES, _INDICES = ".values", ".indices"


def read_weights(path: str) -> dict[str, Tensor]:
    """The state dict at ``path``: a run folder, a checkpoint folder, a ``.safetensors`` file, or ``.pt``/``.pth``.

    Of a run that averages its weights, the averages. A ``.pt`` file is read with ``weights_only=True``; a table that
    holds the state dict under "state_dict", "model" or "model_state" is opened. What ``torch.compile`` and
    data-parallel wrappers put into the names ("_orig_mod.", "module.") is left out.

    Raises:
        ConfigError: there is no such file, or it holds no state dict.
    """
    place = Path(path)
    if place.is_dir():
        saved = checkpoint.load(checkpoint.locate(place))
        return dict(saved.tensors["average"] or saved.tensors["model"])
    try:
        if place.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(place)
        else:
            found = torch.load(place, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        near = [item.name for item in place.parent.glob("*")] if place.parent.is_dir() else []
        raise ConfigError(
            message("model.weights", received=f"{path!r}, which does not exist", allowed="a run folder or a file")
            + suggest(place.name, near)
        ) from None
    except pickle.UnpicklingError as error:
        # Its own text recommends to load without the check.
        raise ConfigError(
            message(
                "model.weights",
                received=f"{path!r}, which is no file of torch.save or holds more than tensors and plain values",
                allowed="a state dict",
                fix="Save model.state_dict() alone, with torch.save or safetensors.",
            )
        ) from error
    except (OSError, RuntimeError, SafetensorError, EOFError) as error:
        raise ConfigError(message("model.weights", received=f"{path!r} ({error})", allowed="a state dict")) from error
    for key in ("state_dict", "model", "model_state"):
        found = found[key] if isinstance(found, Mapping) and isinstance(found.get(key), Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigError(message("model.weights", received=f"{path!r}, which holds no state dict", allowed="tensors"))
    return {key.replace("_orig_mod.", "").removeprefix("module."): value for key, value in found.items()}


def is_sparse(weights: Mapping[str, Tensor]) -> bool:
    """Whether the state dict is of a sparse network: it holds patterns."""
    return any(name.endswith(_INDICES) and name.removesuffix(_INDICES) + _VALUES in weights for name in weights)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], skip: Sequence[str]) -> None:
    """Load ``weights`` into ``model``, patterns included; entries that match a glob in ``skip`` stay as they are.

    Raises:
        ConfigError: a name is missing or unknown, or a shape differs.
    """
    own = model.state_dict()
    for glob in skip:
        if not any(fnmatchcase(name, glob) for name in own):
            raise ConfigError(
                message("model.weights_skip", received=glob, allowed="globs that match entries of the model")
                + suggest(glob, own)
            )
    kept = {name: tensor for name, tensor in own.items() if any(fnmatchcase(name, glob) for glob in skip)}
    given = {name: tensor for name, tensor in weights.items() if name not in kept}
    try:
        model.load_state_dict({**given, **kept})
    except (RuntimeError, CheckpointError) as error:
        raise ConfigError(
            message(
                "model.weights",
                received=" ".join(str(error).split()),
                allowed="weights of the network that the configuration builds",
                fix='Name layers that are to start anew in model.weights_skip, for example ["fc.*"].',
            )
        ) from error
