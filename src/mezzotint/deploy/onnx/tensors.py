"""How do the numbers of an ONNX file become tensors, and how are they written? From fields, bytes, or other files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mezzotint.deploy.onnx import schema
from mezzotint.deploy.onnx.wire import Malformed

DTYPES: Final[dict[int, torch.dtype]] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.bfloat16,
}
"""ONNX's number of a type of numbers -> PyTorch's type."""
CODES: Final = {dtype: code for code, dtype in DTYPES.items()}
"""The other way round."""
NAMES: Final = {
    8: "string",
    14: "complex64",
    15: "complex128",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
}
"""Types that no tensor of ours has."""

DENSE_LIMIT: Final = 1 << 30
"""Bytes that a sparse initializer may take when it is written out."""
_EXTERNAL: Final = 1
_RAW: Final[dict[torch.dtype, str]] = {
    torch.float32: "<f4",
    torch.uint8: "u1",
    torch.int8: "i1",
    torch.uint16: "<u2",
    torch.int16: "<i2",
    torch.int32: "<i4",
    torch.int64: "<i8",
    torch.bool: "?",
    torch.float16: "<f2",
    torch.float64: "<f8",
    torch.uint32: "<u4",
    torch.uint64: "<u8",
    torch.bfloat16: "<i2",  # which NumPy lacks: as its bits
}


def dtype_of(code: int) -> torch.dtype:
    """PyTorch's type for ONNX's number of it.

    Raises:
        Malformed: there is none.
    """
    if code not in DTYPES:
        raise Malformed(f"numbers of type {NAMES.get(code, code)}, which PyTorch has no arithmetic for")
    return DTYPES[code]


def dims_of(dims: Any) -> tuple[int, ...]:
    """A tensor's shape, every size at least 0."""
    shape = tuple(int(size) for size in dims)
    if any(size < 0 for size in shape) or len(shape) > 16:
        raise Malformed(f"the shape {list(shape)[:17]}")
    return shape


def read_tensor(proto: schema.Tensor, folder: Path | None) -> Tensor:
    """The tensor of a message; it shares no memory with the file.

    Args:
        folder: where the model's file lies, for data in other files; None: there are none.

    Raises:
        Malformed: sizes, types or places do not go together.
    """
    dtype, shape = dtype_of(proto.data_type), dims_of(proto.dims)
    count = math.prod(shape)
    if proto.data_location == _EXTERNAL:
        array = _from_bytes(_external(proto, folder, count * dtype.itemsize), dtype, count)
    elif len(proto.raw_data):
        array = _from_bytes(proto.raw_data, dtype, count)
    else:
        array = _from_fields(proto, dtype, count)
    tensor = torch.from_numpy(array.copy())
    if dtype is torch.bfloat16:
        tensor = tensor.view(torch.bfloat16)
    return tensor.reshape(shape)


def read_sparse(proto: schema.SparseTensor, folder: Path | None) -> tuple[str, Tensor]:
    """Name and dense tensor of a sparse initializer.

    Raises:
        Malformed: it is larger than ``DENSE_LIMIT``, or indices lie outside.
    """
    if proto.values is None or proto.indices is None:
        raise Malformed("a sparse tensor without values or indices")
    values, indices = read_tensor(proto.values, folder), read_tensor(proto.indices, folder)
    shape = dims_of(proto.dims)
    if math.prod(shape) * values.element_size() > DENSE_LIMIT:
        raise Malformed(f"a sparse tensor of the shape {list(shape)}")
    if values.dim() != 1 or indices.dtype != torch.int64 or indices.shape[:1] != values.shape:
        raise Malformed(f"a sparse tensor of {list(values.shape)} values at {list(indices.shape)} indices")
    if indices.dim() == 2 and indices.shape[1] == len(shape):
        low, high = indices.amin(0).tolist() if len(indices) else [], indices.amax(0).tolist() if len(indices) else []
        if any(at < 0 for at in low) or any(at >= size for at, size in zip(high, shape, strict=False)):
            raise Malformed("a sparse tensor with indices outside its shape")
        strides = torch.tensor([math.prod(shape[axis + 1 :]) for axis in range(len(shape))], dtype=torch.int64)
        indices = (indices * strides).sum(1)
    if indices.dim() != 1 or (len(indices) and (indices.min() < 0 or indices.max() >= math.prod(shape))):
        raise Malformed("a sparse tensor with indices outside its shape")
    dense = torch.zeros(math.prod(shape), dtype=values.dtype)
    dense[indices] = values
    return proto.values.name, dense.reshape(shape)


def write_tensor(tensor: Tensor, name: str = "") -> schema.Tensor:
    """The message of a tensor, as raw bytes."""
    plain = tensor.detach().cpu().contiguous()
    octets = plain.reshape(-1).view(torch.uint8) if plain.numel() else plain.reshape(-1).to(torch.uint8)
    code, dims = CODES[tensor.dtype], np.array(tensor.shape, np.int64)
    return schema.Tensor(dims=dims, data_type=code, name=name, raw_data=octets.numpy().tobytes())


def _from_bytes(content: Any, dtype: torch.dtype, count: int) -> np.ndarray[Any, Any]:
    if len(content) != count * dtype.itemsize:
        raise Malformed(f"{len(content)} bytes for {count} numbers of {dtype}")
    if dtype is torch.bool:
        bits: np.ndarray[Any, Any] = np.frombuffer(content, np.uint8) != 0
        return bits
    return np.frombuffer(content, _RAW[dtype])


def _from_fields(proto: schema.Tensor, dtype: torch.dtype, count: int) -> np.ndarray[Any, Any]:
    """From the field that onnx.proto assigns to the type; 16-bit floats lie there as their bits."""
    fields = {torch.float32: proto.float_data, torch.float64: proto.double_data, torch.int64: proto.int64_data}
    unsigned = dtype in (torch.uint32, torch.uint64)
    data = proto.uint64_data if unsigned else fields.get(dtype, proto.int32_data)
    if len(data) != count:
        raise Malformed(f"{len(data)} numbers for the shape {list(dims_of(proto.dims))}")
    if dtype is torch.float16:
        return data.astype(np.uint16).view(np.float16)
    plain: np.ndarray[Any, Any] = data.astype(_RAW[dtype])
    return plain


def _external(proto: schema.Tensor, folder: Path | None, size: int) -> bytes:
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise Malformed(f"data in the file {location!r}, but the model came as bytes: pass its path")
    path = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not path.is_relative_to(folder.resolve()):
        raise Malformed(f"data in {location!r}, which is not in the model's folder")
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
        if offset < 0 or length != size or path.stat().st_size - offset < size:
            raise Malformed(f"{size} bytes wanted at offset {offset} of {location!r}, which does not hold them")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except (OSError, ValueError) as error:
        raise Malformed(f"data in {location!r}, which cannot be read: {error}") from error
