"""Which Python values does a plan rest on, and are they still the same? Attributes that a forward may have read.

A trace has the values of ``self.alpha`` as constants, and a native step those of ``pool.kernel_size``. They are
compared before every call; what a parameter or a buffer holds is read anew anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, fx, nn

from mezzotint.lowering.effects import CONSTANT
from mezzotint.sparse import SparseConv2d

#: What every module has, and what a plan knows of in another way.
_OF_EVERY_MODULE: Final = frozenset({*vars(nn.Module()), "forward"})
_OF_CONVOLUTIONS: Final = ("stride", "padding", "dilation")
#: Of modules that a native step stands for: what it has taken from them.
_TAKEN: Final[Mapping[type[nn.Module], tuple[str, ...]]] = {
    SparseConv2d: _OF_CONVOLUTIONS,
    nn.Conv2d: _OF_CONVOLUTIONS,
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    nn.AdaptiveAvgPool2d: ("output_size",),
}
PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of values that are compared as such."""


class Attributes:
    """Of the modules of ``traced`` that are called, and of those of ``model`` whose forward was followed.

    Args:
        model: as the user has it.
        traced: its graph.
        led: what runs in its place; its parameters and buffers are kept those of the model.
    """

    def __init__(self, model: nn.Module, traced: fx.GraphModule, led: fx.GraphModule) -> None:
        called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
        leaves = [traced.get_submodule(name) for name in called]
        inside = {id(part) for leaf in leaves for part in leaf.modules()}
        followed = [module for module in model.modules() if id(module) not in inside]
        taken = [leaf for leaf in leaves if type(leaf) in _TAKEN]
        read = [
            *((vars(leaf), _TAKEN[type(leaf)]) for leaf in taken),
            *((vars(module), vars(module).keys() - _OF_EVERY_MODULE) for module in followed),
        ]
        self._values = [_Value(store, name) for store, names in read for name in names]
        self._types = [(leaf._parameters, n, p.dtype) for leaf in taken for n, p in leaf.named_parameters()]
        self._tensors = [_Tensor(model, led, str(node.target)) for node in led.graph.nodes if node.op == "get_attr"]

    def hold(self) -> bool:
        """Whether all of them are what they were; parameters and buffers that were replaced are those of now."""
        for read in self._tensors:
            if not read.renew():
                return False
        for value in self._values:
            if (value.store.get(value.name) is not value.was or value.is_open) and not value.holds():
                return False
        for store, name, dtype in self._types:
            if (tensor := store.get(name)) is None or tensor.dtype != dtype:
                return False
        return True


class _Value:
    """An attribute as it was."""

    __slots__ = ("is_open", "name", "store", "token", "was")

    def __init__(self, store: dict[str, Any], name: str) -> None:
        self.store, self.name, self.was = store, name, store.get(name)
        self.token = _token(self.was)
        self.is_open = not _is_closed(self.was)

    def holds(self) -> bool:
        """Whether it computes the same now."""
        return _token(self.store.get(self.name)) == self.token


class _Tensor:
    """A parameter or buffer that a graph reads by its name."""

    def __init__(self, model: nn.Module, led: nn.Module, target: str) -> None:
        path, _, self._name = target.rpartition(".")
        self._led = led.get_submodule(path)
        self._own = None if self._name.startswith(CONSTANT) else model.get_submodule(path)

    def renew(self) -> bool:
        """Let the graph read the model's; False where the model has none any more."""
        if self._own is None:
            return True
        tensor = _held(self._own, self._name)
        if tensor is None:
            return self._name in vars(self._own)  # an ordinary attribute, which is compared as such
        if tensor is not _held(self._led, self._name):
            self._led._parameters.pop(self._name, None)
            self._led._buffers.pop(self._name, None)
            store: dict[str, Any] = self._led._parameters if isinstance(tensor, nn.Parameter) else self._led._buffers
            store[self._name] = tensor
        return True


def _held(module: nn.Module, name: str) -> Tensor | None:
    found = module._parameters.get(name)
    return module._buffers.get(name) if found is None else found


def _is_closed(value: Any) -> bool:
    """Whether it is the same as long as it is this object: no list, and no tuple of lists."""
    return all(map(_is_closed, value)) if type(value) is tuple else type(value) not in (list, dict)


def _token(value: Any) -> object:
    """Equal for what computes the same: plain values, and lists, tuples and dictionaries of them, or one object."""
    kind = type(value)
    if kind in PLAIN:
        return kind, value
    if kind in (list, tuple):
        return kind, tuple(map(_token, value))
    if kind is dict:
        return kind, tuple((key, _token(one)) for key, one in value.items())
    return id(value)
