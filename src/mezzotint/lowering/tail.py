"""What follows a convolution in a step, and how does it differentiate? Batch norm, then a residual, then ReLU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.kernels import native_layout, passes
from mezzotint.kernels.native_layout import NO_HALO, Epilogue, NativeTensor, Sides
from mezzotint.lowering import batch_norm
from mezzotint.lowering.batch_norm import Normalised


@dataclass(frozen=True)
class Tail:
    """``z = relu(norm(y) + residual)``, each part present or not.

    Attributes:
        norm: the batch norm, whose parameters and mode are read at every call.
        adds: whether a residual is added.
        relu: whether negative numbers become zero.
        halo: that readers of z want around it.
        reader: a batch norm that reads z in a step of its own, if any: a convolution can hand it its totals.
    """

    norm: nn.BatchNorm2d | None
    adds: bool
    relu: bool
    halo: Sides = NO_HALO
    reader: nn.BatchNorm2d | None = None

    @property
    def is_empty(self) -> bool:
        """Whether z is y."""
        return self.norm is None and not self.adds and not self.relu

    @property
    def outside(self) -> tuple[Tensor | None, ...]:
        """The batch norm's tensors, as they are now."""
        return () if self.norm is None else batch_norm.state_of(self.norm)

    @property
    def modes(self) -> tuple[object, ...]:
        """What its calls depend on beside tensors, as it is now."""
        norm, reader = self.norm, self.reader
        own = () if norm is None else (norm.training, norm.momentum, norm.eps)
        return own if reader is None else (*own, batch_norm.uses_batch(reader))

    def apply(self, y: NativeTensor, normalised: Normalised | None, residual: NativeTensor | None) -> NativeTensor:
        """z, in one pass."""
        scale, shift = (normalised.scale, normalised.shift) if normalised is not None else (None, None)
        return native_layout.normalise(y, scale=scale, shift=shift, other=residual, relu=self.relu, halo=self.halo)


@dataclass(frozen=True, slots=True)
class TailSaved:
    """What the backward pass needs to know of a forward pass.

    Attributes:
        y: what was normalised; ``None`` where no batch norm and no gradient of a ReLU needs it.
        z: the result, where the ReLU's gradient needs it.
        normalised: the coefficients, if there is a batch norm.
    """

    y: NativeTensor | None
    z: NativeTensor | None
    normalised: Normalised | None


def saved_of(tail: Tail, y: NativeTensor, z: NativeTensor, normalised: Normalised | None) -> TailSaved:
    """A ReLU's gradient is found from y again where that suffices, so that z need not be read."""
    from_y = normalised is not None and not tail.adds
    needs_z = tail.relu and not from_y
    return TailSaved(y if normalised is not None else None, z if needs_z else None, normalised)


def finishing(tail: Tail, saved: TailSaved, pending: NativeTensor | None) -> Epilogue:
    """The epilogue that turns what a convolution adds to ``pending`` into the finished gradient of norm and residual.

    Finished: behind the ReLU, and with its totals with y taken. Wherever the last of a tensor's gradients comes from a
    convolution, this costs no pass of its own.
    """
    if not tail.relu:
        return Epilogue(residual=pending, companion=saved.y)
    if saved.z is not None:
        return Epilogue(residual=pending, mask=saved.z, companion=saved.y)
    if saved.y is None or saved.normalised is None:
        raise RuntimeError("a ReLU whose input was not kept")
    scale, shift = saved.normalised.scale, saved.normalised.shift
    return Epilogue(residual=pending, mask=saved.y, mask_scale=scale, mask_shift=shift, companion=saved.y)


def finish(
    tail: Tail, saved: TailSaved, gradient: NativeTensor, *, owned: bool, summed: bool
) -> tuple[NativeTensor, Tensor]:
    """The finished gradient and its totals, from a gradient that no convolution could finish on the way.

    Args:
        owned: whether ``gradient`` may be overwritten.
        summed: whether the totals are wanted; if not, they are zeros.
    """
    rule = finishing(tail, saved, None)
    totals = passes.own(torch.zeros(gradient.channels, 2, dtype=torch.float64))
    if rule.mask is None and not summed:
        return gradient, totals
    in_place = rule.mask is None or (owned and gradient.halo == NO_HALO)
    finished = gradient if in_place else gradient.like()
    native_layout.reduce(
        gradient,
        mask=rule.mask,
        mask_scale=rule.mask_scale,
        mask_shift=rule.mask_shift,
        companion=rule.companion,
        masked=None if rule.mask is None else finished,
        totals=totals if summed else None,
    )
    return finished, totals


@dataclass(frozen=True, slots=True)
class TailGradient:
    """Gradients of a tail.

    Attributes:
        y: for what was normalised.
        weight, bias: for the batch norm's affine parameters, float32 ``[C]``; ``None`` without batch norm.
        total: float32 ``[C]``: the sum of the gradient for y over the batch, if that is wanted.
    """

    y: NativeTensor
    weight: Tensor | None
    bias: Tensor | None
    total: Tensor | None


def backward(
    saved: TailSaved,
    finished: NativeTensor,
    totals: Tensor,
    halo: Sides,
    *,
    addend: NativeTensor | None = None,
    summed: bool = False,
) -> TailGradient:
    """From the finished gradient; with a batch norm the gradient for y gets ``halo``, and ``addend`` is added.

    Args:
        totals: of the finished gradient.
        summed: whether the sum of the gradient for y is wanted.
    """
    if saved.normalised is None:
        return TailGradient(finished, None, None, _first_of(totals) if summed else None)
    if saved.y is None:
        raise RuntimeError("a batch norm whose input was not kept")
    rule = batch_norm.gradient(saved.normalised, totals)
    scale = saved.normalised.scale
    if rule.companion is None or rule.constant is None:
        gy = native_layout.normalise(finished, scale=scale, addend=addend, halo=halo)
        return TailGradient(gy, rule.weight, rule.bias, _product(scale, rule.bias) if summed else None)
    gy = native_layout.normalise(
        finished,
        scale=scale,
        shift=rule.constant,
        other=saved.y,
        other_scale=rule.companion,
        addend=addend,
        halo=halo,
    )
    return TailGradient(gy, rule.weight, rule.bias, passes.own(torch.zeros_like(rule.bias)) if summed else None)


def _product(scale: Tensor, sums: Tensor) -> Tensor:
    product = passes.own(torch.empty_like(sums))
    passes.then(lambda: torch.mul(scale, sums, out=product))
    return product


def _first_of(totals: Tensor) -> Tensor:
    sums = passes.own(torch.empty(totals.shape[0], dtype=torch.float32))
    passes.then(lambda: sums.copy_(totals[:, 0]))
    return sums
