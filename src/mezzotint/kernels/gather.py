"""When can a GPU work on the nonzeros alone, and how is that called? The door to the Triton kernels.

Triton is large, slow to import and of no use without a GPU: neither it nor :mod:`mezzotint.kernels.triton` is imported
before a problem on a GPU asks whether it can be used. The functions here take what the kernels of the sparse operators
take: the output to be filled, the inputs in declared order, and the attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from mezzotint.kernels.problem import Problem

_KERNELS = "mezzotint.kernels.triton"
#: The oldest NVIDIA GPUs that Triton supports: compute capability 8 (Ampere).
_OLDEST = 8
#: Elements of a weight at most: a position plus a handful of nonzeros stays below 2**31.
_LARGEST = 2**31 - 2**10


@lru_cache
def unavailable() -> str | None:
    """``None``, or one sentence why Triton kernels cannot be used here; the first call imports Triton if it can."""
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    if torch.version.hip is None:
        capabilities = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
        if min(capabilities) < (_OLDEST, 0):
            shown = ".".join(map(str, min(capabilities)))
            return f"Triton needs compute capability {_OLDEST}.0 or more, a GPU here has {shown}"
    return missing()


def missing() -> str | None:
    """``None`` when Triton can be imported (which it then is), or one sentence why not and what to do."""
    if find_spec("triton") is None:
        return "triton is not installed: run `pip install 'mezzotint[gpu]'`"
    try:
        import_module(_KERNELS)
    except (ImportError, OSError, RuntimeError) as error:
        return f"triton cannot be loaded ({error}): install the version that this torch names as its requirement"
    return None


def refusal(problem: Problem) -> str | None:
    """Why the gather kernels cannot do ``problem``, or ``None``; device and type are checked by the kernel table."""
    weights = math.prod(problem.attr("weight_shape"))
    if weights > _LARGEST:
        return f"its weight has {weights} elements, positions in it are computed in 32 bits"
    return unavailable()


def _at_first_call(name: str) -> Callable[..., None]:
    def run(*tensors: Any, **attrs: Any) -> None:
        getattr(import_module(_KERNELS), name)(*tensors, **attrs)

    return run


conv2d_output = _at_first_call("conv2d_output")
conv2d_input_grad = _at_first_call("conv2d_input_grad")
conv2d_weight_grad = _at_first_call("conv2d_weight_grad")
linear_output = _at_first_call("linear_output")
linear_input_grad = _at_first_call("linear_input_grad")
linear_weight_grad = _at_first_call("linear_weight_grad")
