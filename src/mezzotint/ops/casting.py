"""What does autocast change about a call: which inputs does it cast, and how, with and without the dispatcher?

Behind its casts autocast is out of the way: what a kernel calls is not cast again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.ops.opdef import OpDef

#: The dispatch key of autocast for the devices on which operators run.
KEYS = {"cpu": torch._C.DispatchKey.AutocastCPU, "cuda": torch._C.DispatchKey.AutocastCUDA}

_KEY_SETS = {device: torch._C.DispatchKeySet(key) for device, key in KEYS.items()}
_is_on = torch.is_autocast_enabled
_is_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded
_dtype = torch.get_autocast_dtype


def out_of_the_way(device: str) -> Any:
    """A context in which nothing is cast on ``device``, whatever autocast is told to do."""
    return torch._C._ExcludeDispatchKeyGuard(_KEY_SETS[device])


def autocast_dtype(device: str) -> torch.dtype | None:
    """The type to which a call on ``device`` casts; ``None`` where autocast is off, or out of the way.

    Raises:
        KeyError: a device for which there is no rule.
    """
    key = KEYS[device]
    return _dtype(device) if _is_on(device) and not _is_excluded(key) else None


def cast(value: Any, dtype: torch.dtype) -> Any:
    """``value``, a tensor or a list of them, as ``dtype``; whole numbers and float64 are never cast."""
    if isinstance(value, (list, tuple)):
        return [cast(item, dtype) for item in value]
    return value.to(dtype) if _is_cast(value) else value


def _is_cast(value: Any) -> bool:
    return value is not None and value.is_floating_point() and value.dtype != torch.float64


class Cast:
    """What autocast does to calls with tensors like ``tensors``, in the order of the declaration."""

    __slots__ = ("_device", "_dtype", "_places")

    def __init__(self, definition: OpDef, tensors: Sequence[Tensor | None], device: str, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        named = zip(definition.inputs, tensors, strict=True)
        self._places = tuple(
            place
            for place, (argument, tensor) in enumerate(named)
            if argument.name in definition.autocast_inputs and _is_cast(tensor)
        )

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` of the tensors, given them cast, and called with autocast out of the way."""
        device, dtype, places = self._device, self._dtype, self._places

        def run(*tensors: Tensor | None) -> Any:
            given: list[Any] = list(tensors)
            for place in places:
                given[place] = given[place].to(dtype)
            with out_of_the_way(device):
                return function(*given)

        return run
