"""What values do a layer's nonzeros start with? Initialisation for the fan-in that each unit really has.

A unit with 9 nonzeros out of 90 inputs that starts from the dense layer's scale passes on a tenth of the variance. Evci
et al. 2022 ("Gradient flow in sparse neural networks and how lottery tickets win", AAAI, section 3) therefore scale
each output unit by its own number of nonzeros. The law is PyTorch's for dense layers, ``kaiming_uniform(a=sqrt(5))``
(He et al. 2015): uniform in ``[-b, b]`` with ``b = 1 / sqrt(fan_in)``.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from mezzotint.sparse.pattern import Pattern


def keyed_generator(*key: object) -> torch.Generator:
    """A CPU generator whose numbers depend on ``key`` alone: not on device, process or what was drawn before."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def random_pattern(shape: tuple[int, ...], nnz: int, generator: torch.Generator | None = None) -> Pattern:
    """``nnz`` positions of ``shape`` drawn without replacement on the CPU; from torch's own generator by default."""
    order = torch.randperm(math.prod(shape), generator=generator, dtype=torch.int32)
    return Pattern.from_indices(order[:nnz].sort().values, shape)


def fan_in_pattern(shape: tuple[int, ...], nnz: int, generator: torch.Generator | None = None) -> Pattern:
    """``nnz`` random positions of ``shape``, as many for each output unit; the first units have one more if need be."""
    units, row = shape[0], math.prod(shape[1:])
    counts = torch.full((units,), nnz // units) + (torch.arange(units) < nnz % units)
    order = torch.rand(units, row, generator=generator).argsort(dim=1)
    positions = order + torch.arange(units)[:, None] * row
    taken = torch.arange(row) < counts[:, None]
    return Pattern.from_indices(positions[taken].sort().values, shape)


def fan_in(pattern: Pattern) -> Tensor:
    """int64 ``[O]``: how many nonzeros feed each output unit."""
    row = math.prod(pattern.shape[1:])
    unit = pattern.indices.div(row, rounding_mode="floor")
    return torch.bincount(unit, minlength=pattern.shape[0])


def per_nonzero(per_unit: Tensor, pattern: Pattern) -> Tensor:
    """Spread one number per output unit, ``[O]``, over the unit's nonzeros, ``[nnz]``."""
    row = math.prod(pattern.shape[1:])
    return per_unit[pattern.indices.div(row, rounding_mode="floor").long()]


def fresh_values(pattern: Pattern, generator: torch.Generator | None = None) -> Tensor:
    """float32 ``[nnz]`` on the CPU: uniform in ``±1/sqrt(fan_in)``, fan-in counted per output unit."""
    bound = fan_in(pattern).clamp(min=1).double().rsqrt().float()
    return (torch.rand(pattern.nnz, generator=generator) * 2 - 1) * per_nonzero(bound, pattern)


def fresh_bias(pattern: Pattern, generator: torch.Generator | None = None) -> Tensor:
    """float32 ``[O]`` on the CPU: uniform in ``±1/sqrt(fan_in)``; 0 for a unit that no nonzero feeds, as in PyTorch."""
    inputs = fan_in(pattern)
    bound = inputs.clamp(min=1).double().rsqrt().float() * (inputs > 0)
    return (torch.rand(pattern.shape[0], generator=generator) * 2 - 1) * bound


def rescaled_values(values: Tensor, pattern: Pattern) -> Tensor:
    """``values`` times ``sqrt(dense fan-in / own fan-in)`` per output unit.

    A dense layer's initialisation, whatever its law, becomes the same law for the sparse fan-in: each unit's
    output keeps the variance that the dense layer would have given it.
    """
    dense = math.prod(pattern.shape[1:])
    factor = (dense / fan_in(pattern).clamp(min=1).double()).sqrt().to(values.dtype)
    return values * per_nonzero(factor, pattern).to(values.device)
