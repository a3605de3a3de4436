"""How does an ONNX file become a network that runs here? Read, translated, made sparse where it is, led natively."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import fx

from mezzotint.deploy.description import Description
from mezzotint.deploy.files import known_content
from mezzotint.deploy.onnx import schema
from mezzotint.deploy.onnx.fallback import Runtime, as_graph
from mezzotint.deploy.onnx.freed import compare_images
from mezzotint.deploy.onnx.importer import Imported, Shapes, declared_inputs, import_graph
from mezzotint.deploy.onnx.sparsify import sparse_where_it_pays
from mezzotint.deploy.onnx.wire import Malformed, decode
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import CheckpointError, InputError, NotRegistered, UnsupportedModel, message, suggest
from mezzotint.lowering import attach
from mezzotint.sparse import sparse_layers

_log = logging.getLogger(__name__)
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
        refused: why ONNX Runtime runs it, where it does.
    """

    module: fx.GraphModule
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    description: Description
    refused: str | None = None


def load_onnx(source: OnnxSource, *, shapes: Shapes | None = None, fallback: str | None = None) -> fx.GraphModule:
    """The network of an ONNX file as a graph of PyTorch's modules, in evaluation mode, on the CPU.

    Convolutions and linear layers whose weights hold enough zeros are ``SparseConv2d`` and ``SparseLinear`` with the
    pattern of the nonzeros; the network is led natively where that pays, as after :func:`mezzotint.sparsify`. What
    does not depend on the input is computed here.

    Args:
        source: a path, or the file's bytes (whose weights must then all lie in it).
        shapes: of inputs by name, instead of what the file says; None for a free size:
            ``{"image": (None, 3, 224, 224)}`` frees the batch of a model that was written for one image. Then the
            first axis of every output must follow the batch, and two images give together what each gives alone.
        fallback: ``"onnxruntime"``: a model with nodes that cannot be run here is run by ONNX Runtime as a whole.

    Returns:
        A module that takes the inputs in their order and returns the output, or a tuple of outputs.

    Raises:
        CheckpointError: the file is missing, damaged, or contradicts itself.
        UnsupportedModel: naming every node that cannot be run, or every output that is wrong for the given ``shapes``,
            with the reason.
    """
    return read_onnx(source, shapes=shapes, fallback=fallback).module


def read_onnx(
    source: OnnxSource,
    *,
    shapes: Shapes | None = None,
    fallback: str | None = None,
    one_input: Sequence[int | None] | None = None,
    threads: int | None = None,
) -> OnnxModel:
    """Like :func:`load_onnx`, with names and description.

    Args:
        source, shapes, fallback: likewise.
        one_input: the shape of the only input, where its name is not known.
        threads: of the fallback; None: as many as it likes.

    Raises:
        CheckpointError, UnsupportedModel: likewise.
    """
    check_fallback(fallback)
    content, folder, where = _content(source)
    try:
        model = decode(schema.Model, memoryview(content))
        if one_input is not None:
            shapes = {_only_input(model, one_input): one_input}
        found = _imported(model, folder, shapes)
    except Malformed as error:
        raise _wrong(where, known_content(content) or str(error)) from error
    except UnsupportedModel as error:
        if fallback is None:
            raise
        _log.warning("ONNX Runtime runs %s, because %s", where, error)
        runtime = Runtime(source if isinstance(source, bytes) else str(source), threads)
        own = _description(model, runtime.inputs, where)
        graph, names = as_graph(runtime), (runtime.inputs, runtime.outputs)
        return OnnxModel(module=graph, inputs=names[0], outputs=names[1], description=own, refused=str(error))
    module = sparse_where_it_pays(found.module)
    assert isinstance(module, fx.GraphModule)
    if sparse_layers(module) and all(info.shape is not None and info.shape[:1] == (None,) for info in found.inputs):
        attach(module)
    own = _description(model, found.inputs, where)
    return OnnxModel(module=module, inputs=found.inputs, outputs=found.outputs, description=own)


def read_onnx_description(path: Path) -> Description:
    """What a file says of itself: our description where we wrote it, otherwise the shape of its only input.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    content, _, where = _content(path)
    try:
        model = decode(schema.Model, memoryview(content))
        return _description(model, declared_inputs(model), where)
    except Malformed as error:
        raise _wrong(where, known_content(content) or str(error)) from error


def check_fallback(fallback: str | None) -> None:
    """Refuse what is none of ``FALLBACKS``.

    Raises:
        NotRegistered: it is none.
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
    except FileNotFoundError as error:
        raise InputError(message(f"file {path}", received="no such file", allowed="an ONNX model")) from error
    except OSError as error:
        raise _wrong(f"file {path}", f"the system error {error.strerror or error}") from error


def _imported(model: schema.Model, folder: Path | None, shapes: Shapes | None) -> Imported:
    """The graph; where shapes were asked for that the model does not go with, the error says that they are why.

    Raises:
        Malformed, UnsupportedModel: as :func:`import_graph`.
    """
    try:
        found = import_graph(model, folder, shapes)
        if found.freed is not None:
            names = [info.name for info in found.outputs]
            compare_images(found.module, found.inputs, list(zip(names, found.computed, strict=True)))
        return found
    except UnsupportedModel as error:
        if not shapes:
            raise
        try:
            import_graph(model, folder)
        except (Malformed, UnsupportedModel):
            raise error from None
        raise _because_of_shapes(error, declared_inputs(model), shapes) from error


def _because_of_shapes(error: UnsupportedModel, inputs: tuple[TensorInfo, ...], shapes: Shapes) -> UnsupportedModel:
    own = {info.name: info.shape for info in inputs if info.name in shapes}
    told = ", ".join(f"{name!r} of the shape {_listed(shapes[name])} instead of {_listed(own[name])}" for name in own)
    made = UnsupportedModel(
        f"{error} The file itself runs; what does not is {told}, as input_shape or shapes ask for. Leave them out and "
        "give it arrays of the shape that it was written for, or export the model with free sizes (torch.onnx.export "
        "has dynamic_shapes)."
    )
    made.nodes = error.nodes
    return made


def _listed(shape: Sequence[int | None] | None) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in shape or ()) + "]"


def _only_input(model: schema.Model, shape: Sequence[int | None]) -> str:
    inputs = declared_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise Malformed(f"{len(inputs)} inputs ({names}), for which one shape does not do")
    (only,) = inputs
    if only.shape is not None and len(only.shape) != len(shape):
        allowed = (
            f"{len(only.shape) - 1} sizes, those of one input without the batch: the file has {_listed(only.shape)}"
        )
        raise InputError(message("input_shape", received=list(shape[1:]), allowed=allowed))
    return only.name


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
    whole = shape is not None and len(sizes) == len(shape) - 1 and bool(sizes) and min(sizes) > 0
    return Description(input_shape=sizes if whole else None)


def _wrong(where: str, what: str) -> CheckpointError:
    fix = "Export the model again, or see whether onnx.checker takes it."
    return CheckpointError(message(where, received=what, allowed="an ONNX model as onnx.proto describes it", fix=fix))
