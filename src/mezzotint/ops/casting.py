"""What does autocast change about a call: which inputs does it cast, and how, with and without the dispatcher?

Behind its casts autocast is out of the way: what a kernel calls is not cast again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.ops.opdef import OpDef

Run = Callable[..., Any]

#: The dispatch key of autocast for the devices on which operators run.
KEYS = {"cpu": torch._C.DispatchKey.AutocastCPU, "cuda": torch._C.DispatchKey.AutocastCUDA}

_KEY_SETS = {device: torch._C.DispatchKeySet(key) for device, key in KEYS.items()}
_any_is_on = torch._C._is_any_autocast_enabled
_is_on = torch.is_autocast_enabled
_is_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded
_dtype = torch.get_autocast_dtype


def out_of_the_way(device: str) -> Any:
    """A context in which nothing is cast on ``device``, whatever autocast is told to do."""
    return torch._C._ExcludeDispatchKeyGuard(_KEY_SETS[device])


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The type to which a call with ``tensor`` casts; ``None`` where autocast is off, or out of the way.

    Raises:
        KeyError: autocast is on, and has no rule for the device.
    """
    if not _any_is_on():
        return None
    device = tensor.device.type
    key = KEYS[device]
    return _dtype(device) if _is_on(device) and not _is_excluded(key) else None


def cast(value: Any, dtype: torch.dtype) -> Any:
    """``value``, a tensor or a list of them, as ``dtype``; whole numbers and float64 are never cast."""
    if isinstance(value, (list, tuple)):
        return [cast(item, dtype) for item in value]
    return value.to(dtype) if _is_cast(value) else value


def _is_cast(value: Any) -> bool:
    return value is not None and value.is_floating_point() and value.dtype != torch.float64


def casts(definition: OpDef, tensors: Sequence[Tensor | None], first: Tensor) -> Callable[[Run], Run]:
    """What autocast makes of a function of tensors like these, in the order of the declaration; off, it is as it was.

    The function made of it is given them cast, and called with autocast out of the way.
    """
    dtype, device = autocast_dtype(first), first.device.type
    if dtype is None:
        return lambda function: function
    named = enumerate(zip(definition.inputs, tensors, strict=True))
    names = definition.autocast_inputs
    places = tuple(place for place, (argument, tensor) in named if argument.name in names and _is_cast(tensor))

    def around(function: Run) -> Run:
        def run(*tensors: Tensor | None) -> Any:
            given: list[Any] = list(tensors)
            for place in places:
                given[place] = given[place].to(dtype)
            with out_of_the_way(device):
                return function(*given)

        return run

    return around
