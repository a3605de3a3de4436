"""How does an ONNX file become a network that runs here? Read, translated, made sparse where it is, led natively."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import fx

from mezzotint.deploy.description import Description
from mezzotint.deploy.onnx import schema
from mezzotint.deploy.onnx.importer import Shapes, import_graph
from mezzotint.deploy.onnx.sparsify import sparse_where_it_pays
from mezzotint.deploy.onnx.wire import Malformed, decode
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import CheckpointError, NotRegistered, message, suggest
from mezzotint.lowering import attach

KEY: Final = "mezzotint"
"""Name of the entry among a file's metadata that holds our description, as JSON."""
FALLBACKS: Final = ("onnxruntime",)

OnnxSource = str | Path | bytes


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A network read from an ONNX file.

    Attributes:
        module: takes the inputs in order and returns the output, or a tuple of outputs.
        inputs, outputs: under their names in the file.
        description: from the file's metadata, where we wrote it; otherwise the input's shape alone.
    """

    module: fx.GraphModule
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    description: Description


def load_onnx(source: OnnxSource, *, shapes: Shapes | None = None) -> fx.GraphModule:
    """The network of an ONNX file as a graph of PyTorch's modules, in evaluation mode, on the CPU.

    Convolutions and linear layers whose weights hold enough zeros are ``SparseConv2d`` and ``SparseLinear`` with the
    pattern of the nonzeros; the network is led natively where that pays, as after :func:`mezzotint.sparsify`. Everything
    that does not depend on the input is computed here.

    Args:
        source: a path, or the file's bytes (whose weights must then all lie in it).
        shapes: of inputs by name, instead of what the file says; None for a free size:
            ``{"image": (None, 3, 224, 224)}`` frees the batch of a model that was written for one image.

    Returns:
        A module that takes the inputs in their order and returns the output, or a tuple of outputs.

    Raises:
        CheckpointError: the file is missing, damaged, or contradicts itself.
        UnsupportedModel: naming every node that cannot be run, with the reason.
    """
    return read_onnx(source, shapes=shapes).module


def read_onnx(source: OnnxSource, *, shapes: Shapes | None = None) -> OnnxModel:
    """Like :func:`load_onnx`, with names and description.

    Raises:
        CheckpointError, UnsupportedModel: likewise.
    """
    content, folder, where = _content(source)
    try:
        model = decode(schema.Model, memoryview(content))
        found = import_graph(model, folder, shapes)
    except Malformed as error:
        raise _wrong(where, str(error)) from error
    module = sparse_where_it_pays(found.module)
    assert isinstance(module, fx.GraphModule)
    attach(module.eval())
    own = _description(model, found.inputs, where)
    return OnnxModel(module=module, inputs=found.inputs, outputs=found.outputs, description=own)


def check_fallback(fallback: str | None) -> None:
    """Raises:
    NotRegistered: it is none of ``FALLBACKS``.
    """
    if fallback is not None and fallback not in FALLBACKS:
        fix = suggest(fallback, FALLBACKS).strip()
        raise NotRegistered(message("fallback", received=fallback, allowed=f"{', '.join(FALLBACKS)}, or None", fix=fix))


def _content(source: OnnxSource) -> tuple[bytes, Path | None, str]:
    if isinstance(source, bytes):
        return source, None, f"{len(source)} bytes"
    path = Path(source)
    try:
        return path.read_bytes(), path.parent, f"file {path}"
    except OSError as error:
        raise _wrong(f"file {path}", f"the system error {error.strerror or error}") from error


def _description(model: schema.Model, inputs: tuple[TensorInfo, ...], where: str) -> Description:
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if KEY in entries:
        try:
            saved: Any = json.loads(entries[KEY])
        except (ValueError, RecursionError) as error:
            raise _wrong(where, "metadata of mezzotint that cannot be read") from error
        return Description.from_json(saved.get("description") if isinstance(saved, Mapping) else saved, where)
    shape = inputs[0].shape if len(inputs) == 1 else None
    sizes = tuple(size for size in (shape or ())[1:] if size is not None)
    whole = shape is not None and len(sizes) == len(shape) - 1 and bool(sizes)
    return Description(input_shape=sizes if whole else None)


def _wrong(where: str, what: str) -> CheckpointError:
    fix = "Export the model again, or see whether onnx.checker takes it."
    return CheckpointError(message(where, received=what, allowed="an ONNX model as onnx.proto describes it", fix=fix))
