"""Which gradients belong to a step, are they finite, and how large are they? Few calls for all tensors, one wait."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from mezzotint.errors import InputError, message

Provider = Callable[[], Iterable[Tensor]]
_REPLACED: Final = "_mezzotint_replaced"  # on a parameter
_SLOT: Final = "_mezzotint_gradients"  # on the optimiser, so that the list lives and dies with it


def attach_gradients(optimizer: Optimizer, provider: Provider) -> None:
    """Have further gradients unscaled, checked and clipped together with ``optimizer``'s own.

    Args:
        optimizer: whose step they belong to.
        provider: called at every update; returns FP32 tensors that are changed in place. A bound method is held
            weakly: it is forgotten with its object.
    """
    holder: Callable[[], Provider | None] = (
        weakref.WeakMethod(provider) if inspect.ismethod(provider) else (lambda: provider)
    )
    optimizer.__dict__.setdefault(_SLOT, []).append(holder)


def detach_gradients(optimizer: Optimizer, provider: Provider) -> None:
    """Forget what :func:`attach_gradients` was told; a provider that is not attached is none to forget."""
    holders = optimizer.__dict__.get(_SLOT, [])
    holders[:] = [holder for holder in holders if holder() not in (None, provider)]


def own_gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients of the optimiser's parameters, those that have one."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def attached_gradients(optimizer: Optimizer) -> list[Tensor]:
    """The tensors of all attached providers."""
    providers = [holder() for holder in optimizer.__dict__.get(_SLOT, [])]
    return [tensor for provider in providers if provider is not None for tensor in provider()]


def mark_replaced(parameter: nn.Parameter) -> None:
    """Remember that ``sparsify`` or ``densify`` has put another parameter in the place of ``parameter``."""
    parameter.__dict__[_REPLACED] = True


def refuse_replaced(optimizer: Optimizer) -> None:
    """Raise an ``InputError`` when ``optimizer`` holds a parameter that is not the network's any more."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None and _REPLACED in parameter.__dict__:
                raise InputError(
                    message(
                        "optimizer",
                        received=f"a parameter {list(parameter.shape)} that sparsify() or densify() has replaced",
                        allowed="an optimiser over model.parameters() as they are now",
                        fix="Build the optimiser after sparsify(): the swapped layers have new parameters.",
                    )
                )


def unscale(gradients: Sequence[Tensor], scale: float) -> bool:
    """Divide all gradients by ``scale`` in place; True when every element of every one of them is finite.

    The device is waited for once.

    Raises:
        InputError: a gradient is FP16: then the parameters are, and there are no FP32 masters to update.
    """
    by_kind: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for gradient in gradients:
        dense = gradient._values() if gradient.is_sparse else gradient
        if dense.dtype == torch.float16:
            raise InputError(
                message(
                    "gradient",
                    received="torch.float16",
                    allowed="FP32 gradients of FP32 parameters",
                    fix="Keep the model in FP32 (no model.half()): Precision('fp16') casts where it is safe.",
                )
            )
        by_kind.setdefault((dense.device, dense.dtype), []).append(dense)
    return not any(flag.item() for flag in [_unscale_alike(group, scale) for group in by_kind.values()])


def _unscale_alike(gradients: list[Tensor], scale: float) -> Tensor:
    """Unscale tensors of one device and dtype; a tensor ``[1]`` that is 0 when all are finite."""
    device = gradients[0].device
    found = torch.zeros(1, device=device)
    # The kernel behind torch.amp.GradScaler: one pass that divides and looks for inf and NaN.
    torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, torch.full((1,), 1.0 / scale, device=device))
    increment_version(gradients)  # that kernel forgets to: who watches a tensor's version would take it for untouched
    return found


def clip(gradients: Sequence[Tensor], others: Sequence[Tensor], largest_norm: float) -> None:
    """Scale all tensors down in place so that the joint 2-norm of ``gradients`` is at most ``largest_norm``.

    ``others`` are scaled by the same factor and do not count in the norm: statistics of a step see the gradients as
    the optimiser does.
    """
    if not (math.isfinite(largest_norm) and largest_norm > 0):
        raise InputError(message("clip_norm", received=largest_norm, allowed="a positive number"))
    dense: list[Any] = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    if not dense:
        return
    device = dense[0].device
    norms = torch.stack([norm.float().to(device) for norm in torch._foreach_norm(dense)])
    factor = (largest_norm / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1.0)
    for gradient in [*dense, *others]:
        gradient.mul_(factor.to(gradient.device))
