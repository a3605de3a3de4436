"""In which formats can a network be written? The table of names; one line an entry, one file a format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from mezzotint.deploy.description import Description
from mezzotint.deploy.formats import onnx_file, pt2, safetensors_file

__all__ = ["FORMATS", "Writer"]

Writer = Callable[[nn.Module, Description], bytes]
"""(network in evaluation mode on the CPU, sparse or dense; description) -> content of the file."""

FORMATS: Final[dict[str, Writer]] = {
    "safetensors": safetensors_file.write,
    "pt2": pt2.write,
    "onnx": onnx_file.write,
    "onnx-sparse": onnx_file.write_sparse,
}
"""Name -> how the file is made."""
