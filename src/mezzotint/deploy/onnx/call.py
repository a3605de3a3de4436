"""How does an operator read its node? Settings and inputs by name, with types checked and nothing overlooked."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.deploy.onnx import schema, tensors
from mezzotint.deploy.onnx.builder import Builder, parts
from mezzotint.deploy.onnx.freed import FreedBatch
from mezzotint.deploy.onnx.value import Numbers, Refused, Value
from mezzotint.deploy.onnx.wire import Malformed

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7


class Call:
    """A node that is about to be translated.

    Attributes:
        opset: version of the operators that the model was written for.
        inputs: what it reads; None for an optional input that was left out.
        outputs: how many results somebody may read.
    """

    def __init__(self, node: schema.Node, opset: int, inputs: Sequence[Value | None], builder: Builder) -> None:
        self.op, self.opset, self.inputs, self._builder = node.op_type, opset, tuple(inputs), builder
        self.outputs = max((place for place, name in enumerate(node.output, 1) if name), default=0)
        self._attributes = {attribute.name: attribute for attribute in node.attribute}
        self._read: set[str] = set()
        self._hint = _hint(node)

    @property
    def freed(self) -> FreedBatch | None:
        """See :class:`Builder`."""
        return self._builder.freed

    def value(self, place: int) -> Value:
        """An input that must be there."""
        found = self.optional(place)
        if found is None:
            raise Refused(f"its input {place} is missing")
        return found

    def optional(self, place: int) -> Value | None:
        """An input that may be left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def const(self, place: int) -> Tensor:
        """An input that must be constant."""
        found = self.value(place).constant
        if found is None:
            raise Refused(f"its input {place} is computed by the network, and must be constant")
        return found

    def scalar(self, place: int) -> float:
        """An input that must be one constant number."""
        found = self.const(place)
        if found.numel() != 1:
            raise Refused(f"its input {place} has the shape {list(found.shape)}, and one number belongs there")
        return float(found)

    def numbers(self, place: int) -> list[int] | Numbers | None:
        """Whole numbers that may be computed from shapes; None where the input is left out."""
        found = self.optional(place)
        if found is None:
            return None
        if found.constant is not None:
            return self._listed(found.constant)
        if not found.known or found.dtype not in (torch.int32, torch.int64):
            raise Refused(f"its input {place} is computed from the input's numbers, and not from sizes alone")
        return Numbers(found)

    def fixed(self, place: int) -> list[int] | None:
        """Whole numbers that must be constant; None where the input is left out."""
        return None if self.optional(place) is None else self._listed(self.const(place))

    def integer(self, name: str, default: int) -> int:
        """A whole number."""
        found = self._attribute(name, _INT)
        return default if found is None else int(found.i)

    def flag(self, name: str, default: bool = False) -> bool:
        """A whole number that means yes or no."""
        return bool(self.integer(name, int(default)))

    def ints(self, name: str) -> list[int] | None:
        """Whole numbers."""
        found = self._attribute(name, _INTS)
        return None if found is None else [int(number) for number in found.ints]

    def real(self, name: str, default: float) -> float:
        """A number."""
        found = self._attribute(name, _FLOAT)
        return default if found is None else float(found.f)

    def floats(self, name: str) -> list[Any] | None:
        """Numbers."""
        found = self._attribute(name, _FLOATS)
        return None if found is None else [float(number) for number in found.floats]

    def text(self, name: str, default: str) -> str:
        """A word."""
        found = self._attribute(name, _STRING)
        return default if found is None else bytes(found.s).decode("utf-8", "replace")

    def tensor(self, name: str) -> Tensor | None:
        """A tensor, which lies in the file itself."""
        found = self._attribute(name, _TENSOR)
        if found is None or found.t is None:
            return None
        try:
            return tensors.read_tensor(found.t, None)
        except Malformed as error:
            raise Refused(f"its {name} holds {error}") from error

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """A word out of several."""
        found = self.text(name, default)
        if found not in allowed:
            raise Refused(f"its {name} is {found!r}, and none of {', '.join(allowed)}")
        return found

    def has(self, name: str) -> bool:
        """Whether the node has that attribute."""
        return name in self._attributes

    def refuse_outputs(self, most: int) -> None:
        """Results beyond the first ``most`` are for training, or not there."""
        if self.outputs > most:
            raise Refused(f"{self.outputs} results are read, of which only {most} can be computed")

    def emit(self, target: Callable[..., Any] | nn.Module, *args: Any, **kwargs: Any) -> Value:
        """See :meth:`Builder.emit`; a module is named after the node's weight, or the node."""
        return self._builder.emit(target, *args, name=self._hint, **kwargs)

    def split(self, whole: Value, count: int) -> list[Value]:
        """The single results of a call that yields a tuple."""
        return parts(whole, self._builder, count, operator.getitem)

    def constant(self, tensor: Tensor) -> Value:
        """A tensor as a value."""
        return self._builder.constant(tensor)

    def overlooked(self) -> list[str]:
        """Attributes of the node that nobody read."""
        return sorted(self._attributes.keys() - self._read)

    def _attribute(self, name: str, kind: int) -> schema.Attribute | None:
        self._read.add(name)
        found = self._attributes.get(name)
        if found is not None and found.type != kind:
            raise Refused(f"its {name} has the type {found.type}, and {kind} belongs there")
        return found

    def _listed(self, tensor: Tensor) -> list[int]:
        if tensor.dtype not in (torch.int32, torch.int64) or tensor.dim() > 1 or tensor.numel() > 64:
            raise Refused(f"it takes {tensor.dtype} numbers of the shape {list(tensor.shape)} for sizes")
        return [int(number) for number in tensor.reshape(-1).tolist()]


def _hint(node: schema.Node) -> str:
    """What a module for the node is called: as its weight without the last part, or as the node."""
    weight = node.input[1] if len(node.input) > 1 else ""
    owner, _, last = weight.rpartition(".")
    return owner if owner and last == "weight" else (node.name or node.op_type)
