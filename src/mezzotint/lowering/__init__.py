"""How does a network keep one memory layout from convolution to convolution? A graph pass over an unmodified module."""

from __future__ import annotations

from mezzotint.lowering.model import LoweredModel, lower

__all__ = ["LoweredModel", "lower"]
