"""How is a network written for others to use? ``export``: one call for every source and format."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mezzotint.deploy.bundle import Source, open_bundle
from mezzotint.deploy.description import Description
from mezzotint.deploy.files import write_whole
from mezzotint.deploy.formats import FORMATS
from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.sparse import densify, sparse_layers


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        bytes: its size.
        nnz, numel: active and all weights of the network's sparse layers.
    """

    path: Path
    bytes: int
    nnz: int
    numel: int


def export(
    source: Source,
    format: str,
    output: str | Path,
    *,
    dense: bool = False,
    description: Description | None = None,
    model: nn.Module | None = None,
) -> Exported:
    """Write a network to a file.

    Args:
        source: a module, a run folder (its newest checkpoint), a checkpoint folder, or a ``.safetensors`` file of ours.
        format: ``"safetensors"`` (loads with :func:`mezzotint.deploy.load`), ``"pt2"`` (loads with
            ``torch.export.load``), ``"onnx"`` (zeros written out) or ``"onnx-sparse"`` (sparse initializers).
        output: the file; replaced when it exists, and whole or untouched in any case. Its folder is made when absent.
        dense: write sparse layers with explicit zeros, so that the file loads without mezzotint.
        description: what travels with the weights, instead of what the source says; give one with a module.
        model: for a source whose network is not one of ``mezzotint.models``: see :func:`mezzotint.deploy.load`.

    Raises:
        NotRegistered: an unknown format; the message lists all.
        CheckpointError: the source is damaged.
        InputError: the network cannot be written in this format, or the file cannot be written.
    """
    if format not in FORMATS:
        hint = suggest(format, FORMATS).strip()
        raise NotRegistered(message("export format", received=format, allowed=", ".join(FORMATS), fix=hint))
    path = Path(output)
    if path.is_dir():
        raise InputError(message("output file", received=f"{path}, which is a folder", allowed="a file"))
    bundle = open_bundle(source, description, model)
    network = copy.deepcopy(bundle.model).cpu().eval()
    layers = sparse_layers(network).values()
    nnz, numel = sum(layer.nnz for layer in layers), sum(layer.pattern.numel for layer in layers)
    content = FORMATS[format](densify(network) if dense else network, bundle.description)
    write_whole(path, content)
    return Exported(path=path, bytes=len(content), nnz=nnz, numel=numel)
