"""What does a forward do beside computing, and is it left without a trace when it is looked at?

A graph repeats what is computed from tensors. Attributes that a forward writes, numbers that it draws and modes that it
sets are seen here, so that a model which needs them is refused.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn


class Untraceable(Exception):
    """The model cannot be traced; the message is the reason, without a full stop. Never leaves this room."""


#: Where ``fx`` puts tensors that a forward made from nothing.
CONSTANT: Final = "_tensor_constant"


def modes_of_call() -> tuple[object, ...]:
    """What decides beside the inputs: whether gradients are wanted, and the autocast region."""
    autocast = torch.is_autocast_enabled("cpu")
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), autocast and torch.get_autocast_dtype("cpu")


class Untouched:
    """Context in which the model's attributes and the random generators stay as they are.

    What was changed is put back at its end, which raises :class:`Untraceable`: the model's forward does more than a
    graph can repeat.
    """

    def __init__(self, model: nn.Module) -> None:
        self._stores = [(module, store, _Contents(store)) for module in model.modules() for store in _stores(module)]
        self._random = random_state()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        drawn = random_state() != self._random
        if drawn:
            set_random_state(self._random)
        changed = [
            f"{name!r} of {type(module).__name__}"
            for module, store, contents in self._stores
            for name in contents.put_back(store)
            if not name.startswith(CONSTANT)
        ]
        if kind is None and changed:
            raise Untraceable(f"its forward changes the attribute {changed[0]}")
        if kind is None and drawn:
            raise Untraceable("its forward draws random numbers that depend on no tensor, such as torch.rand(1)")


def _stores(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Where a module has its attributes."""
    yield from (vars(module), module._parameters, module._buffers, module._modules)


class _Contents:
    """A store of attributes as it is now: the objects, and what lists, dictionaries and tensors among them hold."""

    def __init__(self, store: dict[str, Any]) -> None:
        self._values = dict(store)
        own = {name: value for name, value in store.items() if not name.startswith("_")}
        self._copies = {name: copy.copy(value) for name, value in own.items() if isinstance(value, (list, dict))}
        self._tensors = {n: (v._version, v.detach().clone()) for n, v in own.items() if _is_plain_tensor(v)}

    def put_back(self, store: dict[str, Any]) -> list[str]:
        """Undo what has changed since; the names of it."""
        changed = [name for name in {**self._values, **store} if self._differs(name, store)]
        for name in changed:
            if name not in self._values:
                del store[name]
                continue
            value = store[name] = self._values[name]
            if isinstance(value, list) and name in self._copies:
                value[:] = self._copies[name]
            elif isinstance(value, dict) and name in self._copies:
                value.clear()
                value.update(self._copies[name])
            elif name in self._tensors:
                value.data.copy_(self._tensors[name][1])
        return changed

    def _differs(self, name: str, store: dict[str, Any]) -> bool:
        if name not in store or name not in self._values or store[name] is not self._values[name]:
            return True
        value = store[name]
        if name in self._copies:
            return _identities(value) != _identities(self._copies[name])
        return name in self._tensors and value._version != self._tensors[name][0]


def _is_plain_tensor(value: object) -> bool:
    """Whether it is a tensor that stand-ins do not replace: neither a parameter nor of a type of its own."""
    return type(value) is Tensor and not value.is_inference()


def _identities(value: list[Any] | dict[Any, Any]) -> list[object]:
    return [id(one) for one in value] if isinstance(value, list) else [(key, id(one)) for key, one in value.items()]


def random_state() -> tuple[object, ...]:
    """Of the generators that a forward may draw from, as something that can be compared."""
    _, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), (np.asarray(keys).tobytes(), *rest), torch.get_rng_state().numpy().tobytes()


def set_random_state(state: tuple[Any, ...]) -> None:
    """The inverse of :func:`random_state`."""
    python, (keys, *rest), ours = state
    random.setstate(python)
    np.random.set_state(("MT19937", np.frombuffer(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(torch.frombuffer(bytearray(ours), dtype=torch.uint8))
