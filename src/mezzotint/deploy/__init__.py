"""How does a trained network leave the house? Export to files, loading them again, and the inference session."""

from __future__ import annotations

from mezzotint.deploy.bundle import Bundle, describe, load, open_bundle
from mezzotint.deploy.classify import Classifier, Guess
from mezzotint.deploy.description import Description
from mezzotint.deploy.engine import Profile, StepTime
from mezzotint.deploy.export_model import Exported, export
from mezzotint.deploy.formats import FORMATS
from mezzotint.deploy.onnx import load_onnx
from mezzotint.deploy.session import Session
from mezzotint.deploy.tensor_info import TensorInfo

__all__ = [
    "FORMATS",
    "Bundle",
    "Classifier",
    "Description",
    "Exported",
    "Guess",
    "Profile",
    "Session",
    "StepTime",
    "TensorInfo",
    "describe",
    "export",
    "load",
    "load_onnx",
    "open_bundle",
]
