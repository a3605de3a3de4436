"""How is it seen at a glance that the tensors of a call are like those of an earlier one?

PyTorch's own guard of compiled functions looks at type, sizes, strides, dtype, device, gradient flag and dispatch keys
of all tensors in one native call. The keys are those of the thread, too: autocast, modes, transforms, tracing and
inference mode show in them, and so does a lazily negated tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from torch import Tensor
from torch._C._dynamo.guards import TensorGuards

Guard = Callable[..., bool]


def guard(tensors: Sequence[Tensor | None]) -> Guard:
    """Whether what was decided for ``tensors`` holds for the tensors that it is called with, in the same order.

    The native guard takes neither an absent tensor nor the same one twice: these are asked for by identity.
    """
    places: dict[int, int] = {}
    distinct: list[Tensor] = []
    taken, conditions = [], []
    for place, tensor in enumerate(tensors):
        before = places.setdefault(id(tensor), place)
        if tensor is None:
            conditions.append(f"t{place} is None")
        elif before != place:
            conditions.append(f"t{place} is t{before}")
        else:
            distinct.append(tensor)
            taken.append(f"t{place}")
    check: Guard = TensorGuards(*distinct, dynamic_dims_sizes=None, dynamic_dims_strides=None).check  # all axes count
    if not conditions:
        return check
    conditions.append(f"check({', '.join(taken)})")
    return _written(len(tensors), " and ".join(conditions))(check)


@lru_cache
def _written(count: int, condition: str) -> Callable[[Guard], Guard]:
    """A guard around the native one ``check``, for ``count`` tensors; a loop over them would cost more than it does."""
    tensors = ", ".join(f"t{place}" for place in range(count))
    made: Callable[[Guard], Guard] = eval(f"lambda check: lambda {tensors}: {condition}")
    return made
