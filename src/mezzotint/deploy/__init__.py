"""How does a trained network leave the house? Export to files, loading them again, and inference.

Each name is loaded when it is first used: inference alone needs nothing that reads files or images.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezzotint.deploy.bundle import Bundle, describe, load, open_bundle
    from mezzotint.deploy.classify import Classifier, Guess
    from mezzotint.deploy.description import Description
    from mezzotint.deploy.engine import Profile, StepTime
    from mezzotint.deploy.export_model import Exported, export
    from mezzotint.deploy.formats import FORMATS
    from mezzotint.deploy.lowered import LoweredModel, lower
    from mezzotint.deploy.onnx import load_onnx
    from mezzotint.deploy.session import Session
    from mezzotint.deploy.tensor_info import TensorInfo

_NAMES = {
    "Bundle": "bundle",
    "describe": "bundle",
    "load": "bundle",
    "open_bundle": "bundle",
    "Classifier": "classify",
    "Guess": "classify",
    "Description": "description",
    "Profile": "engine",
    "StepTime": "engine",
    "Exported": "export_model",
    "export": "export_model",
    "FORMATS": "formats",
    "LoweredModel": "lowered",
    "lower": "lowered",
    "load_onnx": "onnx",
    "Session": "session",
    "TensorInfo": "tensor_info",
}

__all__ = [
    "FORMATS",
    "Bundle",
    "Classifier",
    "Description",
    "Exported",
    "Guess",
    "LoweredModel",
    "Profile",
    "Session",
    "StepTime",
    "TensorInfo",
    "describe",
    "export",
    "load",
    "load_onnx",
    "lower",
    "open_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'mezzotint.deploy' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(f"mezzotint.deploy.{_NAMES[name]}"), name)
    globals()[name] = value
    return value
