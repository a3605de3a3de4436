"""How does a network keep one memory layout from convolution to convolution? A graph pass over an unmodified module."""

from __future__ import annotations

from mezzotint.lowering.attach import attach, detach, explain
from mezzotint.lowering.sparsified import densify, sparsify

__all__ = ["attach", "densify", "detach", "explain", "sparsify"]
