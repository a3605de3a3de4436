"""What does a forward do beside computing, and is it left without a trace when it is looked at?

A graph repeats what is computed from tensors. Attributes that a forward writes, numbers that it draws and modes that it
sets are seen here, so that a model which needs them is refused.
"""

from __future__ import annotations

import copy
import random
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
        self._stores = [
            # Buffers have stand-ins, and are not written to.
            (module, store, _Contents(store, numbers=store is vars(module)))
            for module in model.modules()
            for store in (vars(module), module._parameters, module._buffers, module._modules)
        ]
        self._generators = Generators()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        drawn = self._generators.have_moved()
        if drawn:
            self._generators.put_back()
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


class _Contents:
    """A store of attributes as it is now: the objects, and what lists, dictionaries and tensors among them hold.

    Args:
        store: name -> attribute.
        numbers: whether tensors among them may be written to.
    """

    def __init__(self, store: dict[str, Any], *, numbers: bool) -> None:
        self._values = dict(store)
        own = {name: value for name, value in store.items() if not name.startswith("_")}
        self._copies = {name: copy.copy(value) for name, value in own.items() if isinstance(value, (list, dict))}
        tensors = {name: value for name, value in own.items() if numbers and _is_plain_tensor(value)}
        self._tensors = {name: (value._version, value.detach().clone()) for name, value in tensors.items()}

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


class Generators:
    """The generators of random numbers that a forward may draw from, as they are when this is made."""

    def __init__(self) -> None:
        self._python, self._torch = random.getstate(), torch.get_rng_state()
        self._numpy = np.random.get_state(legacy=False)

    def have_moved(self) -> bool:
        """Whether somebody has drawn since."""
        return (
            random.getstate() != self._python
            or not torch.equal(torch.get_rng_state(), self._torch)
            or _frozen(np.random.get_state(legacy=False)) != _frozen(self._numpy)
        )

    def put_back(self) -> None:
        """Let them draw the same numbers again."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)


def _frozen(state: Any) -> object:
    """Of NumPy, as something that can be compared."""
    if isinstance(state, dict):
        return {key: _frozen(value) for key, value in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state
