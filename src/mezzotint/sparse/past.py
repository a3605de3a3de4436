"""Has a network been trained before? Signs that a fresh one never shows: norms that moved, weights beyond their law.

A trained network must lose its smallest weights, a fresh one may as well lose random ones. Where the signs are in doubt
the network counts as trained: a fresh one that loses its smallest weights has lost nothing, a trained one that loses
random weights has lost its training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

AFFINE_NORMS: Final = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Modules whose weight scales what was normalised: batch, instance, layer, group and RMS norms."""
#: Fresh weights rounded to 16 bits may lie a little beyond the bound.
_ROUNDING: Final = 1.01
#: Exact zeros among drawn weights are rare; this many were put there.
_PRUNED: Final = 0.1


@torch.no_grad()
def sign_of_training(model: nn.Module, layers: Mapping[str, nn.Conv2d | nn.Linear]) -> str | None:
    """What shows that ``model`` was trained, in words without a full stop; None when nothing does.

    * a layer of which a part of the weights is 0: it was pruned;
    * a norm with running statistics that has seen batches, or whose statistics are not (0, 1);
    * if the network has no such norm: another norm whose weights or biases are not all equal;
    * if it has no norm at all: a layer with weights beyond ``1/sqrt(fan_in)``, where PyTorch's initialisation ends, and
      with biases that are not all equal, if it has biases (other initialisations leave them at one value).

    Args:
        model: any module.
        layers: dotted name -> layer, of those to be made sparse.
    """
    for name, layer in layers.items():
        if not layer.weight.is_meta and 0 < (zeros := _zeros(layer.weight)) < 1 and zeros >= _PRUNED:
            return f"{zeros:.0%} of the weights of {_shown(name)} are 0"
    named = dict(model.named_modules())
    counting = {name: module for name, module in named.items() if _tensor(module, "running_mean") is not None}
    if counting:
        return next((told for name, module in counting.items() if (told := _of_statistics(name, module))), None)
    affine = {name: m for name, m in named.items() if isinstance(m, AFFINE_NORMS) and _tensor(m, "weight") is not None}
    if affine:
        moved = (name for name, m in affine.items() if _varies(_tensor(m, "weight")) or _varies(_tensor(m, "bias")))
        return next((f"the weights or biases of norm {_shown(name)} are not all equal" for name in moved), None)
    return next((told for name, layer in layers.items() if (told := _of_weights(name, layer))), None)


def _of_statistics(name: str, norm: nn.Module) -> str | None:
    count, mean, variance = (_tensor(norm, key) for key in ("num_batches_tracked", "running_mean", "running_var"))
    if count is not None and int(count) > 0:
        return f"batch norm {_shown(name)} has seen {int(count)} batches"
    # Files older than the counter, and norms that never had one (frozen ones), tell by their statistics.
    if (mean is not None and bool((mean != 0).any())) or (variance is not None and bool((variance != 1).any())):
        return f"the running statistics of batch norm {_shown(name)} are not those of a fresh one"
    return None


def _of_weights(name: str, layer: nn.Conv2d | nn.Linear) -> str | None:
    weight, bias = layer.weight, _tensor(layer, "bias")
    if weight.is_meta or (bias is not None and not _varies(bias)):
        return None
    bound, most = 1 / math.sqrt(math.prod(weight.shape[1:])), float(weight.abs().max())
    if most <= bound * _ROUNDING:
        return None
    return f"{_shown(name)} has weights up to {most:.3g}, and PyTorch's initialisation ends at {bound:.3g}"


def _tensor(module: nn.Module, name: str) -> Tensor | None:
    """The parameter or buffer of that name, where the module has one that holds data."""
    found = getattr(module, name, None)
    return found if isinstance(found, Tensor) and not found.is_meta and found.numel() else None


def _varies(tensor: Tensor | None) -> bool:
    return tensor is not None and bool((tensor != tensor.reshape(-1)[0]).any())


def _zeros(weight: Tensor) -> float:
    return float((weight == 0).double().mean())


def _shown(name: str) -> str:
    return repr(name) if name else "the model"
