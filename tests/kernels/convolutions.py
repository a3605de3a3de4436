"""Which sparse convolutions are kernels put to? Drawn by Hypothesis, with tensors and the float64 reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.kernels import reference
from mezzotint.kernels.geometry import effective_kernel, output_size

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ORDERS = ("contiguous", "channels_last", "reversed", "sliced", "expanded")
#: Up to a cell's images and more, and around the ends of one and of two cells of either width.
BATCHES = st.one_of(st.integers(0, 33), st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65]))


@dataclass(frozen=True)
class Problem:
    """A sparse convolution, the size of its input and how its tensors lie in memory."""

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    density: float = 0.5
    empty_rows: float = 0.0
    dtype: torch.dtype = torch.float32
    bias: bool = False
    x_order: str = "contiguous"
    gy_order: str = "contiguous"
    seed: int = 0

    @property
    def attrs(self) -> dict[str, Any]:
        """The keyword arguments of the native functions."""
        return {"weight_shape": self.weight_shape, **self.geometry}

    @property
    def geometry(self) -> dict[str, Any]:
        """The same without the weight's shape."""
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    @property
    def y_shape(self) -> tuple[int, ...]:
        """``[N, O, Ho, Wo]``."""
        sizes = (
            output_size(
                self.x_shape[2 + axis],
                self.weight_shape[2 + axis],
                before=self.padding[2 * axis],
                after=self.padding[2 * axis + 1],
                stride=self.stride[axis],
                dilation=self.dilation[axis],
            )
            for axis in (0, 1)
        )
        return (self.x_shape[0], self.weight_shape[0], *sizes)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Any convolution whose kernel fits into its padded input, though perhaps not without the padding."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(*[st.sampled_from([1, 1, 2, 3, 3, 4, 5, 7])] * 2))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    extra = draw(st.tuples(st.integers(0, 9), st.integers(0, 17)))
    size = [
        max(1, effective_kernel(kernel[i], dilation[i]) - padding[2 * i] - padding[2 * i + 1] + extra[i])
        for i in (0, 1)
    ]
    channels = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return Problem(
        x_shape=(draw(BATCHES), channels[1] * groups, *size),
        weight_shape=(channels[0] * groups, channels[1], *kernel),
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=padding,
        dilation=dilation,
        groups=groups,
        density=draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.01, 0.99))),
        empty_rows=draw(st.sampled_from([0.0, 0.5])),
        dtype=draw(st.sampled_from(DTYPES)),
        bias=draw(st.booleans()),
        x_order=draw(st.sampled_from(ORDERS)),
        gy_order=draw(st.sampled_from(ORDERS)),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def depthwise(draw: st.DrawFn) -> Problem:
    """One input channel and a few output channels a group."""
    groups = draw(st.integers(1, 9))
    return Problem(
        x_shape=(draw(BATCHES), groups, *draw(st.tuples(st.integers(3, 9), st.integers(3, 9)))),
        weight_shape=(groups * draw(st.integers(1, 2)), 1, 3, 3),
        stride=draw(st.sampled_from([(1, 1), (2, 2)])),
        padding=(1, 1, 1, 1),
        groups=groups,
        density=draw(st.floats(0.1, 1.0)),
        dtype=draw(st.sampled_from(DTYPES)),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def work_for_two(draw: st.DrawFn) -> Problem:
    """Enough multiply-adds in every direction for the library to wake a second thread (csrc/runtime/threads.cpp)."""
    kernel, inputs = draw(st.sampled_from([1, 3])), draw(st.integers(24, 40))
    return Problem(
        x_shape=(draw(st.integers(1, 65)), inputs, *draw(st.tuples(*[st.integers(16, 20)] * 2))),
        weight_shape=(draw(st.integers(24, 40)), inputs, kernel, kernel),
        stride=draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1)])),
        padding=(kernel // 2,) * 4,
        density=draw(st.floats(0.5, 1.0)),
        dtype=draw(st.sampled_from(DTYPES)),
        bias=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@dataclass(frozen=True)
class Sample:
    """Tensors for a problem."""

    x: Tensor
    gy: Tensor
    values: Tensor
    indices: Tensor
    transposed: Tensor
    bias: Tensor | None


def in_order(x: Tensor, order: str) -> Tensor:
    """The same elements (``expanded``: one element repeated) in another memory order."""
    if order == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if order == "reversed":
        return x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    if order == "sliced":
        n, c, h, w = x.shape
        wide = x.new_zeros(n + 1, c + 2, h + 1, 2 * w)
        wide[1:, 1:-1, 1:, ::2] = x
        return wide[1:, 1:-1, 1:, ::2]
    if order == "expanded":
        return x.flatten()[:1].reshape(-1, 1, 1, 1).expand(x.shape) if x.numel() else x
    return x


def transpose_order(indices: Tensor, weight_shape: tuple[int, ...]) -> Tensor:
    """The order of the nonzeros by (input channel in the group, output channel, tap)."""
    taps = weight_shape[2] * weight_shape[3]
    channel = (indices.long() % (weight_shape[1] * taps)) // taps
    return torch.argsort(channel, stable=True).int()


def sample(problem: Problem, *, exact: bool = False) -> Sample:
    """Random tensors: normal numbers; or, with ``exact``, numbers of which every sum is exact in float32 in any order.

    The latter are integers from -8 to 8 for activations and quarters of them for weights.
    """
    generator = torch.Generator().manual_seed(problem.seed)

    def numbers(shape: tuple[int, ...], parts: int = 1) -> Tensor:
        if exact:
            return torch.randint(-8, 9, shape, generator=generator) / parts
        return torch.randn(shape, generator=generator)

    mask = torch.rand(problem.weight_shape, generator=generator) < problem.density
    mask &= torch.rand(problem.weight_shape[0], 1, 1, 1, generator=generator) >= problem.empty_rows
    indices = mask.flatten().nonzero().flatten().int()
    return Sample(
        x=in_order(numbers(problem.x_shape).to(problem.dtype), problem.x_order),
        gy=in_order(numbers(problem.y_shape).to(problem.dtype), problem.gy_order),
        values=numbers((len(indices),), 4),
        indices=indices,
        transposed=transpose_order(indices, problem.weight_shape),
        bias=numbers((problem.weight_shape[0],), 4) if problem.bias else None,
    )


def expected(problem: Problem, s: Sample, *, magnitudes: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input gradient and weight gradient at the nonzeros in float64; ``magnitudes``: of all absolute values."""
    weight = reference.scatter(s.values, s.indices, problem.weight_shape, problem.dtype).double()
    x, gy, bias = s.x.double(), s.gy.double(), None if s.bias is None else s.bias.double()
    if magnitudes:
        x, gy, weight, bias = x.abs(), gy.abs(), weight.abs(), None if bias is None else bias.abs()
    y = reference.conv(x, weight, bias, **problem.geometry)
    gx = reference.conv_input_grad(gy, weight, input_size=problem.x_shape[2:], **problem.geometry)
    gw = reference.conv_weight_grad(x, gy, out_dtype=torch.float64, **problem.attrs)
    return y, gx, gw.flatten()[s.indices.long()]
