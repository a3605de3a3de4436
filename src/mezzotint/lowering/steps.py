"""How does a step run while a network is trained? Forward and backward passes on native tensors.

Steps know slots, not nodes: a slot is one tensor of a segment. What the backward pass needs is kept by each step itself
and dropped as soon as it is used. Modules are read at every call (their parameters may change at any time), and the
parameters that a step differentiates for are handed to autograd by the segment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.kernels import arena, native_layout, passes
from mezzotint.kernels.native_backward import conv2d_backward, pays
from mezzotint.kernels.native_layout import NO_HALO, ConvGeometry, Epilogue, NativeTensor, Sides
from mezzotint.kernels.native_weight_grad import conv2d_dense_grad, conv2d_weight_grad
from mezzotint.lowering import batch_norm
from mezzotint.lowering.batch_norm import Normalised
from mezzotint.lowering.gradients import Finishing, Gradients
from mezzotint.lowering.native_steps import check_same
from mezzotint.lowering.tail import Tail, TailSaved, backward, finish, finishing, saved_of
from mezzotint.lowering.weights import Weight, Weights
from mezzotint.sparse.window import is_accumulated

Grads = list[Tensor | None]


@dataclass(frozen=True)
class TrainStep(ABC):
    """One step of a segment.

    Attributes:
        source, result: slots.
        residual: the slot that is added, or None.
    """

    source: int
    result: int
    residual: int | None

    @property
    def reads(self) -> tuple[int, ...]:
        """Slots that it reads."""
        return (self.source,) if self.residual is None else (self.source, self.residual)

    @property
    @abstractmethod
    def parameters(self) -> tuple[Tensor | None, ...]:
        """What it differentiates for beside its inputs, as it is now."""

    @property
    @abstractmethod
    def outside(self) -> tuple[Tensor | None, ...]:
        """All tensors that its calls read or write beside the segment's, as they are now."""

    @property
    @abstractmethod
    def modes(self) -> tuple[object, ...]:
        """What else decides which calls it makes, as it is now."""

    @property
    def weight(self) -> Weight | None:
        """Its weight as it is now; the backward pass wants that of the forward pass."""
        return None

    @abstractmethod
    def forward(self, inputs: Sequence[NativeTensor], keep: bool) -> tuple[NativeTensor, Any]:
        """The result, and what :meth:`backward` needs; ``keep`` is False when there will be none."""

    @abstractmethod
    def finishing(self, saved: Any, pending: NativeTensor | None) -> Finishing:
        """How a convolution that computes the last gradient for the result finishes it."""

    @abstractmethod
    def backward(self, saved: Any, weight: Weight | None, gradients: Gradients, wanted: Sequence[bool]) -> Grads:
        """Take the result's gradient, add to those of what was read; returns the parameters' (where ``wanted``)."""


class Tailed(TrainStep):
    """A step that ends in a tail."""

    tail: Tail

    def finishing(self, saved: Any, pending: NativeTensor | None) -> Finishing:
        """Behind the ReLU, with the totals that the batch norm wants."""
        return Finishing(finishing(self.tail, saved.tail, pending), totals=self._wants_totals, halo=self._halo(saved))

    @property
    def _wants_totals(self) -> bool:
        return self.tail.norm is not None

    def _halo(self, saved: Any) -> Sides:
        """The halo that the finished gradient should have."""
        return NO_HALO

    def _finished(self, saved: TailSaved, gradients: Gradients) -> tuple[NativeTensor, Tensor]:
        """The finished gradient of the result, and its totals."""
        found = gradients.take(self.result)
        if not found.finished:
            return finish(self.tail, saved, found.tensor, owned=found.owned, summed=self._wants_totals)
        totals = torch.zeros(found.tensor.channels, 2, dtype=torch.float64) if found.totals is None else found.totals
        return found.tensor, totals

    def _statistics(self, totals: Tensor | None, count: int, bias: Tensor | None) -> Normalised | None:
        norm = self.tail.norm
        if norm is None:
            return None
        if totals is None:
            return batch_norm.from_running(norm, bias)
        return batch_norm.from_batch(norm, totals, count, bias)


@dataclass(frozen=True, slots=True)
class _ConvSaved:
    x: NativeTensor
    y_size: tuple[int, int]
    tail: TailSaved


