"""How is a call like one made before run without being resolved, checked and dispatched anew?

A plan is what is left of a call when everything that shapes, types and attributes decide has been decided: the kernel,
its attributes, and the outputs to be allocated. Plans are kept under what they depend on. Where nobody listens (no
transform, no mode, no tracing, no autocast, no profiler, no tensor but PyTorch's own) a call goes straight from the
plan to the kernel; everywhere else it goes through ``torch.ops``, and the plan is found behind the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from mezzotint.errors import ShapeError
from mezzotint.kernels import Kernel, launch
from mezzotint.ops.allocation import memory_format
from mezzotint.ops.opdef import TensorSpec
from mezzotint.ops.registration import hashable
from mezzotint.ops.transforms import over_batch, pushed_forward

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

Run = Callable[..., Any]
Tensors = Sequence[Tensor | None]

#: Plans kept at most by an operator; every topology update makes new ones.
_KEPT = 4096
_JVP = torch._C._functorch.TransformType.Jvp

_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_transform = torch._C._functorch.peek_interpreter_stack
_tracing = torch._C._is_tracing
_autocast = torch._C._is_any_autocast_enabled
_profiling = torch._C._autograd._profiler_enabled
_grad_enabled = torch._C.is_grad_enabled
_any_requires_grad = torch._C._any_requires_grad
_threads = torch.get_num_threads
_deterministic = torch._C._get_deterministic_algorithms
_compiling = torch.compiler.is_dynamo_compiling


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work.

    Raises:
        NotImplementedError: forward mode inside forward mode.
    """
    if _transform() is None:
        return forward_ad._current_level >= 0
    pushes = [level for level in torch._C._functorch.get_interpreter_stack() or () if level.key() == _JVP]
    if len(pushes) > 1:
        raise NotImplementedError(
            "forward mode inside forward mode is not offered by mezzotint's operators; "
            "put jacrev, vjp or grad inside: jacfwd(jacrev(f)) is torch.func.hessian(f)."
        )
    return True


class Plans:
    """The plans of one operator."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._kept: dict[Any, Run] = {}

    def find(self, tensors: Tensors, given: Any) -> Run | None:
        """The plan of such a call, to be called with its tensors; ``None`` when there is none (yet).

        ``given`` stands for the attributes; it is hashable, or else nothing is found.
        """
        if _compiling():
            return None
        try:
            return self._kept.get(self.key(tensors, given))
        except (TypeError, RuntimeError):  # attributes given as lists; tensors without strides
            return None

    def key(self, tensors: Tensors, given: Any) -> Any:
        """What a plan for this call depends on, or ``None`` where the call must go through the dispatcher."""
        first = tensors[0]
        if (
            first is None
            or _dispatch_modes()
            or _function_modes()
            or _autocast()
            or forward_ad._current_level >= 0
            or _transform() is not None
            or _tracing()
            or _profiling()
        ):
            return None
        key = [
            given,
            _grad_enabled() and _any_requires_grad(*tensors),
            first.stride(),
            first.is_cpu or first.device,
            _threads(),
            _deterministic(),
            launch.epoch,
        ]
        for tensor in tensors:
            if tensor is None:
                key.append(None)
            elif type(tensor) is Tensor or type(tensor) is Parameter:
                key += (tensor.shape, tensor.dtype)
            else:
                return None
        return tuple(key)

    def call(self, tensors: Tensors, given: Any, attrs: Mapping[str, Any]) -> Any:
        """Make the call with the resolved ``attrs``, and keep the plan under ``given`` where plans may be used."""
        operator = self._operator
        if _compiling():
            return operator.overload(*tensors, **attrs)
        attrs = {**operator.defaults, **attrs}  # a gradient reads those that the caller has left out, too
        if transformed():
            return Transformed.apply(operator, attrs, *tensors)  # type: ignore[no-untyped-call]
        strided = all(t is None or t.layout is torch.strided for t in tensors)
        key = self.key(tensors, given) if strided else None
        if key is None:
            return operator.overload(*tensors, **attrs)
        try:
            kept = self._kept.get(key)
        except TypeError:  # given as lists: the resolved attributes stand for them
            key = self.key(tensors, hashable(tuple(attrs.items())))
            kept = self._kept.get(key)
        if kept is not None:
            return kept(*tensors)
        if key[1] and operator.definition.gradient_fn is None:
            return operator.overload(*tensors, **attrs)
        run, outputs = operator.plan(tensors, attrs)
        if key[1]:
            run = _Recording(operator, attrs, run)
        result = run(*tensors)
        check_results(result, outputs)
        self.keep(key, run)
        return result

    def keep(self, key: Any, run: Run) -> None:
        """Keep a plan; the memory of them is bounded."""
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = run

    def kept(self, key: Any) -> Run | None:
        """The plan kept under ``key``."""
        return self._kept.get(key)


def key_behind_the_dispatcher(inputs: Sequence[Any], attrs: Sequence[Any]) -> Any:
    """What a plan depends on where no transform and no mode is left, or ``None`` where none can be kept."""
    first = inputs[0]
    if not isinstance(first, Tensor):
        return None
    given = hashable(attrs)
    key = ["dispatched", given, first.stride(), first.device, _threads(), _deterministic(), launch.epoch]
    for tensor in inputs:
        if tensor is None:
            key.append(None)
        elif isinstance(tensor, Tensor):
            key += (tensor.shape, tensor.dtype)
        else:
            return None
    return tuple(key)


def plan(kernel: Kernel, attrs: Mapping[str, Any], outputs: Sequence[TensorSpec], first: Tensor) -> Run:
    """A function of the tensors alone that runs ``kernel`` and lays out what it returns."""
    compute = kernel.run
    formats = [memory_format(spec, first) for spec in outputs]
    if kernel.into:
        return _into(kernel.run, attrs, outputs, formats)
    if len(outputs) > 1 and set(formats) == {torch.contiguous_format}:
        return lambda *tensors: tuple([result.contiguous() for result in compute(*tensors, **attrs)])
    if len(outputs) > 1:
        return lambda *tensors: tuple(
            [result.contiguous(memory_format=f) for result, f in zip(compute(*tensors, **attrs), formats, strict=True)]
        )
    format_ = formats[0]
    if format_ is torch.contiguous_format:  # said by leaving it out, which is half the price

        def run(*tensors: Tensor | None) -> Any:
            return compute(*tensors, **attrs).contiguous()

        return run
    return lambda *tensors: compute(*tensors, **attrs).contiguous(memory_format=format_)


def _into(
    compute: Run, attrs: Mapping[str, Any], outputs: Sequence[TensorSpec], formats: Sequence[torch.memory_format]
) -> Run:
    """Kernels of this kind read memory by its address: a lazily negated tensor must be made real before."""

    def run(*tensors: Tensor | None) -> Any:
        real = [t if t is None or not t.is_neg() else t.resolve_neg() for t in tensors]
        device = next(t.device for t in tensors if t is not None)
        made = tuple(
            torch.empty(spec.shape, dtype=spec.dtype, device=device, memory_format=format_)
            for spec, format_ in zip(outputs, formats, strict=True)
        )
        compute(*made, *real, **attrs)
        return made[0] if len(made) == 1 else made

    return run


def as_tuple(result: Any) -> tuple[Any, ...]:
    """The outputs of a call as a tuple, also where there is one."""
    return result if isinstance(result, tuple) else (result,)


def check_results(result: Any, outputs: Sequence[TensorSpec]) -> None:
    """A kernel must keep the declaration's promise; asked at the first run of each plan."""
    for made, spec in zip(as_tuple(result), outputs, strict=True):
        if tuple(made.shape) != tuple(spec.shape) or made.dtype != spec.dtype:
            raise ShapeError(
                f"a kernel returned {list(made.shape)} {made.dtype}, "
                f"the declaration says {list(spec.shape)} {spec.dtype}."
            )


