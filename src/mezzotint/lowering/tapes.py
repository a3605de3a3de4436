"""When may a segment's pass be done again without Python going through its steps? While all it rests on is the same.

The first pass of its kind is recorded (:class:`mezzotint.kernels.recording.Recording`). A recording is right as long as
the inputs are of the same shapes and type, every tensor of the model lies where it lay, modules are in the same modes,
the same dense windows are open, and nothing else lies in the memory that the activations had. All of that is looked at
before it is done again. Otherwise the pass goes through the steps, and is recorded anew.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mezzotint.kernels import arena, native
from mezzotint.kernels.native_layout import NativeTensor
from mezzotint.kernels.recording import Recording

if TYPE_CHECKING:
    from mezzotint.lowering.steps import TrainStep

#: Remembered for a segment: training and evaluation, with full and last batches.
_REMEMBERED = 4

Kind = tuple[object, ...]
State = tuple[object, ...]


@dataclass(frozen=True)
class Backward:
    """A recorded backward pass.

    Attributes:
        kind: which gradients came and which were wanted.
        recording: from the gradients of the outputs to those of inputs and parameters.
        outputs: where the gradients of the outputs go, ``None`` for those that did not come.
        inputs, parameters: where the gradients lie afterwards.
    """

    kind: Kind
    recording: Recording
    outputs: tuple[NativeTensor | None, ...]
    inputs: tuple[NativeTensor | None, ...]
    parameters: tuple[Tensor | None, ...]


@dataclass
class Tape:
    """A recorded pass. Its activations lie in the footprint, which somebody else has to lease.

    Attributes:
        kind, state: what it rests on; see :class:`Tapes`.
        footprint: of the forward pass and the backward pass.
        forward: from the native inputs to the native outputs.
        inputs, outputs: of the forward pass.
        saved: what the steps keep for the backward pass.
        backward: ``None`` before there was one, or when there will be none.
    """

    kind: Kind
    state: State
    footprint: arena.Footprint = field(default_factory=arena.Footprint)
    forward: Recording | None = None
    inputs: tuple[NativeTensor, ...] = ()
    outputs: tuple[NativeTensor, ...] = ()
    saved: tuple[Any, ...] = ()
    backward: Backward | None = None

    _lease: weakref.ref[arena.Lease] | None = None

    def is_repeatable(self, outside: Sequence[Tensor | None]) -> bool:
        """Whether it would do the same again, with the tensors ``outside`` where they are."""
        if self.forward is None or not self.forward.needs_only(outside):
            return False
        if (back := self.backward) is None:
            return True
        known = (*outside, *self.forward.made_by_it)
        return back.recording.needs_only(known) and all(map(back.recording.writes, back.parameters))

    @property
    def is_in_use(self) -> bool:
        """Whether a forward pass was done again, and its activations are still wanted."""
        return self._lease is not None and self._lease() is not None

    def lease(self) -> arena.Lease | None:
        """The memory that it needs, or ``None`` where anything else lies in it."""
        lease = arena.take_again(self.footprint)
        self._lease = None if lease is None else weakref.ref(lease)
        return lease


class Tapes:
    """The recorded passes of a segment, by kind: shapes, type, whether a backward pass follows, threads and kernels."""

    def __init__(self, steps: Sequence[TrainStep]) -> None:
        self._steps = steps
        self._known: OrderedDict[Kind, Tape] = OrderedDict()

    def find(self, inputs: Sequence[Tensor], keep: bool) -> Tape | None:
        """The tape of such a pass: a whole one, or a new one to be recorded; ``None`` where recording was in vain."""
        shapes = tuple(x.shape for x in inputs)
        kind = (keep, inputs[0].dtype, shapes, native.threads(), native.isa())
        state = self.state()
        tape = self._known.get(kind)
        if tape is None or tape.state != state:
            self._known.pop(kind, None)
            return Tape(kind, state)
        self._known.move_to_end(kind)
        return tape if tape.forward is not None else None

    def still(self, tape: Tape) -> bool:
        """Whether the model is what it was when the tape began."""
        return tape.state == self.state()

    def remember(self, tape: Tape) -> None:
        """From now on the pass is done again from ``tape``, which is whole, unless it differs each time."""
        outside = [tensor for step in self._steps for tensor in step.outside]
        self._known[tape.kind] = tape if tape.is_repeatable(outside) else Tape(tape.kind, tape.state)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, tape: Tape) -> None:
        """Never again."""
        if self._known.get(tape.kind) is tape:
            del self._known[tape.kind]

    def state(self) -> State:
        """What calls depend on beside the inputs: where tensors lie, and the modes of modules."""
        found: list[object] = []
        for step in self._steps:
            for tensor in step.outside:
                if tensor is None:
                    found.append(None)
                else:
                    found += (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            found.append(step.modes)
        return tuple(found)


def without_leases(value: Any, twins: dict[int, NativeTensor] | None = None) -> Any:
    """``value``, with all native tensors in it, however deep, as twins that keep nobody from their memory.

    Args:
        twins: of tensors that were met already.
    """
    twins = {} if twins is None else twins
    if isinstance(value, NativeTensor):
        if (twin := twins.get(id(value))) is None:
            twin = twins[id(value)] = value.without_lease()
        return twin
    if isinstance(value, Tensor):
        return arena.without_lease(value)
    if isinstance(value, (tuple, list)):
        return tuple(without_leases(each, twins) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{each.name: without_leases(getattr(value, each.name), twins) for each in fields(value)})
    return value
