"""What does a training run's checkpoint hold for deployment? The model's tensors, and what describes them.

A checkpoint is a folder with ``state.json`` (``config``, ``data``, and the SHA-256 of the other files and of itself)
and ``model.safetensors``; where the run averages its weights, ``average.safetensors`` goes first. A run folder holds
several below ``checkpoints/`` and names the newest in ``latest``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mezzotint import models
from mezzotint.deploy.description import Description
from mezzotint.errors import CheckpointError, message

_FORMAT: Final = 1
_STATE: Final = "state.json"
_MODEL: Final = "model.safetensors"
_AVERAGE: Final = "average.safetensors"
_AS_IS: Final = "as-is"


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Description]:
    """The model's tensors and their description, from a checkpoint folder or the newest of a run folder.

    Raises:
        CheckpointError: no checkpoint is there, or a file of it is missing, truncated or altered.
    """
    folder = _located(path)
    state = _state(folder / _STATE)
    tensors = _tensors(folder / (_AVERAGE if _AVERAGE in state.get("files", ()) else _MODEL), state)
    try:
        return tensors, _description(state)
    except (KeyError, TypeError) as error:
        raise _damaged(folder / _STATE, f"a state that lacks or has an odd {error}") from error


def _located(path: Path) -> Path:
    if (path / _STATE).is_file():
        return path
    root = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    latest = root / "latest"
    if latest.is_file():
        return root / latest.read_text(encoding="utf-8").strip()
    raise CheckpointError(
        message(
            f"checkpoint {str(path)!r}",
            received="a folder without a checkpoint" if path.exists() else "a path that does not exist",
            allowed="a run folder, a checkpoint folder, or a .safetensors file that `mezzotint export` wrote",
        )
    )


def _state(file: Path) -> dict[str, Any]:
    content = _content(file)
    try:
        state = json.loads(content)
        checksum = state.pop("checksum")
        version = state["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file, f"text that is truncated or altered ({len(content)} bytes)") from error
    if checksum != hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest():
        raise _damaged(file, "text that does not match its checksum")
    if version != _FORMAT:
        raise _damaged(file, f"format {version}; this version of mezzotint reads format {_FORMAT}")
    return dict(state)


def _tensors(file: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    content = _content(file)
    expected = state.get("files", {}).get(file.name, {})
    if hashlib.sha256(content).hexdigest() != expected.get("sha256"):
        short = len(content) < expected.get("bytes", 0)
        raise _damaged(
            file, f"{len(content)} bytes: truncated" if short else "content that does not match its checksum"
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise _damaged(file, f"no safetensors content ({error})") from error


def _description(state: dict[str, Any]) -> Description:
    data, model = state["data"], state["config"]["model"]
    size = [int(side) for side in data["image_size"]]
    protocol = None if data["protocol"] == _AS_IS else data["protocol"]
    return Description(
        # A file of weights must not say which code is run: networks of other packages are passed by the reader.
        architecture=None if models.is_external(model["name"]) else model["name"],
        arguments={
            "num_classes": len(data["classes"]),
            "in_channels": data["in_channels"],
            "image_size": size,
            **({"options": model["options"]} if model.get("options") else {}),
        },
        input_shape=(data["in_channels"], *size),
        classes=tuple(data["classes"]),
        protocol=protocol,
        protocol_fingerprint=None if protocol is None else data["protocol_fingerprint"],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _damaged(file, f"the system error {error.strerror or error}") from error


def _damaged(file: Path, what: str) -> CheckpointError:
    return CheckpointError(
        message(
            f"checkpoint file {file}",
            received=what,
            allowed="the file as it was saved",
            fix="Export another checkpoint of the run.",
        )
    )
