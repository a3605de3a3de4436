"""How does a pooling run while a network is trained? Steps without parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint.kernels import native_pool
from mezzotint.kernels.native_layout import NO_HALO, Epilogue, NativeTensor, Sides
from mezzotint.lowering.gradients import Finishing, Gradients
from mezzotint.lowering.pooling import Window
from mezzotint.lowering.steps import Grads, TrainStep
from mezzotint.lowering.weights import Weight


class Pooling(TrainStep):
    """A step without parameters."""

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """None."""
        return ()

    @property
    def outside(self) -> tuple[Tensor | None, ...]:
        """None."""
        return ()

    @property
    def modes(self) -> tuple[object, ...]:
        """None."""
        return ()

    def finishing(self, saved: Any, pending: NativeTensor | None) -> Finishing:
        """A sum of gradients is all that it takes."""
        return Finishing(Epilogue(residual=pending), totals=False, halo=NO_HALO)


@dataclass(frozen=True, slots=True)
class _PoolSaved:
    x: NativeTensor
    y: NativeTensor


@dataclass(frozen=True)
class MaxPoolStep(Pooling):
    """A max pooling."""

    window: Window
    halo: Sides

    def forward(self, inputs: Sequence[NativeTensor], keep: bool) -> tuple[NativeTensor, _PoolSaved | None]:
        """One pass."""
        (x,) = inputs
        y = native_pool.max_pool(x, self.window.output_size(x.size), self.window.code, self.halo)
        return y, _PoolSaved(x, y) if keep else None

    def backward(self, saved: _PoolSaved, weight: Weight | None, gradients: Gradients, wanted: Sequence[bool]) -> Grads:
        """To the first maximum of each window."""
        found = gradients.take(self.result)
        gx = native_pool.max_pool_grad(saved.x, saved.y, found.tensor, self.window.code)
        gradients.add(self.source, gx, owned=True)
        return []


@dataclass(frozen=True)
class GlobalAverageStep(Pooling):
    """An average over all pixels."""

    halo: Sides

    def forward(self, inputs: Sequence[NativeTensor], keep: bool) -> tuple[NativeTensor, tuple[int, int] | None]:
        """One pass."""
        (x,) = inputs
        return native_pool.global_average(x, self.halo), x.size if keep else None

    def backward(
        self, saved: tuple[int, int], weight: Weight | None, gradients: Gradients, wanted: Sequence[bool]
    ) -> Grads:
        """The same share to every pixel."""
        found = gradients.take(self.result)
        gradients.add(self.source, native_pool.global_average_grad(found.tensor, saved), owned=True)
        return []
