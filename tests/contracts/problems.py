"""Which problems is every operator put to? Random calls, drawn from a seed, for each registered operator by name."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from problems_dense import MAKERS as DENSE
from problems_dense import transposed
from torch import Tensor

from mezzotint.kernels.geometry import effective_kernel, output_size
from mezzotint.ops.sparse_family import transposed_order


@dataclass(frozen=True)
class Example:
    """A call of an operator: tensors in declared order and attributes by name."""

    inputs: tuple[Tensor | None, ...]
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Convolution:
    """A drawn convolution problem."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    attrs: dict[str, Any]
    density: float

    @property
    def y(self) -> tuple[int, ...]:
        """Shape of the output."""
        pads = self.attrs["padding"]
        spatial = (
            output_size(
                self.x[2 + axis],
                self.weight[2 + axis],
                before=pads[2 * axis],
                after=pads[2 * axis + 1],
                stride=self.attrs["stride"][axis],
                dilation=self.attrs["dilation"][axis],
            )
            for axis in (0, 1)
        )
        return (self.x[0], self.weight[0], *spatial)


def draw_convolution(rng: random.Random) -> Convolution:
    """Any kernel size, stride, padding, dilation, groups, density, batch (0 included)."""
    groups = rng.choice([1, 1, 2, 3])
    kernel = (rng.randint(1, 3), rng.randint(1, 4))
    dilation = (rng.randint(1, 2), rng.randint(1, 2))
    padding = [rng.randint(0, 2) for _ in range(4)]
    sides = [
        max(1, effective_kernel(kernel[axis], dilation[axis]) - padding[2 * axis] - padding[2 * axis + 1])
        + rng.randint(0, 5)
        for axis in (0, 1)
    ]
    inner, outer = rng.randint(1, 3), rng.randint(1, 4)
    attrs = {"stride": [rng.randint(1, 3), rng.randint(1, 3)], "padding": padding, "dilation": list(dilation)}
    return Convolution(
        x=(rng.choice([0, 1, 2, 17]), inner * groups, *sides),
        weight=(outer * groups, inner, *kernel),
        attrs={**attrs, "groups": groups},
        density=rng.choice([0.0, 0.1, 0.4, 1.0]),
    )