@dataclass(frozen=True)
class ConvStep(Tailed):
    """A convolution and its tail."""

    weights: Weights
    geometry: ConvGeometry
    tail: Tail

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """Values, bias, and the batch norm's weight and bias."""
        return (self.weights.parameter, self.weights.layer.bias, *_affine(self.tail.norm))

    @property
    def weight(self) -> Weight:
        """As it is now."""
        return self.weights.now

    @property
    def outside(self) -> tuple[Tensor | None, ...]:
        """Weight, bias, and the tail's."""
        pattern = self.weights.pattern
        return (*self.parameters[:2], pattern.indices, pattern.transposed, *self.tail.outside)

    @property
    def modes(self) -> tuple[object, ...]:
        """Whether the dense window is open, and the tail's."""
        return (self.weights.training_window is not None, *self.tail.modes)

    def forward(self, inputs: Sequence[NativeTensor], keep: bool) -> tuple[NativeTensor, _ConvSaved | None]:
        """One pass without batch statistics, two with them."""
        x, residual = inputs[0], inputs[1] if self.tail.adds else None
        if residual is not None:
            size = self.geometry.output_size(x.size)
            check_same(residual, (x.batch, self.geometry.weight_shape[0], *size))
        norm = self.tail.norm
        if norm is not None and (keep or batch_norm.uses_batch(norm)):
            return self._in_two_passes(x, residual, norm, keep)
        bias = None if norm is not None else self.weights.bias
        folded = self._statistics(None, 0, self.weights.bias)
        scale, shift = (folded.scale, folded.shift) if folded is not None else (None, None)
        epilogue = Epilogue(scale=scale, shift=shift, residual=residual, relu=self.tail.relu)
        totals = None
        if bias is None and scale is None and self.tail.reader is not None and batch_norm.uses_batch(self.tail.reader):
            totals = _totals(self.geometry.weight_shape[0])
        z = replace(self._convolve(x, epilogue, self.tail.halo, bias=bias, totals=totals), totals=totals)
        return z, _ConvSaved(x, z.size, saved_of(self.tail, z, z, None)) if keep else None

    def _in_two_passes(
        self, x: NativeTensor, residual: NativeTensor | None, norm: nn.BatchNorm2d, keep: bool
    ) -> tuple[NativeTensor, _ConvSaved | None]:
        """The convolution's bias is left out: a batch norm takes the mean away."""
        totals = None
        if batch_norm.uses_batch(norm):
            totals = _totals(self.geometry.weight_shape[0])
        y = self._convolve(x, native_layout.PLAIN, NO_HALO, totals=totals)
        normalised = self._statistics(totals, y.count, self.weights.bias)
        z = self.tail.apply(y, normalised, residual)
        return z, _ConvSaved(x, y.size, saved_of(self.tail, y, z, normalised)) if keep else None

    def _convolve(self, x: NativeTensor, epilogue: Epilogue, halo: Sides, **rest: Tensor | None) -> NativeTensor:
        values, indices = self.weights.values, self.weights.pattern.indices
        return native_layout.conv2d_output(x, values, indices, self.geometry, epilogue=epilogue, halo=halo, **rest)

    @property
    def _wants_totals(self) -> bool:
        return self.tail.norm is not None or self.weights.layer.bias is not None

    def _halo(self, saved: _ConvSaved) -> Sides:
        """Without batch norm the finished gradient is the convolution's own output gradient."""
        if self.tail.norm is not None:
            return NO_HALO
        return self.geometry.input_grad_halo(saved.x.size, saved.y_size)

    def backward(self, saved: _ConvSaved, weight: Weight | None, gradients: Gradients, wanted: Sequence[bool]) -> Grads:
        """Tail, values, input."""
        if weight is None:
            raise TypeError("a convolution without a weight")
        finished, totals = self._finished(saved.tail, gradients)
        if self.residual is not None:
            gradients.add(self.residual, finished, owned=False)
        if wanted[0] and gradients.wants(self.source) and self._goes_back_at_once(saved):
            return self._back_at_once(saved, weight, finished, totals, gradients, wanted)
        halo = self.geometry.input_grad_halo(saved.x.size, saved.y_size)
        after = backward(saved.tail, finished, totals, halo, summed=wanted[1])
        del finished
        values = None
        if wanted[0]:
            values = weight.like_parameter(self._weight_grad(weight, saved.x, after.y))
        if gradients.wants(self.source):
            gradients.add_convolved(self.source, lambda rule: self._input_grad(saved, weight, after.y, rule))
        return [values, after.total, after.weight, after.bias]

    def _goes_back_at_once(self, saved: _ConvSaved) -> bool:
        normalised, y = saved.tail.normalised, saved.tail.y
        by_batch = normalised is not None and normalised.count > 0
        return by_batch and y is not None and self.weights.training_window is None and pays(self.geometry, y)

    def _back_at_once(
        self,
        saved: _ConvSaved,
        weight: Weight,
        finished: NativeTensor,
        totals: Tensor,
        gradients: Gradients,
        wanted: Sequence[bool],
    ) -> Grads:
        """All in one pass: what the batch norm makes of ``finished`` is never written down."""
        y, normalised = saved.tail.y, saved.tail.normalised
        if y is None or normalised is None:
            raise RuntimeError("a batch norm whose input was not kept")
        norm = batch_norm.gradient(normalised, totals)
        coefficients = (normalised.scale, norm.constant, norm.companion)
        values: list[Tensor] = []

        def convolve(rule: Finishing) -> tuple[NativeTensor, Tensor | None]:
            sums = _totals_of(saved.x, rule)
            gx, gvalues = conv2d_backward(
                finished, y, coefficients, saved.x, weight.both_ways, self.geometry,
                epilogue=rule.epilogue, halo=rule.halo, totals=sums,
            )  # fmt: skip
            values.append(gvalues)
            return gx, sums

        gradients.add_convolved(self.source, convolve)
        bias = passes.own(torch.zeros_like(norm.bias)) if wanted[1] else None
        return [weight.like_parameter(values[0]), bias, norm.weight, norm.bias]

    def _input_grad(
        self, saved: _ConvSaved, weight: Weight, gy: NativeTensor, rule: Finishing
    ) -> tuple[NativeTensor, Tensor | None]:
        totals = _totals_of(saved.x, rule)
        gx = native_layout.conv2d_input_grad(
            gy, *weight.both_ways, self.geometry, saved.x.size, epilogue=rule.epilogue, halo=rule.halo, totals=totals
        )
        return gx, totals

    def _weight_grad(self, weight: Weight, x: NativeTensor, gy: NativeTensor) -> Tensor:
        """``[nnz]``; in the dense window, from the whole weight's gradient, which the window gets."""
        indices = weight.pattern.indices
        if self.weights.training_window is not None:
            gvalues = passes.result(indices.numel())
            passes.each_time(
                partial(self._collect, indices, x.without_lease(), gy.without_lease(), arena.without_lease(gvalues))
            )
            return gvalues
        if self.weights.is_sparse:
            return conv2d_weight_grad(x, gy, indices, self.geometry)
        return conv2d_dense_grad(x, gy, self.geometry)

    def _collect(self, indices: Tensor, x: NativeTensor, gy: NativeTensor, gvalues: Tensor) -> None:
        """The whole weight's gradient goes to the dense window, that of the values to ``gvalues``."""
        dense = conv2d_dense_grad(x, gy, self.geometry, paired=True)
        passes.settle()
        torch.index_select(dense.view(-1), 0, indices, out=gvalues)
        if (window := self.weights.training_window) is not None and is_accumulated(self.weights.parameter):
            window.add(dense)