class _Recording:
    """A plan whose call autograd is told of, without the dispatcher."""

    __slots__ = ("attrs", "operator", "run")

    def __init__(self, operator: Operator, attrs: Mapping[str, Any], run: Run) -> None:
        self.operator, self.attrs, self.run = operator, attrs, run

    def __call__(self, *tensors: Tensor | None) -> Any:
        return _Recorded.apply(self, *tensors)  # type: ignore[no-untyped-call]


class _Recorded(torch.autograd.Function):
    """The eager call of a plan: nothing but the kernel and what the gradient needs."""

    @staticmethod
    def forward(ctx: Any, recording: _Recording, *tensors: Tensor | None) -> Any:
        result = recording.run(*tensors)
        ctx.recording = recording
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *recording.operator.kept_outputs(result))
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        recording = ctx.recording
        return (
            None,
            *recording.operator.gradients(recording.attrs, ctx.saved_tensors, ctx.needs_input_grad[1:], grads),
        )


class Transformed(torch.autograd.Function):
    """The call under ``torch.func`` (grad, vjp, vmap, jvp and what is made of them) and under forward-mode."""

    @staticmethod
    def forward(operator: Operator, attrs: Mapping[str, Any], *tensors: Tensor | None) -> Any:
        return operator.overload(*tensors, **attrs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.operator, ctx.attrs, *tensors = inputs
        ctx.set_materialize_grads(False)
        saved = (*tensors, *ctx.operator.kept_outputs(output))
        ctx.outputs = [(made.shape, made.dtype, made.device) for made in as_tuple(output)]
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return (None, None, *ctx.operator.gradients(ctx.attrs, ctx.saved_tensors, ctx.needs_input_grad[2:], grads))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return pushed_forward(ctx.operator, ctx.attrs, ctx.saved_tensors, tangents[2:], ctx.outputs)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], operator: Operator, attrs: Mapping[str, Any], *tensors: Tensor | None
    ) -> Any:
        return over_batch(operator, info.batch_size, in_dims[2:], attrs, tensors)