def example(operator: str, seed: int, dtype: torch.dtype) -> Example:
    """The ``seed``-th call of ``operator`` with activations of type ``dtype``."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    if operator in DENSE:
        return Example(*DENSE[operator](rng, generator, dtype))
    return _MAKERS[operator](rng, generator, dtype)


def covered() -> set[str]:
    """Operators that have examples."""
    return {*_MAKERS, *DENSE}


def _normal(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _values_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _nonzeros(
    shape: tuple[int, ...], density: float, generator: torch.Generator, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = torch.rand(math.prod(shape), generator=generator) < density
    indices = chosen.nonzero().flatten().to(torch.int32)
    return _normal((indices.numel(),), generator, _values_dtype(dtype)), indices, transposed_order(indices, shape)


def _strided(x: Tensor, rng: random.Random) -> Tensor:
    """The same numbers in one of the memory layouts that users bring."""
    choice = rng.choice(["contiguous", "channels_last", "sliced"])
    if x.dim() == 4 and choice == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if choice == "sliced":
        return torch.stack([x, x], dim=-1)[..., 0]
    return x


def _bias(rng: random.Random, generator: torch.Generator, channels: int, dtype: torch.dtype) -> Tensor | None:
    return _normal((channels,), generator, _values_dtype(dtype)) if rng.random() < 0.5 else None


def _conv2d(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    x, weight = _strided(_normal(c.x, generator, dtype), rng), _normal(c.weight, generator, dtype)
    return Example((x, weight, _bias(rng, generator, c.weight[0], dtype)), c.attrs)


def _conv2d_input_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    gy, weight = _strided(_normal(c.y, generator, dtype), rng), _normal(c.weight, generator, dtype)
    return Example((gy, weight), {**c.attrs, "input_size": list(c.x[2:])})


def _conv2d_weight_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    x, gy = _strided(_normal(c.x, generator, dtype), rng), _strided(_normal(c.y, generator, dtype), rng)
    return Example((x, gy), {**c.attrs, "weight_shape": list(c.weight), "out_dtype": _values_dtype(dtype)})


def _sparse_conv2d(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    x = _strided(_normal(c.x, generator, dtype), rng)
    nonzeros = _nonzeros(c.weight, c.density, generator, dtype)
    attrs = {"weight_shape": list(c.weight), **c.attrs}
    return Example((x, *nonzeros, _bias(rng, generator, c.weight[0], dtype)), attrs)


def _sparse_conv2d_input_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    gy = _strided(_normal(c.y, generator, dtype), rng)
    attrs = {"weight_shape": list(c.weight), **c.attrs, "input_size": list(c.x[2:])}
    return Example((gy, *_nonzeros(c.weight, c.density, generator, dtype)), attrs)


def _sparse_conv_transpose2d(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    x, weight, outputs, attrs = transposed(2, rng)
    nonzeros = _nonzeros(weight, rng.choice([0.1, 0.4, 1.0]), generator, dtype)
    activations = _strided(_normal(x, generator, dtype), rng)
    bias = _bias(rng, generator, outputs, dtype)
    return Example((activations, *nonzeros, bias), {"weight_shape": list(weight), **attrs})


def _sparse_conv2d_weight_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    c = draw_convolution(rng)
    x, gy = _strided(_normal(c.x, generator, dtype), rng), _strided(_normal(c.y, generator, dtype), rng)
    indices = _nonzeros(c.weight, c.density, generator, dtype)[1]
    attrs = {"weight_shape": list(c.weight), **c.attrs, "out_dtype": _values_dtype(dtype)}
    return Example((x, gy, indices), attrs)


def _matrix(rng: random.Random) -> tuple[int, int, int, float]:
    return rng.choice([0, 1, 5, 33]), rng.randint(1, 9), rng.randint(1, 9), rng.choice([0.0, 0.1, 0.5, 1.0])


def _sparse_linear(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    batch, columns, rows, density = _matrix(rng)
    x = _strided(_normal((batch, columns), generator, dtype), rng)
    nonzeros = _nonzeros((rows, columns), density, generator, dtype)
    return Example((x, *nonzeros, _bias(rng, generator, rows, dtype)), {"weight_shape": [rows, columns]})


def _sparse_linear_input_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    batch, columns, rows, density = _matrix(rng)
    gy = _strided(_normal((batch, rows), generator, dtype), rng)
    return Example((gy, *_nonzeros((rows, columns), density, generator, dtype)), {"weight_shape": [rows, columns]})


def _sparse_linear_weight_grad(rng: random.Random, generator: torch.Generator, dtype: torch.dtype) -> Example:
    batch, columns, rows, density = _matrix(rng)
    x, gy = _normal((batch, columns), generator, dtype), _normal((batch, rows), generator, dtype)
    indices = _nonzeros((rows, columns), density, generator, dtype)[1]
    return Example((x, gy, indices), {"weight_shape": [rows, columns], "out_dtype": _values_dtype(dtype)})


_MAKERS: dict[str, Callable[[random.Random, torch.Generator, torch.dtype], Example]] = {
    "conv2d": _conv2d,
    "conv2d_input_grad": _conv2d_input_grad,
    "conv2d_weight_grad": _conv2d_weight_grad,
    "sparse_conv2d": _sparse_conv2d,
    "sparse_conv_transpose2d": _sparse_conv_transpose2d,
    "sparse_conv2d_input_grad": _sparse_conv2d_input_grad,
    "sparse_conv2d_weight_grad": _sparse_conv2d_weight_grad,
    "sparse_linear": _sparse_linear,
    "sparse_linear_input_grad": _sparse_linear_input_grad,
    "sparse_linear_weight_grad": _sparse_linear_weight_grad,
}