@dataclass(frozen=True, slots=True)
class _PointwiseSaved:
    tail: TailSaved


@dataclass(frozen=True)
class PointwiseStep(Tailed):
    """A tail without a convolution."""

    tail: Tail

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """The batch norm's weight and bias."""
        return _affine(self.tail.norm)

    @property
    def outside(self) -> tuple[Tensor | None, ...]:
        """The tail's."""
        return self.tail.outside

    @property
    def modes(self) -> tuple[object, ...]:
        """The tail's."""
        return self.tail.modes

    def forward(self, inputs: Sequence[NativeTensor], keep: bool) -> tuple[NativeTensor, _PointwiseSaved | None]:
        """One pass, and one before it for statistics that nobody has taken yet."""
        y, residual = inputs[0], inputs[1] if self.tail.adds else None
        if residual is not None:
            check_same(residual, (y.batch, y.channels, *y.size))
        totals = None
        if self.tail.norm is not None and batch_norm.uses_batch(self.tail.norm):
            totals = y.totals
        if totals is None and self.tail.norm is not None and batch_norm.uses_batch(self.tail.norm):
            totals = _totals(y.channels)
            native_layout.reduce(y, totals=totals)
        normalised = self._statistics(totals, y.count, None)
        z = self.tail.apply(y, normalised, residual)
        return z, _PointwiseSaved(saved_of(self.tail, y, z, normalised)) if keep else None

    def backward(
        self, saved: _PointwiseSaved, weight: Weight | None, gradients: Gradients, wanted: Sequence[bool]
    ) -> Grads:
        """Tail, then what it was applied to."""
        finished, totals = self._finished(saved.tail, gradients)
        if self.residual is not None:
            gradients.add(self.residual, finished, owned=False)
        if saved.tail.normalised is None:
            gradients.add(self.source, finished, owned=False)
            return [None, None]
        pending = gradients.pending(self.source)
        after = backward(saved.tail, finished, totals, gradients.halo(self.source), addend=pending)
        gradients.replace(self.source, after.y)
        return [after.weight, after.bias]


def _totals(channels: int) -> Tensor:
    return passes.own(torch.empty(channels, 2, dtype=torch.float64))


def _totals_of(x: NativeTensor, rule: Finishing) -> Tensor | None:
    """Room for the totals of a gradient for ``x``, if they are wanted."""
    return _totals(x.channels) if rule.totals else None


def _affine(norm: nn.BatchNorm2d | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if norm is None else (norm.weight, norm.bias)
