"""How does an operator follow the transforms of ``torch.func``? One call for a batch, and tangents pushed forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

Tensors = Sequence[Tensor | None]


def over_batch(
    operator: Operator, size: int, dims: Sequence[int | None], attrs: Mapping[str, Any], tensors: Tensors
) -> tuple[Any, Any]:
    """``operator`` for each of ``size`` entries along axis ``dims[i]`` of input ``i``; the results, and their axis 0.

    Where only inputs of independent samples are batched, the batch joins their first axis and one call does it all.
    """
    names = [argument.name for argument in operator.definition.inputs]
    samples = [name in operator.definition.sample_inputs for name in names]
    if all(sample or dim is None for sample, dim in zip(samples, dims, strict=True)):
        joined = [
            _joined(t, dim, size) if sample and t is not None else t
            for t, dim, sample in zip(tensors, dims, samples, strict=True)
        ]
        result = operator(*joined, **attrs)
        if isinstance(result, tuple):
            return tuple(_split(t, size) for t in result), (0,) * len(result)
        return _split(result, size), 0
    each = [
        operator(
            *(t if dim is None or t is None else t.select(dim, entry) for t, dim in zip(tensors, dims, strict=True)),
            **attrs,
        )
        for entry in range(size)
    ]
    if isinstance(each[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*each, strict=True)), (0,) * len(each[0])
    return torch.stack(each), 0


def _joined(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """``[B, N, ...]`` as ``[B N, ...]``; a tensor that all share is repeated."""
    batched = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return batched.reshape(size * batched.shape[1], *batched.shape[2:])


def _split(tensor: Tensor, size: int) -> Tensor:
    return tensor.reshape(size, tensor.shape[0] // size, *tensor.shape[1:])


def pushed_forward(
    operator: Operator,
    attrs: Mapping[str, Any],
    saved: Tensors,
    tangents: Tensors,
    outputs: Sequence[tuple[torch.Size, torch.dtype, torch.device]],
) -> Any:
    """The tangents of the outputs: the gradient is linear in the output gradients, and its transpose is sought."""
    # What was saved carries the very tangents that are being pushed forward.
    saved = [None if t is None else forward_ad.unpack_dual(t).primal for t in saved]
    needed = [tangent is not None for tangent in tangents]
    smooth = [dtype.is_floating_point for _, dtype, _ in outputs]

    def pull(*grads: Tensor) -> tuple[Tensor, ...]:
        rest = iter(grads)
        given = [next(rest) if is_smooth else None for is_smooth in smooth]
        found = operator.gradients(attrs, saved, needed, given)
        return tuple(g for g, need in zip(found, needed, strict=True) if need and g is not None)

    zeros = [
        torch.zeros(shape, dtype=dtype, device=device)
        for (shape, dtype, device), is_smooth in zip(outputs, smooth, strict=True)
        if is_smooth
    ]
    transpose = torch.func.vjp(pull, *zeros)[1]
    made = iter(transpose(tuple(t for t in tangents if t is not None)))
    results = tuple(next(made) if is_smooth else None for is_smooth in smooth)
    return results if len(results) > 1 else results[0]
