"""How is the batch of a model freed that was written for a fixed one, and how is it known that the results are right?

Such a file has its number of images in the targets of reshapes, where one cannot tell it from any other number. But as
long as images lie one behind the other along the first axis, a reshape of all of them is one of each, laid one behind
the other again; so the first number of a target grows with the batch and the others stay. What does not go by that rule
is found in the end: every output must have as many entries as there are images, and two images must give together what
each gives alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mezzotint.deploy.onnx.value import Value
from mezzotint.deploy.tensor_info import TensorInfo
from mezzotint.errors import UnsupportedModel, first_line

_SIDE: Final = 224
"""Free sizes of the images that are compared."""
_ROUNDING: Final = 1e-5
_LIKE_ANOTHER: Final = 0.05
"""An image's result may be off by so much of what makes it another image's result: quantised numbers may flip."""


@dataclass(frozen=True)
class FreedBatch:
    """A batch that was fixed.

    Attributes:
        written: the number of images that the file was written for.
        samples: the number of images in each trial.
    """

    written: int
    samples: tuple[int, ...]

    def first_as_written(self, value: Value) -> int | None:
        """The first axis that ``value`` has in the file; None where images do not lie along it."""
        if not value.rank:
            return None
        found = set()
        for sample, images in zip(value.samples, self.samples, strict=True):
            each, rest = divmod(sample.shape[0] * self.written, images)
            found.add(None if rest else each)
        return found.pop() if len(found) == 1 else None

    def target(self, value: Value, target: Sequence[int]) -> list[int]:
        """The target of a reshape of ``value``, where 0 keeps a size and -1 is what is left, for any batch."""
        first = self.first_as_written(value)
        if first is None or not target or target[0] < 1:
            return list(target)
        if target[0] == first:
            return [0, *target[1:]]
        rest = [value.shape[axis] if size == 0 and axis < value.rank else size for axis, size in enumerate(target)][1:]
        sizes = value.shape[1:]
        if rest.count(-1) == 1 and None not in (*rest, *sizes):
            others = target[0] * math.prod(size for size in rest if size and size > 0)
            left = first * math.prod(size or 0 for size in sizes)
            rest[rest.index(-1)] = left // others if others and left % others == 0 else -1
        if None in rest or -1 in rest or target[0] % self.written:
            return list(target)
        return [-1, *(int(size or 0) for size in rest)]

    def why_not(self, value: Value) -> str | None:
        """Why an output cannot be told apart by images; None where it can. One that no input reaches is left alone."""
        if value.constant is not None:
            return None
        if not value.rank:
            return "it is one number for all images together"
        sizes = [sample.shape[0] for sample in value.samples]
        if sizes == list(self.samples):
            return None
        told = " and ".join(f"{size} for {images} images" for size, images in zip(sizes, self.samples, strict=True))
        return f"its first axis does not follow the batch: it is {told}"


def compare_images(run: Callable[..., Any], inputs: Sequence[TensorInfo], outputs: Sequence[tuple[str, bool]]) -> None:
    """Two images together must give what each gives alone.

    Args:
        run: the network: tensors in the order of ``inputs`` to one tensor, or a tuple of them.
        inputs: of the network; the first axis of the freed ones is None.
        outputs: their names, and whether they are computed from the inputs.

    Raises:
        UnsupportedModel: naming the outputs that differ.
    """
    generator = torch.Generator().manual_seed(0)
    one, two = (tuple(_drawn(info, generator) for info in inputs) for _ in range(2))
    both = tuple(
        torch.cat(pair) if info.shape and info.shape[0] is None else pair[0]
        for info, *pair in zip(inputs, one, two, strict=True)
    )
    try:
        with torch.inference_mode():
            results = [_as_tuple(run(*images)) for images in (one, two, both)]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = f"two images cannot be run: {first_line(error)}"
        raise UnsupportedModel.of([("graph", "all nodes", reason)]) from error
    problems = [
        (name, "output", "images reach each other's results")
        for (name, computed), first, second, joined in zip(outputs, *results, strict=True)
        if computed and not _agree(first.double(), second.double(), joined.double())
    ]
    if problems:
        raise UnsupportedModel.of(problems)


def _agree(first: Tensor, second: Tensor, joined: Tensor) -> bool:
    alone = torch.cat([first, second])
    if alone.shape != joined.shape:
        return False
    alone, joined, apart = alone.nan_to_num(), joined.nan_to_num(), (first - second).nan_to_num()
    error = float((joined - alone).norm())
    return error <= _ROUNDING * float(alone.norm()) or error <= _LIKE_ANOTHER * float(apart.norm())


def _drawn(info: TensorInfo, generator: torch.Generator) -> Tensor:
    sizes = [1 if axis == 0 else _SIDE for axis in range(len(info.shape or ()))]
    shape = [given if given is not None else size for given, size in zip(info.shape or (), sizes, strict=True)]
    dtype: torch.dtype = getattr(torch, info.dtype)
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=generator).to(dtype)


def _as_tuple(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)
