"""How are networks exchanged with other tools? ONNX files in and out, without the ``onnx`` package."""

from __future__ import annotations

from mezzotint.deploy.onnx.load import OnnxModel, check_fallback, load_onnx, read_onnx, read_onnx_description

__all__ = ["OnnxModel", "check_fallback", "load_onnx", "read_onnx", "read_onnx_description"]
