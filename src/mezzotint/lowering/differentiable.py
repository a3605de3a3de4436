"""How does a segment become one call that autograd knows? Native tensors inside, ordinary ones at its border.

Autograd sees a function of the segment's inputs and parameters. The backward pass inside is ours: it frees activations
as it goes, adds gradients up where they meet, and cannot itself be differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.errors import RunError
from mezzotint.kernels import arena, native_layout, passes
from mezzotint.kernels.native_layout import NativeTensor, Sides
from mezzotint.kernels.passes import one_pass
from mezzotint.lowering.border import cell_type, checked_activations, native_type
from mezzotint.lowering.gradients import Gradients
from mezzotint.lowering.steps import ConvStep, TrainStep
from mezzotint.lowering.tapes import Backward, Tape, Tapes, without_leases
from mezzotint.lowering.weights import Weight
from mezzotint.sparse import SparseConv2d


@dataclass(frozen=True)
class Program:
    """A segment's steps.

    Attributes:
        steps: in order.
        inputs: the halo of each input; they are the first slots.
        outputs: the slots that leave.
        slots: how many there are.
    """

    steps: tuple[TrainStep, ...]
    inputs: tuple[Sides, ...]
    outputs: tuple[int, ...]
    slots: int

    def parameters(self) -> list[Tensor | None]:
        """What the steps differentiate for, as it is now, step after step."""
        return [parameter for step in self.steps for parameter in step.parameters]

    @cached_property
    def sparse_layers(self) -> tuple[SparseConv2d, ...]:
        """Whose convolutions the steps are."""
        layers = [step.weights.layer for step in self.steps if isinstance(step, ConvStep)]
        return tuple(layer for layer in layers if isinstance(layer, SparseConv2d))

    @cached_property
    def tapes(self) -> Tapes:
        """Its recorded passes."""
        return Tapes(self.steps)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where each step's parameters lie in :meth:`parameters`: from, to."""
        ends = list(accumulate(len(step.parameters) for step in self.steps))
        return tuple(pairwise([0, *ends]))

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """How often each slot is read, inside and outside."""
        count = [0] * self.slots
        for slot in (*(read for step in self.steps for read in step.reads), *self.outputs):
            count[slot] += 1
        return tuple(count)


class DifferentiableSegment(nn.Module):
    """A segment as a module: ordinary tensors ``[N, C, H, W]`` in and out.

    It holds no parameters: those of its steps belong to the modules that the steps read.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the type of the autocast region or of the inputs."""
        dtype = native_type(inputs)
        cells = cell_type(self.program.sparse_layers, inputs[0].shape[0], dtype)
        checked = [checked_activations(x, cells) for x in inputs]
        parameters = self.program.parameters()
        keep = torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (*checked, *parameters)
        )
        with torch.autocast("cpu", enabled=False):
            results: tuple[Tensor, ...] = _Run.apply(self.program, keep, len(checked), *checked, *parameters)  # type: ignore[no-untyped-call]
        return tuple(result.to(dtype) for result in results)

    def extra_repr(self) -> str:
        """How many steps."""
        return f"steps={len(self.program.steps)}"


@dataclass
class _Kept:
    """What a forward pass leaves to its backward pass.

    Attributes:
        saved: by the steps.
        weights: of the steps.
        tape: that it was recorded on, or done again from.
        lease: of the activations' memory, where it was done again.
    """

    saved: list[Any]
    weights: list[Weight | None]
    tape: Tape | None
    lease: arena.Lease | None = None


