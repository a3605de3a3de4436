"""How does a network keep one memory layout from convolution to convolution? A graph pass over an unmodified module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mezzotint.lowering.attach import attach, detach, explain
from mezzotint.lowering.sparsified import densify, sparsify

if TYPE_CHECKING:
    from mezzotint.deploy.lowered import LoweredModel, lower

__all__ = ["LoweredModel", "attach", "densify", "detach", "explain", "lower", "sparsify"]


def __getattr__(name: str) -> Any:
    # Inference is for the room of deployment, which is built on this one.
    if name in ("LoweredModel", "lower"):
        return getattr(import_module("mezzotint.deploy.lowered"), name)
    raise AttributeError(f"module 'mezzotint.lowering' has no attribute {name!r}")
