"""What exactly is an operator asked to compute? A hashable description, which is also the launcher's cache key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

#: Densities are compared in half powers of two: a kernel's rank changes slowly with density.
_BUCKETS_PER_OCTAVE = 2

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An operator's shapes, attributes, types and density.

    Attributes:
        op: operator name; each direction (output, input gradient, weight gradient) is an operator of its own.
        device: ``"cpu"``, ``"cuda"`` ...
        dtype: element type of the first input (the activations).
        shapes: input name -> shape, ``None`` for an absent optional input.
        attrs: attribute name -> value, lists as tuples.
        threads: CPU threads that the kernel may use.
        density: nnz / numel of the weight for a sparse operator, else ``None``.
        channels_last: whether the first input lies in channels-last memory.
        dtypes: input name -> element type, ``None`` for an absent optional input.
    """

    op: str
    device: str
    dtype: torch.dtype
    shapes: tuple[tuple[str, Shape | None], ...]
    attrs: tuple[tuple[str, Any], ...]
    threads: int = 1
    density: float | None = None
    channels_last: bool = False
    dtypes: tuple[tuple[str, torch.dtype | None], ...] = ()
    _shapes: Mapping[str, Shape | None] = field(init=False, repr=False, compare=False)
    _attrs: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shapes", dict(self.shapes))
        object.__setattr__(self, "_attrs", dict(self.attrs))

    def shape(self, name: str) -> Shape:
        """Shape of the input ``name``; an absent optional input has the shape ``()``."""
        return self._shapes[name] or ()

    def attr(self, name: str) -> Any:
        """Value of the attribute ``name``."""
        return self._attrs[name]

    def dtype_of(self, name: str) -> torch.dtype | None:
        """Element type of the input ``name`` (of a list: of its first tensor), ``None`` for an absent one."""
        types = dict(self.dtypes)
        return types.get(name, types.get(f"{name}[0]"))

    def bucket(self) -> Problem:
        """The same problem with its density rounded to a bucket and the nnz-sized shapes left out.

        Decisions are kept per bucket, so that a few weights more or less do not ask for a new one.
        """
        if self.density is None:
            return self
        kept = tuple((name, shape) for name, shape in self.shapes if name not in NNZ_SIZED)
        return replace(self, shapes=kept, density=density_bucket(self.density))

    def summary(self) -> str:
        """One readable line that names all of it: operator, shapes, attributes, type, layout, density, device, threads.

        Measured decisions are stored under the line of the problem's bucket.
        """
        shapes = " ".join(f"{name}{list(shape)}" for name, shape in self.shapes if shape and name not in NNZ_SIZED)
        attrs = " ".join(f"{name}={_plain(value)}" for name, value in self.attrs)
        layout = " channels_last" if self.channels_last else ""
        density = "" if self.density is None else f" density={self.density:.3g}"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.op} {shapes} {attrs} {dtype}{layout}{density} on {self.device} with {self.threads} thread(s)"


#: Inputs whose length is nnz (or, for the transposed order, nnz); the density stands for all of them.
NNZ_SIZED = frozenset({"values", "indices", "transposed"})


def density_bucket(density: float) -> float:
    """The density rounded to the nearest half power of two; 0 stays 0."""
    if density <= 0:
        return 0.0
    return float(2.0 ** (round(math.log2(density) * _BUCKETS_PER_OCTAVE) / _BUCKETS_PER_OCTAVE))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
