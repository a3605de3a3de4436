"""How does a graph of PyTorch's modules grow, operator by operator? Each is tried, folded if constant, and named."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from mezzotint.deploy.onnx.foresight import foreseen
from mezzotint.deploy.onnx.freed import FreedBatch
from mezzotint.deploy.onnx.value import TRIALS, Numbers, Refused, Value, size_in_bytes, tensors_of
from mezzotint.errors import first_line

_COMPUTED_LIMIT: Final = 1 << 30
"""Bytes of all constants that a model may have computed when it is loaded."""
_RESULT_LIMIT: Final = 1 << 32
"""Bytes of one result for two or three images; more is no convolutional network but a damaged file."""

_STORED: Final = (torch.uint16, torch.uint32, torch.uint64)

_TAKEN: Final = frozenset(
    {*keyword.kwlist, *dir(builtins), "self", "torch", "operator", "mezzotint", "device", "inf", "nan"}
)
"""Names that mean something else in the code that ``torch.fx`` writes."""

Target = Callable[..., Any]


class Builder:
    """Makes the graph; its modules and constants hang on ``root``.

    Attributes:
        freed: the batch, where the model was written for a fixed one and is to take any.
    """

    def __init__(self) -> None:
        self.graph, self.root = fx.Graph(), nn.Module()
        self.freed: FreedBatch | None = None
        self._folded = 0
        self._names: set[str] = set()

    def input(self, name: str, samples: tuple[Tensor, ...]) -> Value:
        """An input of the network; ``samples`` are on the device "meta"."""
        return Value(samples, node=self.graph.placeholder(self.fresh(name)))

    def constant(self, tensor: Tensor) -> Value:
        """A tensor that is the same whatever the input."""
        return Value((tensor,) * TRIALS, constant=tensor)

    def emit(self, target: Target | nn.Module, *args: Any, name: str = "", **kwargs: Any) -> Value:
        """The result of a function or module on values, numbers and lists of those.

        Raises:
            Refused: it does not work, or its results are beyond all measure.
        """
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Value | Numbers)]
        _check_types([leaf for leaf in leaves if isinstance(leaf, Value)], target)
        if all(isinstance(leaf, Value) and leaf.constant is not None for leaf in leaves):
            return self._fold(target, args, kwargs)
        samples = tuple(_tried(target, args, kwargs, trial) for trial in range(TRIALS))
        for sample in samples:
            if size_in_bytes(tensors_of(sample)) > _RESULT_LIMIT:
                raise Refused(f"its result would have the shape {list(tensors_of(sample)[0].shape)}")
        found = Value(samples)
        if isinstance(samples[0], Tensor) and found.known and torch.equal(samples[0], samples[1]):
            found.constant = samples[0]
        else:
            found.node = self._call(target, args, kwargs, name)
        return found

    def read(self, value: Value, name: str = "constant") -> fx.Node:
        """The node of a value; a constant is stored under its name first."""
        if value.node is None:
            if value.constant is None:
                raise Refused("it reads what has no value")
            place = self.fresh(name)
            self.root.register_buffer(place, value.constant)
            value.node = self.graph.get_attr(place)
        return value.node

    def fresh(self, name: str) -> str:
        """An identifier that nothing of the graph has yet, as near to ``name`` as can be."""
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        plain = f"{plain}_" if plain in _TAKEN or hasattr(nn.Module, plain) else plain
        found, number = plain, 1
        while found in self._names:
            found, number = f"{plain}_{number}", number + 1
        self._names.add(found)
        return found

    def _fold(self, target: Target | nn.Module, args: Any, kwargs: Any) -> Value:
        """Computed now, after a look at how much memory that takes."""
        self._folded += size_in_bytes(tensors_of(_called(target, *_filled(args, kwargs, 0), meta=True)))
        if self._folded > _COMPUTED_LIMIT:
            raise Refused(f"the model's constants would take more than {_COMPUTED_LIMIT >> 20} MiB")
        result = _called(target, *_filled(args, kwargs, 0), meta=False)
        return self.constant(result) if isinstance(result, Tensor) else Value((result,) * TRIALS)

    def _call(self, target: Target | nn.Module, args: Any, kwargs: Any, name: str) -> fx.Node:
        filled_args, filled_kwargs = pytree.tree_map(self._argument, (args, kwargs))
        if isinstance(target, nn.Module):
            place = self.fresh(name or type(target).__name__.lower())
            self.root.add_module(place, target)
            return self.graph.call_module(place, filled_args, filled_kwargs)
        return self.graph.call_function(target, filled_args, filled_kwargs)

    def _argument(self, leaf: Any) -> Any:
        return (
            self.read(leaf.value if isinstance(leaf, Numbers) else leaf) if isinstance(leaf, Value | Numbers) else leaf
        )


def parts(whole: Value, builder: Builder, count: int, pick: Target) -> list[Value]:
    """The results of an operator that has several; ``pick(tuple, i)`` takes one at run time."""
    found = []
    for i in range(count):
        samples = tuple(sample[i] for sample in whole.samples)
        if whole.node is None:
            found.append(builder.constant(samples[0]))
        else:
            found.append(Value(samples, node=builder.graph.call_function(pick, (whole.node, i))))
    return found


def _check_types(values: Sequence[Value], target: Target | nn.Module) -> None:
    for value in values:
        if isinstance(value.samples[0], Tensor) and value.dtype in _STORED and target is not Tensor.to:
            raise Refused(f"PyTorch stores {value.dtype} but has no arithmetic for it")


def _filled(args: Any, kwargs: Any, trial: int) -> tuple[Any, Any]:
    def fill(leaf: Any) -> Any:
        if isinstance(leaf, Numbers):
            return leaf.value.samples[trial].reshape(-1).tolist()
        return leaf.samples[trial] if isinstance(leaf, Value) else leaf

    filled: tuple[Any, Any] = pytree.tree_map(fill, (args, kwargs))
    return filled


def _tried(target: Target | nn.Module, args: Any, kwargs: Any, trial: int) -> Any:
    """What comes out in one trial; without memory, unless all follows from shapes."""
    given = _filled(args, kwargs, trial)
    meta = any(tensor.is_meta for tensor in tensors_of(given))
    if not meta and size_in_bytes(tensors_of(_called(target, *given, meta=True))) > _COMPUTED_LIMIT:
        raise Refused("it computes a shape of more numbers than a machine can hold")
    return _called(target, *given, meta=meta)


def _called(target: Target | nn.Module, args: Any, kwargs: Any, *, meta: bool) -> Any:
    state: dict[str, Tensor] = {}
    if meta and (found := foreseen(target, args)) is not None:
        return found
    if meta:
        args, kwargs = pytree.tree_map(
            lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, (args, kwargs)
        )
        if isinstance(target, nn.Module):
            state = {name: tensor.to("meta") for name, tensor in target.state_dict(keep_vars=True).items()}
    try:
        with torch.no_grad():
            return (
                functional_call(target, state, args, kwargs)
                if state and isinstance(target, nn.Module)
                else target(*args, **kwargs)
            )
    except (
        RuntimeError,
        ValueError,
        TypeError,
        IndexError,
        OverflowError,
        NotImplementedError,
        ArithmeticError,
    ) as error:
        raise Refused(first_line(error)) from error
