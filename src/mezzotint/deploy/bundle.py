"""Where does a network to deploy come from? A module, a run's checkpoint or a file of ours, all as one bundle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from mezzotint.data.protocols import Protocol, get_protocol
from mezzotint.deploy.assemble import assemble, build, check_layers
from mezzotint.deploy.description import Description
from mezzotint.deploy.formats import safetensors_file
from mezzotint.deploy.onnx import check_fallback, read_onnx, read_onnx_description
from mezzotint.deploy.run_checkpoint import read_checkpoint
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import CheckpointError, ConfigError, InputError, NotRegistered, message

_log = logging.getLogger(__name__)

Source = nn.Module | str | Path
ONNX_SUFFIX: Final = ".onnx"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A network with its description.

    Attributes:
        inputs, outputs: where the source names them; otherwise None, and the network tells.
        refused: why ONNX Runtime runs it, where it does.
    """

    model: nn.Module
    description: Description
    inputs: tuple[TensorInfo, ...] | None = None
    outputs: tuple[TensorInfo, ...] | None = None
    refused: str | None = None


def open_bundle(
    source: Source,
    description: Description | None = None,
    model: nn.Module | None = None,
    fallback: str | None = None,
    threads: int | None = None,
) -> Bundle:
    """The network of ``source`` and what is known of it.

    Args:
        source: a module, which is taken as it is; a run folder or checkpoint folder of ours; a ``.safetensors`` file
            that :func:`mezzotint.deploy.export` wrote; or an ``.onnx`` file.
        description: instead of the source's own; what describes a module.
        model: for a file whose network is not one of ``mezzotint.models``: the network, with any weights. It is
            changed in place.
        fallback: who runs an ``.onnx`` file with nodes that cannot be run here: ``"onnxruntime"``, or nobody.
        threads: of the fallback; None: as many as it likes.

    Raises:
        InputError: ``source`` is none of these, or ``model`` is not wanted.
        CheckpointError: nothing is there, it is damaged, or it does not fit the network.
        UnsupportedModel: an ``.onnx`` file holds nodes that cannot be run; it names all of them.
    """
    check_fallback(fallback)
    _check_source(source, model)
    if isinstance(source, nn.Module):
        return Bundle(model=source, description=description or Description())
    path = Path(source)
    if path.suffix == ONNX_SUFFIX:
        return _onnx_bundle(path, description, fallback, threads)
    if path.is_file():
        content = safetensors_file.read(path)
        tensors, own, layers = content.tensors, content.description, content.layers
    else:
        tensors, own = read_checkpoint(path)
        layers = None
    _compare_protocol(own, path)
    network = assemble(model if model is not None else build(own, str(path)), tensors, str(path))
    if layers is not None:
        check_layers(network, layers, str(path))
    return Bundle(model=network, description=description or own)


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in the ``.safetensors`` file or run folder ``path``, in evaluation mode, on the CPU.

    Args:
        path: a file that :func:`mezzotint.deploy.export` wrote, sparse or dense; a run folder (its newest
            checkpoint) or checkpoint folder; or an ``.onnx`` file (see :func:`mezzotint.deploy.load_onnx`).
        model: needed when the network is not one of ``mezzotint.models``: the network as it was before
            :func:`mezzotint.sparsify`, with any weights. It is changed in place and returned.

    Raises:
        CheckpointError: the file is missing, damaged, not one of ours, or does not fit the network.
    """
    if not Path(path).exists():
        raise CheckpointError(
            message("path to load", received=str(path), allowed="an existing .safetensors file or run folder")
        )
    return open_bundle(path, model=model).model


def describe(path: str | Path) -> Description:
    """What travels with the weights of a ``.safetensors`` file, checkpoint folder or run folder.

    Raises:
        CheckpointError: nothing is there, or it is damaged.
    """
    place = Path(path)
    if place.suffix == ONNX_SUFFIX:
        return read_onnx_description(place)
    return safetensors_file.read(place).description if place.is_file() else read_checkpoint(place)[1]


def _check_source(source: object, model: nn.Module | None) -> None:
    if not isinstance(source, nn.Module | str | Path):
        fix = ""
        if isinstance(source, Mapping):
            fix = "Weights alone are no network: model.load_state_dict(weights), and pass the model."
        kind = type(source).__name__
        raise InputError(message("source of a network", received=f"a {kind}", allowed="a module or a path", fix=fix))
    itself = isinstance(source, nn.Module) or Path(source).suffix == ONNX_SUFFIX
    if model is not None and itself:
        what = "a module" if isinstance(source, nn.Module) else str(source)
        received = f"{type(model).__name__} for {what}, which holds its network"
        raise InputError(message("model", received=received, allowed="a model for weights without a network"))


def _onnx_bundle(path: Path, description: Description | None, fallback: str | None, threads: int | None) -> Bundle:
    given = description.input_shape if description is not None else None
    one_input = None if given is None else (None, *given)
    found = read_onnx(path, fallback=fallback, one_input=one_input, threads=threads)
    _compare_protocol(found.description, path)
    own = description or found.description
    known = {"inputs": found.inputs, "outputs": found.outputs}
    return Bundle(model=found.module, description=own, **known, refused=found.refused)


def _compare_protocol(description: Description, path: Path) -> None:
    known = _known_protocol(description.protocol)
    if known is not None and known.fingerprint() != description.protocol_fingerprint:
        _log.warning(
            "%s was made with the protocol %s (%s), which means %s in this version of mezzotint.",
            *(path, description.protocol, description.protocol_fingerprint, known.fingerprint()),
        )


def _known_protocol(name: str | None) -> Protocol | None:
    """The protocol of that name; None where this version has none, or not with those settings."""
    try:
        return get_protocol(name) if name else None
    except (NotRegistered, ConfigError):
        return None
