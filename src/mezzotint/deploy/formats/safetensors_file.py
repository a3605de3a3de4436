"""What does our safetensors file look like? Values and int32 indices of sparse layers, and a JSON header.

Tensors are those of the state dict: ``<layer>.values`` float ``[nnz]`` and ``<layer>.indices`` int32 ``[nnz]``
(strictly ascending positions in the row-major dense weight) for a sparse layer, ``<layer>.weight`` for a dense one. The
file's metadata hold ``format = "pt"``, so that other programs take the tensors for PyTorch's, and ``mezzotint``, a JSON
text::

    {"format": 1, "mezzotint": "0.1.0", "sha256": "...",
     "description": {"architecture": "resnet20", "arguments": {...}, "input_shape": [3, 32, 32], "classes": [...],
                     "protocol": null, "protocol_fingerprint": null, "mean": [...], "std": [...]},
     "layers": {"layer1.0.conv1": {"kind": "conv2d", "weight_shape": [16, 16, 3, 3], "nnz": 230, "bias": false,
                                   "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1,
                                   "padding_mode": "zeros"}}}

``sha256`` covers the rest of the header and every tensor. A dense file has no layers in the header and loads into the
plain PyTorch network with ``load_state_dict(safetensors.torch.load_file(path))``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import mezzotint
from mezzotint.deploy.assemble import layer_records
from mezzotint.deploy.description import Description
from mezzotint.deploy.files import known_content
from mezzotint.errors import CheckpointError, message

FORMAT: Final = 1
KEY: Final = "mezzotint"
_TAG: Final = {"format": "pt"}


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file that was read and found whole.

    Attributes:
        tensors: the state dict.
        description: what travels with it.
        layers: the record of each sparse layer, as :func:`mezzotint.deploy.assemble.layer_records` makes it.
    """

    tensors: dict[str, Tensor]
    description: Description
    layers: dict[str, Any]


def write(model: nn.Module, description: Description) -> bytes:
    """The content of the file for ``model``, sparse or dense."""
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    header: dict[str, Any] = {
        "format": FORMAT,
        "mezzotint": mezzotint.__version__,
        "description": description.to_json(),
        "layers": layer_records(model),
    }
    header["sha256"] = _digest(header, tensors)
    return safetensors.torch.save(tensors, {**_TAG, KEY: json.dumps(header)})


def read(path: Path) -> Content:
    """Read a file and check every byte of it.

    Raises:
        CheckpointError: it is missing, truncated, altered, or not one of ours.
    """
    content = _bytes(path)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        told = known_content(content) or f"{len(content)} bytes that are no whole safetensors file ({error})"
        raise _wrong(path, told) from error
    header = _header(path, content)
    claimed = header.pop("sha256", None)
    if claimed != _digest(header, tensors):
        raise _wrong(path, "content that does not match its checksum")
    description = Description.from_json(header.get("description"), str(path))
    return Content(tensors=tensors, description=description, layers=dict(header.get("layers", {})))


def _header(path: Path, content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")  # the format's own header: its length, then JSON
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    if KEY not in metadata:
        raise _wrong(path, "a safetensors file without mezzotint's header")
    if metadata != {**_TAG, KEY: metadata[KEY]}:
        raise _wrong(path, "metadata that were altered")
    try:
        header = json.loads(metadata[KEY])
        version = header["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _wrong(path, "a header that cannot be read") from error
    if version != FORMAT:
        raise _wrong(path, f"format {version}; this version of mezzotint reads format {FORMAT}")
    return dict(header)


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, over header and tensors."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(path, f"the system error {error.strerror or error}") from error


def _wrong(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        message(
            f"file {path}",
            received=what,
            allowed="a .safetensors file as `mezzotint export` writes it",
            fix="Export the network again, or copy the file anew.",
        )
    )
