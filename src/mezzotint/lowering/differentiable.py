"""How does a segment become one call that autograd knows? Native tensors inside, ordinary ones at its border.

Autograd sees a function of the segment's inputs and parameters. The backward pass inside is ours: it frees activations
as it goes, adds gradients up where they meet, and cannot itself be differentiated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mezzotint.errors import RunError
from mezzotint.kernels import native_layout
from mezzotint.kernels.native_layout import NativeTensor, Sides
from mezzotint.kernels.passes import one_pass
from mezzotint.lowering.border import checked_activations, native_type
from mezzotint.lowering.gradients import Gradients
from mezzotint.lowering.steps import TrainStep


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
        checked = [checked_activations(x, dtype) for x in inputs]
        parameters = self.program.parameters()
        keep = torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (*checked, *parameters)
        )
        with torch.autocast("cpu", enabled=False):
            results: tuple[Tensor, ...] = _Run.apply(self.program, keep, len(checked), *checked, *parameters)  # type: ignore[no-untyped-call]
        return results

    def extra_repr(self) -> str:
        """How many steps."""
        return f"steps={len(self.program.steps)}"


class _Run(torch.autograd.Function):
    """One forward pass of a program and, once, its backward pass."""

    @staticmethod
    @one_pass()
    def forward(ctx: Any, program: Program, keep: bool, count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        values: dict[int, NativeTensor] = {}
        left = list(program.readers)
        for slot, (x, halo) in enumerate(zip(tensors[:count], program.inputs, strict=True)):
            values[slot] = native_layout.to_native(_present(x), halo)
        saved: list[Any] = []
        for step in program.steps:
            values[step.result], kept = step.forward([values[slot] for slot in step.reads], keep)
            saved.append(kept)
            for slot in step.reads:
                left[slot] -= 1
                if left[slot] == 0:
                    del values[slot]
        ctx.formats = [_format_of(_present(x)) for x in tensors[:count]]
        outputs = tuple(native_layout.from_native(values[slot], ctx.formats[0]) for slot in program.outputs)
        if keep:
            ctx.program, ctx.saved = program, saved
            # Autograd watches over them: changed in place between the passes, they make the backward pass an error.
            ctx.save_for_backward(*[tensor for tensor in tensors[count:] if tensor is not None])
        return outputs

    @staticmethod
    @once_differentiable
    @one_pass()
    def backward(ctx: Any, *output_grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        program: Program = ctx.program
        saved, ctx.saved = ctx.saved, None
        if saved is None:
            raise RunError(
                "backward: a second pass through activations that the first one freed. The native layout keeps no graph"
                " (retain_graph); run the forward pass again, or sparsify with layout='plain'."
            )
        needs = list(ctx.needs_input_grad[3:])
        gradients = _begin(program, saved, needs)
        for slot, grad in zip(program.outputs, output_grads, strict=True):
            if grad is None:
                gradients.skip([slot])
            else:
                gradients.add(slot, native_layout.to_native(grad), owned=True)
        parameters = _run_back(program, saved, gradients, needs[len(program.inputs) :])
        inputs = [_left(gradients, slot, form) for slot, form in enumerate(ctx.formats)]
        return (None, None, None, *inputs, *parameters)


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


def _run_back(program: Program, saved: list[Any], gradients: Gradients, needs: Sequence[bool]) -> list[Tensor | None]:
    """All steps, the last first; what a step kept is freed as soon as it is done."""
    found: list[list[Tensor | None]] = []
    for step, (begin, end) in zip(reversed(program.steps), reversed(program.spans), strict=True):
        kept = saved.pop()
        if gradients.has(step.result):
            found.append(step.backward(kept, gradients, needs[begin:end]))
        else:
            gradients.skip(step.reads)
            found.append([None] * (end - begin))
        gradients.forget(step.result)
    made = [grad for grads in reversed(found) for grad in grads]
    return [grad if need else None for grad, need in zip(made, needs, strict=True)]


def _left(gradients: Gradients, slot: int, memory_format: torch.memory_format) -> Tensor | None:
    """The gradient of an input, as an ordinary tensor."""
    if not gradients.wants(slot) or not gradients.has(slot):
        return None
    return native_layout.from_native(gradients.take(slot).tensor, memory_format)


def _format_of(x: Tensor) -> torch.memory_format:
    """What goes out has the format of what came in, as with PyTorch's own layers."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def _present(x: Tensor | None) -> Tensor:
    if x is None:
        raise TypeError("an input of a segment is missing")
    return x
