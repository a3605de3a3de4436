"""Does the native layout pay for a batch? A model's convolutions in it against the same in the plain one, by a rule.

A cell of the native layout holds 16 images of float32 or 32 of a 16-bit type; a batch that fills a part of it costs as
much as a full one. Up to 16 images of a 16-bit type are given cells of float32. So very small batches of large layers,
and high densities, are left to the plain layout, whose launcher decides for each layer and direction: pointwise layers
are sparse there at any batch, windows dense.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from mezzotint.kernels import native as native_library
from mezzotint.kernels.cost import SPARSE_PENALTY, wasted_lanes
from mezzotint.lowering.plan import Plan, conv_layer, padding_of
from mezzotint.sparse import SparseConv2d

#: What a native convolution and the passes around it cost beside the nonzeros, in dense multiply-adds. Taken from
#: ResNet-50 on two Zen 4 cores, batches of 4 to 64 at densities of 0.05 to 0.2.
BESIDE = 0.07
#: What a pointwise convolution costs in the plain layout beside the nonzeros: the copying of activations.
PLAIN_BESIDE = 0.15
#: What a layer costs a batch in the plain layout, however small: calls in both directions, scattered weights, a batch
#: norm and a ReLU of their own. Led natively, passes are done again as one call. WRN-28-2, batches of 1 to 16, a Xeon.
PLAIN_CALLS = 3e7
#: On a matrix unit, in BF16: what they cost at any density, since zeros are multiplied as well, and what they cost at
#: least; in terms of the plain layout, which scatters weights at every call. ResNet-50 on two cores of a Xeon with AMX.
MATRIX = 0.35
MATRIX_BESIDE = 0.21
#: Instead of BESIDE in cells of FP32 for 16-bit tensors, and the same where dense BF16 is done by a matrix unit.
#: WRN-28-2, batches of 1 to 16, and ResNet-50, 4 to 16, a Xeon without AMX and with it.
WIDE_BESIDE = 0.21
WIDE_BESIDE_UNIT = 0.4


@dataclass(frozen=True, slots=True)
class Worth:
    """Costs of a model's sparse convolutions, in dense multiply-adds an image.

    Attributes:
        full: in the native layout where all lanes of its cells are filled.
        native: the same with the lanes that stay empty.
        plain: in the plain layout.
        dense: of the dense convolutions.
    """

    full: float
    native: float
    plain: float
    dense: float

    @property
    def pays(self) -> bool:
        """Whether the native layout costs less."""
        return self.native < self.plain

    @property
    def can_pay(self) -> bool:
        """Whether it would cost less if no lane stayed empty."""
        return self.full < self.plain

    def in_words(self, batch: int) -> str:
        """Why the plain layout was taken."""
        native, plain = (cost / max(self.dense, 1.0) for cost in (self.native, self.plain))
        return (
            f"a batch of {batch} would cost {native:.1f} times its dense multiply-adds in the native layout,"
            f" {plain:.1f} times in the plain one"
        )


def convolutions_of(plan: Plan, modules: torch.nn.Module) -> tuple[tuple[SparseConv2d, int], ...]:
    """The sparse convolutions of a plan, each with the pixels of its result."""
    found = []
    for step in plan.steps:
        layer = None if step.conv is None else conv_layer(modules.get_submodule(str(step.conv.target)))
        if step.conv is not None and isinstance(layer, SparseConv2d):
            height, width = step.conv.meta["shape"][2:]
            found.append((layer, int(height) * int(width)))
    return tuple(found)


def worth(
    convolutions: Iterable[tuple[SparseConv2d, int]], batch: int, dtype: torch.dtype, cells: torch.dtype
) -> Worth:
    """What ``batch`` images of ``dtype`` cost, natively in ``cells``; the layers' densities are read now."""
    on_unit = dtype == torch.bfloat16 and native_library.has_matrix_unit()
    native = plain = dense = 0.0
    for layer, pixels in convolutions:
        nonzeros, weights = SPARSE_PENALTY * layer.nnz * pixels, layer.pattern.numel * pixels
        native += nonzeros
        dense += weights
        plain += min(nonzeros + weights * PLAIN_BESIDE, weights) if _is_pointwise(layer) and not on_unit else weights
        plain += PLAIN_CALLS / max(batch, 1)
    full = min(native + dense * MATRIX_BESIDE, dense * MATRIX) if on_unit else native + dense * BESIDE
    cost = full
    if cells != dtype:
        cost = native + dense * (WIDE_BESIDE_UNIT if on_unit else WIDE_BESIDE)
    return Worth(full=full, native=cost * wasted_lanes(batch, cells), plain=plain, dense=dense)


def _is_pointwise(layer: SparseConv2d) -> bool:
    return all(size == 1 for size in (*layer.kernel_size, *layer.stride)) and not any(padding_of(layer))


def layer_pays(density: float) -> bool:
    """Whether a layer costs less sparse than dense in batches that fill the native layout's cells."""
    return density * SPARSE_PENALTY + BESIDE < 1.0
