"""How is a whole network run by one native call? A program of steps over one arena of planes and rows.

A step's memory is named by codes, made by :mod:`mezzotint.deploy.engine.buffers`; ``csrc/engine/steps.hpp`` says what
each step computes. Arrays that enter and leave are float32; between them activations are float32 or bfloat16, sums
float32. A finished program may be run from several threads at once: each run has an arena of its own, and as many runs
go on as there are cores for; others wait in line.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from mezzotint.kernels import native
from mezzotint.kernels.native import argument, require
from mezzotint.kernels.resources import resources

PlanesCode = tuple[int, ...]
RowsCode = tuple[int, int, int]
ResultCode = tuple[PlanesCode, bool, PlanesCode | None]
"""The planes of a convolution's result, whether they are stored, and those of its phases at stride 2, if wanted."""
ActivationCode = tuple[int, float, float, float, float]
"""Curve, slope, bounds and step of the result, as ``Activation`` in ``csrc/core/activation.hpp``."""
Tail = tuple[list[float], ActivationCode]
"""Bias and activation."""
Target = tuple[RowsCode | None, int, int]
"""Rows in the arena, or the number of an output (else -1); the numbers of an image."""

#: Output channels of a group, and those that lie in lanes (``kGroup`` and ``kLaneChannels``, beside ``Summing``).
GROUP = 4
LANES = 16


class Summing(IntEnum):
    """How a convolution or linear layer is summed (``Summing`` in ``csrc/kernels/plane_jobs.hpp``)."""

    PAIRS = 0
    """The nonzeros of each output channel, two at a time; of a linear layer, its nonzeros."""
    GROUPS = 1
    """All weights of a group of output channels; of a linear layer, all weights."""
    LANES = 2
    """All weights, output channels in the lanes of a vector."""
    WINDOWS = 3
    """Windows of three rows and columns on single channels, whole rows of them."""
    MATRICES = 4
    """All weights, by a matrix unit."""


Choice = tuple[Summing, int, int]
"""How it is summed, the cells that are summed at once, and the parts that the input channels are summed in."""


class NativeProgram:
    """Steps, in the order in which they are added.

    Args:
        dtype: of activations: float32 or bfloat16.
        arena: bytes that ``images`` images need.
        margin: bytes before and behind the arena that may be read.
        images: that are done at once.
    """

    def __init__(self, dtype: torch.dtype, arena: int, margin: int, images: int) -> None:
        require()
        self.dtype, self.arena_bytes, self.images = dtype, arena, images
        native.extension().set_cores(resources().cores)
        self._program = native.extension().Program(int(dtype == torch.bfloat16), arena, margin, images)

    def split_input(
        self, number: int, shape: tuple[int, int, int], stride: tuple[int, int], y: PlanesCode, fill: float
    ) -> None:
        """The phases of an input."""
        self._program.split_input(number, shape, stride, y, fill)

    def set_visit(self, images: int) -> None:
        """So many images of a round go through each step that is added from now on, before the next ones begin."""
        self._program.set_visit(images)

    def split(self, x: PlanesCode, stride: tuple[int, int], y: PlanesCode, fill: float) -> None:
        """The phases of planes."""
        self._program.split(x, stride, y, fill)

    def conv(
        self,
        x: PlanesCode,
        y: ResultCode,
        residual: PlanesCode | None,
        values: Tensor,
        indices: Tensor,
        geometry: tuple[int, ...],
        offsets: tuple[Sequence[int], Sequence[int]],
        tail: Tail,
    ) -> None:
        """A convolution; the values are copied. ``offsets``: of its taps; and of its inputs, where these are no taps of
        channels that lie equally far apart, else empty.
        """
        weights = argument(values.contiguous()), argument(indices.contiguous())
        self._program.conv(x, y, residual, *weights, geometry, *offsets, tail)

    def shift(self, x: PlanesCode, channels: int, shifts: Sequence[tuple[int, int, int]]) -> None:
        """Copies of so many channels within planes: from which, to which, and the columns that they go to the left."""
        self._program.shift(x, channels, shifts)

    def max(self, x: PlanesCode, y: PlanesCode, halved: bool, tap_offsets: Sequence[int]) -> None:
        """The maximum over taps, from the pixel of ``y``, or from that at twice its row and column."""
        self._program.max(x, y, halved, tap_offsets)

    def multiply(self, x: PlanesCode, factor: PlanesCode, y: PlanesCode, activation: ActivationCode) -> None:
        """Numbers times those of other planes, which have as many pixels or one a channel."""
        self._program.multiply(x, factor, y, activation)

    def spread(self, x: PlanesCode, y: PlanesCode, factors: tuple[int, int]) -> None:
        """Each pixel several times: the nearest one of an image that is so many times as high and wide."""
        self._program.spread(x, y, factors)

    def average(self, x: PlanesCode, y: PlanesCode) -> None:
        """The average over all pixels."""
        self._program.average(x, y)

    def flatten(self, x: PlanesCode, y: Target) -> None:
        """Pixels side by side, channel after channel."""
        self._program.flatten(x, y)

    def rows(self, number: int, size: int, y: RowsCode) -> None:
        """An input that is rows already."""
        self._program.rows(number, size, y)

    def product(self, x: RowsCode, weight: Tensor, tail: Tail, y: Target) -> None:
        """Rows times the rows of ``weight [O, K]``, which is copied."""
        self._program.product(x, argument(weight.contiguous()), tail, y)

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], batch: int, threads: int) -> None:
        """Run on contiguous float32 tensors ``[batch, ...]``; outputs are overwritten. The GIL is released."""
        self._program.run([argument(x) for x in inputs], [argument(y) for y in outputs], batch, threads)

    def run_arrays(self, inputs: list[Any], outputs: list[Any], batch: int, threads: int) -> bool:
        """As :meth:`run`, on arrays; false, and nothing done, where one is not contiguous float32 ``[batch, ...]``."""
        done: bool = self._program.run_arrays(inputs, outputs, batch, threads)
        return done

    def profile(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], batch: int, threads: int
    ) -> list[tuple[float, float]]:
        """As :meth:`run`; of each step the seconds, and the processor's seconds in the thread that worked longest."""
        arrays = [argument(x) for x in inputs], [argument(y) for y in outputs]
        times: list[tuple[float, float]] = self._program.profile(*arrays, batch, threads)
        return times

    def choices(self, step: int) -> list[Choice]:
        """The kernels that can do a convolution; none for other steps."""
        return [(Summing(summing), int(tile), int(parts)) for summing, tile, parts in self._program.choices(step)]

    def choice(self, step: int) -> Choice:
        """The kernel that does a convolution."""
        summing, tile, parts = self._program.choice(step)
        return Summing(summing), tile, parts

    def choose(self, step: int, choice: Choice) -> None:
        """Take another kernel; not while the program runs.

        Raises:
            InputError: none of :meth:`choices`.
        """
        self._program.choose(step, choice)

    def settle(self) -> None:
        """Forget what other kernels than the chosen ones need."""
        self._program.settle()

    def __len__(self) -> int:
        size: int = self._program.size()
        return size
