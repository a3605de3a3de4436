"""How is a call like one made before run without being resolved, checked and dispatched anew?

A plan is what is left of a call when everything that shapes, types and attributes decide has been decided: the kernel,
its attributes, and the outputs to be allocated. It is kept with a guard, which says whether it holds for the tensors
of a later call. Where nobody listens (no transform, no mode, no tracing, no profiler, no tensor but PyTorch's own) a
call goes straight from the plan to the kernel, under autocast by way of the casts; everywhere else it goes through
``torch.ops``, and the plan is found behind the dispatcher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from mezzotint.errors import ShapeError
from mezzotint.kernels import Kernel, launch
from mezzotint.ops.allocation import memory_format
from mezzotint.ops.casting import KEYS, Run, autocast_dtype, casts
from mezzotint.ops.guard import Guard, guard
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.registration import hashable, is_hashable
from mezzotint.ops.transforms import over_batch, pushed_forward

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

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
_empty_strided = torch.empty_strided
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
    """The plans of one operator.

    A plan is looked up by what tells most calls apart and is cheap to ask for: attributes, sizes of the first input,
    number of elements of a second one, and the state of the thread. It is taken where its guard holds.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._second = _telling_input(operator.definition)
        self._kept: dict[Any, tuple[tuple[Guard, Run], ...]] = {}
        self._dispatched: dict[Any, Run] = {}
        self._count = 0

    def find(self, tensors: Tensors, given: Any) -> Run | None:
        """The plan of such a call, to be called with its tensors; ``None`` when there is none (yet).

        ``given`` stands for the attributes; it is hashable, or else nothing is found.
        """
        if _compiling() or _function_modes() or forward_ad._current_level >= 0 or _profiling():
            return None  # other listeners show in the dispatch keys, at which the guard looks
        try:
            for holds, run in self._kept.get(self._place(tensors, given), ()):
                if holds(*tensors):
                    return run
        except (AttributeError, KeyError, TypeError, RuntimeError):
            return None  # lists as attributes; what is no tensor, has no sizes, or lies where autocast has no rule
        return None

    def _place(self, tensors: Tensors, given: Any) -> tuple[Any, ...]:
        """Where the plans of such calls lie."""
        first, second = tensors[0], tensors[self._second]
        sizes, length, cast = first.shape, second.numel(), autocast_dtype(first)  # type: ignore[union-attr, arg-type]
        return given, sizes, length, cast, _grad_enabled(), _threads(), _deterministic(), launch.epoch

    def call(self, tensors: Tensors, given: Any, attrs: Mapping[str, Any]) -> Any:
        """Make the call with the resolved ``attrs``, and keep the plan under ``given`` where plans may be used."""
        operator = self._operator
        if _compiling():
            return operator.overload(*tensors, **attrs)
        attrs = {**operator.defaults, **attrs}  # a gradient reads those that the caller has left out, too
        if transformed():
            return Transformed.apply(operator, attrs, *tensors)  # type: ignore[no-untyped-call]
        if not is_hashable(given):  # given as lists: the resolved attributes stand for them
            given = hashable(tuple(attrs.items()))
        run = self.find(tensors, given)
        if run is not None:
            return run(*tensors)
        recorded = _grad_enabled() and _any_requires_grad(*tensors)
        if not self._may_be_kept(tensors) or (recorded and operator.definition.gradient_fn is None):
            return operator.overload(*tensors, **attrs)
        cast = casts(operator.definition, tensors, tensors[0])  # type: ignore[arg-type]
        run, outputs = cast(lambda *given: operator.plan(given, attrs))(*tensors)
        if recorded:
            run = _Recording(operator, attrs, run)
        result = (run := cast(run))(*tensors)
        check_results(result, outputs)
        self._keep(tensors, given, run)
        return result

    def _may_be_kept(self, tensors: Tensors) -> bool:
        """Whether nobody listens, and the tensors are PyTorch's own, in ordinary memory, where autocast has a rule."""
        if tensors[0] is None or tensors[self._second] is None or (_autocast() and tensors[0].device.type not in KEYS):
            return False
        if _dispatch_modes() or _function_modes() or _tracing() or _profiling():
            return False
        return all(t is None or (type(t) in (Tensor, Parameter) and t.layout is torch.strided) for t in tensors)

    def _keep(self, tensors: Any, given: Any, run: Run) -> None:
        holds = guard(tensors)
        if holds(*tensors):  # what does not even hold for its own tensors would only lie in the way
            self._make_room()
            place = self._place(tensors, given)
            self._kept[place] = ((holds, run), *self._kept.get(place, ()))

    def keep_dispatched(self, key: Any, run: Run) -> None:
        """Keep a plan for calls that come through the dispatcher, under their whole key."""
        self._make_room()
        self._dispatched[key] = run

    def dispatched(self, key: Any) -> Run | None:
        """The plan that :meth:`keep_dispatched` kept under ``key``."""
        return self._dispatched.get(key)

    def _make_room(self) -> None:
        """The memory of plans is bounded."""
        if self._count >= _KEPT:
            self._kept.clear()
            self._dispatched.clear()
            self._count = 0
        self._count += 1


def _telling_input(definition: OpDef) -> int:
    """The place of the input whose length tells layers apart: that of the nonzeros, or else the second one needed."""
    names = [argument.name for argument in definition.inputs]
    if definition.density_of is not None:
        return names.index(definition.density_of[0])
    required = [place for place, argument in enumerate(definition.inputs) if not argument.optional]
    return required[1] if len(required) > 1 else 0


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


def plan(kernel: Kernel, attrs: Mapping[str, Any], outputs: Sequence[TensorSpec], tensors: Tensors) -> Run:
    """A function of the tensors alone that runs ``kernel`` and lays out what it returns, for tensors like these."""
    compute = kernel.run
    first = next(tensor for tensor in tensors if tensor is not None)
    formats = [memory_format(spec, first) for spec in outputs]
    if kernel.into:
        run = _into(compute, attrs, [_layout(spec, f) for spec, f in zip(outputs, formats, strict=True)], first.device)
        return _resolved(run) if any(t is not None and t.is_neg() for t in tensors) else run
    if len(outputs) > 1 and set(formats) == {torch.contiguous_format}:
        return lambda *tensors: tuple(map(Tensor.contiguous, compute(*tensors, **attrs)))
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


_Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


def _layout(spec: TensorSpec, format_: torch.memory_format) -> _Layout:
    """Sizes, strides and type of an output."""
    return spec.shape, torch.empty(spec.shape, device="meta", memory_format=format_).stride(), spec.dtype


def _into(compute: Run, attrs: Mapping[str, Any], layouts: Sequence[_Layout], device: torch.device) -> Run:
    """Memory for the outputs is asked for by strides, which costs less than by a format."""
    if len(layouts) == 1:
        (shape, strides, dtype) = layouts[0]

        def run(*tensors: Tensor | None) -> Any:
            made = _empty_strided(shape, strides, dtype=dtype, device=device)
            compute(made, *tensors, **attrs)
            return made

        return run

    def run_for_several(*tensors: Tensor | None) -> Any:
        made = tuple([_empty_strided(shape, strides, dtype=dtype, device=device) for shape, strides, dtype in layouts])
        compute(*made, *tensors, **attrs)
        return made

    return run_for_several


def _resolved(run: Run) -> Run:
    """Kernels that read memory by its address: lazily negated tensors are made real before.

    The dispatcher does so, too, before it comes to a kernel; and a guard tells such tensors from others.
    """
    return lambda *tensors: run(*[None if t is None else t.resolve_neg() for t in tensors])


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
