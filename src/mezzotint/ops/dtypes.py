"""Which element types and named unions of them may a declaration speak of?"""

from __future__ import annotations

from typing import Any

import torch

_REAL_FLOATS = ("float32", "float64", "float16", "bfloat16")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_COMPLEX = ("complex64", "complex128")

#: Name in a declaration -> element type.
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in (*_REAL_FLOATS, *_INTEGERS, *_COMPLEX, "bool")}
#: Name of a union -> the names of the types in it. As in TensorFlow, a number may be complex, a real number may not.
UNIONS: dict[str, tuple[str, ...]] = {
    "floattype": _REAL_FLOATS,
    "integertype": _INTEGERS,
    "realnumbertype": (*_REAL_FLOATS, *_INTEGERS),
    "numbertype": (*_REAL_FLOATS, *_INTEGERS, *_COMPLEX),
}
#: The number by which torch's dispatcher speaks of a type where it hands on a default or a list.
CODES: dict[int, torch.dtype] = {
    code: DTYPES[name]
    for code, name in {
        0: "uint8",
        1: "int8",
        2: "int16",
        3: "int32",
        4: "int64",
        5: "float16",
        6: "float32",
        7: "float64",
        9: "complex64",
        10: "complex128",
        11: "bool",
        15: "bfloat16",
        27: "uint16",
        28: "uint32",
        29: "uint64",
    }.items()
}


def dtype_name(value: Any) -> str:
    """``torch.float32`` as ``float32``; anything else as ``str`` shows it."""
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else str(value)