class _Run(torch.autograd.Function):
    """One forward pass of a program and, once, its backward pass."""

    @staticmethod
    @one_pass()
    def forward(ctx: Any, program: Program, keep: bool, count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        inputs = [_present(x) for x in tensors[:count]]
        ctx.formats = [_format_of(x) for x in inputs]
        values, kept = _forward(program, inputs, keep)
        outputs = tuple(native_layout.from_native(value, ctx.formats[0]) for value in values)
        if keep:
            ctx.program, ctx.kept = program, kept
            # Autograd watches over them: changed in place between the passes, they make the backward pass an error.
            ctx.save_for_backward(*[tensor for tensor in tensors[count:] if tensor is not None])
        return outputs

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            raise RunError(
                "backward: a second pass through activations that the first one freed. The native layout keeps no graph"
                " (retain_graph); run the forward pass again, or sparsify with layout='plain'."
            )
        with torch.no_grad(), one_pass():
            inputs, parameters = _backward(ctx.program, kept, output_grads, list(ctx.needs_input_grad[3:]))
            formats = zip(inputs, ctx.formats, strict=True)
            left = [None if grad is None else native_layout.from_native(grad, form) for grad, form in formats]
        gradients = (*left, *parameters)
        if torch.is_grad_enabled():  # create_graph: whoever differentiates them is not to take them for constants
            gradients = _Gradients.apply(*[None if grad is None else grad.requires_grad_() for grad in gradients])  # type: ignore[no-untyped-call]
        return (None, None, None, *gradients)


class _Gradients(torch.autograd.Function):
    """What a backward pass made, and an error for who differentiates it."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return gradients

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        raise RunError(
            "backward: a gradient of gradients (create_graph). The native layout has first derivatives alone; sparsify"
            " with layout='plain'."
        )


def _forward(program: Program, inputs: Sequence[Tensor], keep: bool) -> tuple[Sequence[NativeTensor], _Kept]:
    """The native outputs: done again from a tape, or by the steps, which are recorded where that can be of use."""
    weights = [step.weight for step in program.steps] if keep else []
    tape = program.tapes.find(inputs, keep) if passes.is_under_way() else None
    if tape is not None and tape.forward is not None:
        if (lease := tape.lease()) is not None:
            for x, place in zip(inputs, tape.inputs, strict=True):
                native_layout.pack(x, place)
            passes.do_again(tape.forward)
            return tape.outputs, _Kept(list(tape.saved), weights, tape, lease)
        tape = None if tape.is_in_use else Tape(tape.kind, tape.state)
    with ExitStack() as stack:
        if tape is not None:
            stack.enter_context(arena.leaves_footprint(tape.footprint))
        entered = [native_layout.to_native(x, halo) for x, halo in zip(inputs, program.inputs, strict=True)]
        if tape is not None:
            tape.inputs = without_leases(entered)
            tape.forward = stack.enter_context(passes.recorded(x.data for x in entered if not x.is_lent))
        outputs, saved = _run(program, entered, keep)
    if tape is not None:
        tape.outputs, tape.saved = without_leases(outputs), without_leases(saved)
        if not keep:
            program.tapes.remember(tape)
    return outputs, _Kept(saved, weights, tape)


def _run(program: Program, inputs: list[NativeTensor], keep: bool) -> tuple[list[NativeTensor], list[Any]]:
    """All steps: the outputs, and what the steps keep. ``inputs`` is emptied, so that they end when they were read."""
    values = dict(enumerate(inputs))
    inputs.clear()
    left = list(program.readers)
    saved: list[Any] = []
    for step in program.steps:
        values[step.result], kept = step.forward([values[slot] for slot in step.reads], keep)
        saved.append(kept)
        for slot in step.reads:
            left[slot] -= 1
            if left[slot] == 0:
                del values[slot]
    return [values[slot] for slot in program.outputs], saved


_Grads = tuple[Sequence[NativeTensor | None], Sequence[Tensor | None]]
"""Gradients of inputs and of parameters."""


def _backward(program: Program, kept: _Kept, output_grads: Sequence[Tensor | None], needs: list[bool]) -> _Grads:
    """Done again from the tape of the forward pass, or by the steps; recorded if the forward pass was."""
    tape = kept.tape if passes.is_under_way() else None
    kind = (tuple(needs), tuple(grad is not None for grad in output_grads))
    if kept.lease is not None and tape is not None:
        if (known := tape.backward) is not None and known.kind == kind and program.tapes.still(tape):
            for grad, place in zip(output_grads, known.outputs, strict=True):
                if grad is not None and place is not None:
                    native_layout.pack(grad, place)
            passes.do_again(known.recording)
            return known.inputs, _copies(known.parameters)
        program.tapes.forget(tape)
        tape = None
    with ExitStack() as stack:
        if tape is not None:
            stack.enter_context(arena.leaves_footprint(tape.footprint))
        entered = [None if grad is None else native_layout.to_native(grad) for grad in output_grads]
        recording, outputs = None, ()
        if tape is not None:
            outputs = without_leases(entered)
            small = [grad.data for grad in entered if grad is not None and not grad.is_lent]
            recording = stack.enter_context(passes.recorded(small))
        inputs, parameters = _run_back(program, kept, entered, needs)
    if tape is None or recording is None:
        return inputs, parameters
    tape.backward = Backward(kind, recording, outputs, without_leases(inputs), without_leases(parameters))
    if program.tapes.still(tape):
        program.tapes.remember(tape)
    return inputs, _copies(parameters)


def _copies(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """What leaves a recorded pass: its own memory is written to again the next time."""
    passes.settle()
    return [None if gradient is None else gradient.clone() for gradient in gradients]


def _begin(program: Program, saved: Sequence[Any], needs: Sequence[bool]) -> Gradients:
    """The slots whose gradients are wanted: those that depend on anything that needs one."""
    wanted = [False] * program.slots
    wanted[: len(program.inputs)] = needs[: len(program.inputs)]
    first = len(program.inputs)
    for step, (begin, end) in zip(program.steps, program.spans, strict=True):
        own = needs[first + begin : first + end]
        wanted[step.result] = any(own) or any(wanted[slot] for slot in step.reads)
    gradients = Gradients(program.readers, wanted)
    for step, kept in zip(program.steps, saved, strict=True):
        gradients.let_finish(step.result, partial(step.finishing, kept))
    return gradients


def _run_back(program: Program, kept: _Kept, output_grads: list[NativeTensor | None], needs: Sequence[bool]) -> _Grads:
    """All steps, the last first; what a step kept, and ``output_grads``, are freed as soon as they are done with."""
    saved, gradients = kept.saved, _begin(program, kept.saved, needs)
    for slot in reversed(program.outputs):
        if (grad := output_grads.pop()) is None:
            gradients.skip([slot])
        else:
            gradients.add(slot, grad, owned=True)
        del grad
    first = len(program.inputs)
    found: list[list[Tensor | None]] = []
    steps = zip(reversed(program.steps), reversed(kept.weights), reversed(program.spans), strict=True)
    for step, weight, (begin, end) in steps:
        own = saved.pop()
        if gradients.has(step.result):
            found.append(step.backward(own, weight, gradients, needs[first + begin : first + end]))
        else:
            gradients.skip(step.reads)
            found.append([None] * (end - begin))
        gradients.forget(step.result)
    made = [grad for grads in reversed(found) for grad in grads]
    parameters = [grad if need else None for grad, need in zip(made, needs[first:], strict=True)]
    return [_left(gradients, slot) for slot in range(first)], parameters


def _left(gradients: Gradients, slot: int) -> NativeTensor | None:
    """The gradient of an input."""
    if not gradients.wants(slot) or not gradients.has(slot):
        return None
    return gradients.take(slot).tensor


def _format_of(x: Tensor) -> torch.memory_format:
    """What goes out has the format of what came in, as with PyTorch's own layers."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def _present(x: Tensor | None) -> Tensor:
    if x is None:
        raise TypeError("an input of a segment is missing")
    return x
