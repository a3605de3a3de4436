"""How fast does each engine run the network of a file? The same file for all: who knows zeros leaves them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from mezzotint.bench.infer import needs_onnx
from mezzotint.bench.infer_engines import Setting
from mezzotint.errors import InputError, message
from mezzotint.sparse import SparseLayer


def check_file(path: Path, shape: Sequence[int] | None = None) -> tuple[Setting, int | None]:
    """What can be said of a file before an engine has it.

    Args:
        path: an ``.onnx`` or ``.safetensors`` file, or a run folder.
        shape: of one input without the batch, where the file leaves it free.

    Returns:
        A setting without engine and batch, and the batch that the file is fixed to; None where it is free.

    Raises:
        InputError: it is no network of one float32 input, or the input's shape is not known.
    """
    from mezzotint.deploy.bundle import open_bundle

    bundle = open_bundle(path)
    inputs = bundle.inputs or ()
    if len(inputs) > 1 or any(one.dtype != "float32" for one in inputs):
        told = ", ".join(f"{one.name} {one.dtype}" for one in inputs)
        raise InputError(message(f"file {path}", received=f"the inputs {told}", allowed="one input of float32"))
    declared = inputs[0].shape if inputs else None
    sizes = tuple(shape or bundle.description.input_shape or (declared or ())[1:])
    if not sizes or None in sizes:
        received = "free sizes: [" + ", ".join("N" if size is None else str(size) for size in (None, *sizes)) + "]"
        fix = "Say --shape 3,224,224, say."
        raise InputError(message("input of the network", received=received, allowed="known sizes", fix=fix))
    setting = Setting("", path.stem, _density(bundle.model), 0, 1, file=str(path.absolute()))
    return replace(setting, shape=tuple(int(size or 0) for size in sizes)), declared[0] if declared else None


def _density(model: nn.Module) -> float:
    """Share of the weights of convolutions and linear layers that are not zero."""
    nnz = numel = 0
    for layer in model.modules():
        if isinstance(layer, SparseLayer):
            nnz, numel = nnz + layer.nnz, numel + layer.pattern.numel
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nnz, numel = nnz + int(layer.weight.count_nonzero()), numel + layer.weight.numel()
    return round(nnz / numel, 4) if numel else 1.0


def settings_of_file(
    known: Setting, fixed: int | None, batch: int, threads: int, engines: Sequence[str], folder: Path
) -> list[Setting]:
    """The file in every engine.

    Args:
        known, fixed: what :func:`check_file` found.
        batch: images of a call.
        threads: of each engine.
        engines: keys of ``mezzotint.bench.infer_engines.ENGINES``.
        folder: for plan files, and for the ONNX file that others need of a ``.safetensors`` file or a run.
    """
    from mezzotint.deploy import Description, describe, export

    onnx = Path(known.file)
    if onnx.suffix != ".onnx" and any(map(needs_onnx, engines)):
        onnx = folder / f"{known.network}.onnx"
        if not onnx.exists():
            own = describe(known.file)
            described = own if own.input_shape is not None else Description(input_shape=known.shape)
            export(known.file, "onnx", onnx, description=described)
    whole = replace(known, batch=batch, threads=threads, onnx=str(onnx), freed=fixed not in (None, batch))
    return [replace(whole, engine=engine, plan=str(folder / f"{engine.replace(' ', '-')}.plan")) for engine in engines]
