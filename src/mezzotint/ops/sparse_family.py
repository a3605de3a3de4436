"""What do the sparse convolution and the sparse product share? Checks, gradients of trilinear maps, dense stand-ins.

Output, input gradient and weight gradient are one trilinear form in (activations, values, output gradient), seen from
three sides: each side's gradient is made of the other two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ShapeError, message
from mezzotint.kernels import cost, gather, native
from mezzotint.kernels.dense import working_dtype
from mezzotint.kernels.reference import scatter
from mezzotint.kernels.scratch import dense_weight
from mezzotint.ops.conv_shape import differ
from mezzotint.ops.convolution import bias_grad, spec
from mezzotint.ops.opdef import Specs
from mezzotint.ops.operator import Call, Operator

NATIVE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: How every native kernel is registered.
NATIVE: Mapping[str, Any] = {
    "name": "native",
    "device": "cpu",
    "dtypes": NATIVE_DTYPES,
    "priority": 1,
    "supports": lambda problem: native.unavailable(),
    "into": True,
}
#: How every kernel is registered that works on the nonzeros alone on a GPU.
GATHER: Mapping[str, Any] = {
    "name": "triton_gather",
    "device": "cuda",
    "dtypes": NATIVE_DTYPES,
    "supports": gather.refusal,
    "cost": cost.gather,
    "into": True,
}


def check_images(x: Tensor) -> None:
    """``x`` is a batch of images, or one."""
    if x.dim() not in (3, 4):
        allowed = "four dimensions [N, C, H, W], or three without N"
        raise ShapeError(message("x shape", received=list(x.shape), allowed=allowed))


def check_nonzeros(inputs: Specs, *names: str) -> None:
    """``values``, ``indices`` and ``transposed`` are vectors of one length."""
    length = spec(inputs, "indices").shape or (None,)
    for name in ("indices", *names):
        found = inputs[name]
        if found is not None and (len(found.shape) != 1 or differ(found.shape[0], length[0])):
            raise ShapeError(message(f"{name} shape", received=list(found.shape), allowed=f"[nnz] = {list(length)}"))


def transposed_order(indices: Tensor, weight_shape: Sequence[int]) -> Tensor:
    """The int32 permutation that sorts row-major ``indices`` by (input channel in the group, output channel, tap)."""
    taps = math.prod(weight_shape[2:])
    channels = indices % (weight_shape[1] * taps) // taps
    return torch.argsort(channels, stable=True).to(torch.int32)


@dataclass(kw_only=True)
class Directions:
    """The three operators of one trilinear form, and the gradients of each in terms of the others.

    Attributes:
        shared: the attributes of a call that all three take.
        input_size: the further attributes of the input gradient, from the activations.
        output, input_grad, weight_grad: the operators; set once they are registered.
    """

    shared: Callable[[Call], dict[str, Any]]
    input_size: Callable[[Tensor], dict[str, Any]]
    output: Operator | None = None
    input_grad: Operator | None = None
    weight_grad: Operator | None = None

    def of_output(self, call: Call, gy: Tensor) -> dict[str, Tensor | None]:
        """Gradients of the output for activations, values and bias."""
        found = self._toward_activations_and_values(call, call["x"], gy)
        if call.needs("bias"):
            found["bias"] = bias_grad(gy, call["bias"].dtype)
        return found

    def of_input_grad(self, call: Call, ggx: Tensor) -> dict[str, Tensor | None]:
        """Gradients of the input gradient for output gradient and values."""
        found: dict[str, Tensor | None] = {}
        if call.needs("gy"):
            found["gy"] = self._output(call, ggx, call["values"], call["transposed"])
        if call.needs("values"):
            found["values"] = self._weight_grad(call, ggx, call["gy"])
        return found

    def of_weight_grad(self, call: Call, ggv: Tensor) -> dict[str, Tensor | None]:
        """Gradients of the weight gradient for activations and output gradient."""
        found: dict[str, Tensor | None] = {}
        if call.needs("x"):
            found["x"] = self._input_grad(call, call["x"], call["gy"], ggv)
        if call.needs("gy"):
            found["gy"] = self._output(call, call["x"], ggv, None)
        return found

    def _toward_activations_and_values(self, call: Call, x: Tensor, gy: Tensor) -> dict[str, Tensor | None]:
        found: dict[str, Tensor | None] = {}
        if call.needs("x"):
            found["x"] = self._input_grad(call, x, gy, call["values"])
        if call.needs("values"):
            found["values"] = self._weight_grad(call, x, gy)
        return found

    def _output(self, call: Call, x: Tensor, values: Tensor, transposed: Tensor | None) -> Tensor:
        result: Tensor = _set(self.output)(x, values, call["indices"], transposed, None, **self.shared(call))
        return result

    def _input_grad(self, call: Call, x: Tensor, gy: Tensor, values: Tensor) -> Tensor:
        order = call.inputs.get("transposed")
        if order is None:  # the forward pass did not expect to be asked for an input gradient
            order = transposed_order(call["indices"], call["weight_shape"])
        attrs = {**self.shared(call), **self.input_size(x)}
        result: Tensor = _set(self.input_grad)(gy, values, call["indices"], order, **attrs)
        return result

    def _weight_grad(self, call: Call, x: Tensor, gy: Tensor) -> Tensor:
        attrs = {**self.shared(call), "out_dtype": call["values"].dtype}
        result: Tensor = _set(self.weight_grad)(x, gy, call["indices"], **attrs)
        return result


def _set(operator: Operator | None) -> Operator:
    if operator is None:
        raise RuntimeError("the operators of a trilinear form are called before they are registered")
    return operator


def with_dense_weight(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A kernel of the output or the input gradient that scatters the values and calls the oracle's ``compute``."""

    def run(x: Tensor, values: Tensor, indices: Tensor, transposed: Tensor | None, *rest: Any, **attrs: Any) -> Tensor:
        return compute(x, scatter(values, indices, attrs["weight_shape"], x.dtype), *rest, **_without_shape(attrs))

    return run


def with_scratch_weight(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As :func:`with_dense_weight` for PyTorch's ``compute``, with the weight in scratch memory."""

    def run(x: Tensor, values: Tensor, indices: Tensor, transposed: Tensor | None, *rest: Any, **attrs: Any) -> Tensor:
        with dense_weight(values, indices, attrs["weight_shape"], x.dtype, working_dtype(x)) as weight:
            return compute(x, weight, *rest, **_without_shape(attrs))

    return run


def sampled(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A kernel of the weight gradient that calls the dense ``compute`` and keeps what lies at the nonzeros."""

    def run(x: Tensor, gy: Tensor, indices: Tensor, **attrs: Any) -> Tensor:
        return compute(x, gy, **attrs).flatten().index_select(0, indices)

    return run


def _without_shape(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attrs.items() if name != "weight_shape"}
