"""What does mezzotint offer its users? The public names, each loaded when it is first used.

Rooms are imported on first use (PEP 562), so that ``import mezzotint`` costs little more than ``import torch`` and
reading an image does not load the training loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from mezzotint import data, deploy, errors, kernels, lowering, models, ops, report, train
    from mezzotint.data.decode import read_image
    from mezzotint.data.preprocess import preprocess
    from mezzotint.deploy.lowered import lower
    from mezzotint.lowering import densify, sparsify
    from mezzotint.precision import Precision
    from mezzotint.sparse import (
        Pattern,
        SparseConv2d,
        SparseLinear,
        SparseMomentum,
    )
    from mezzotint.train.estimator import SparseConvClassifier

_ROOMS = ("data", "deploy", "errors", "kernels", "lowering", "models", "ops", "report", "sparse", "train")
_NAMES = {
    "read_image": "data",
    "preprocess": "data",
    "Pattern": "sparse",
    "SparseConv2d": "sparse",
    "SparseLinear": "sparse",
    "SparseMomentum": "sparse",
    "sparsify": "lowering",
    "densify": "lowering",
    "lower": "deploy",
    "Precision": "precision",
    "SparseConvClassifier": "train.estimator",
}

__all__ = [
    "Pattern",
    "Precision",
    "SparseConv2d",
    "SparseConvClassifier",
    "SparseLinear",
    "SparseMomentum",
    "__version__",
    "data",
    "densify",
    "deploy",
    "errors",
    "kernels",
    "lower",
    "lowering",
    "models",
    "ops",
    "preprocess",
    "read_image",
    "report",
    "sparse",
    "sparsify",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"mezzotint.{name}")
    if name in _NAMES:
        value = getattr(import_module(f"mezzotint.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'mezzotint' has no attribute {name!r}; public names: {', '.join(__all__)}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mezzotint")
    except PackageNotFoundError:  # a source tree on sys.path, not installed
        return "0+source"


def __dir__() -> list[str]:
    return sorted(__all__)
