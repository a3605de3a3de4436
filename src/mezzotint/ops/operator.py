"""How does a declared operator run? Its kernels, its calls, and its compile-down to ``torch.library``.

From the one declaration come the torch schema, the fake kernel, the output allocation, the autograd formula, the
autocast rule and the check of every new problem. A call costs one dispatcher hop; the choice of the kernel is
remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_autograd, register_fake

from mezzotint.errors import NotRegistered, ShapeError, message, suggest
from mezzotint.kernels import KERNELS, Kernel, Problem, launch
from mezzotint.kernels.decision import Decision
from mezzotint.ops.grammar import Argument, Attr
from mezzotint.ops.opdef import OpDef, TensorSpec

NAMESPACE = "mezzotint"
_LIBRARY = Library(NAMESPACE, "FRAGMENT")
_SCHEMA_TYPES = {"string": "str", "int": "SymInt", "float": "float", "bool": "bool", "type": "ScalarType"}
_AUTOCAST_KEYS = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


class Call:
    """A forward call as its gradient sees it: inputs and attributes by name, and which inputs need a gradient."""

    def __init__(
        self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any], needed: Mapping[str, bool]
    ) -> None:
        self.inputs = inputs
        self.attrs = attrs
        self._needed = needed

    def __getitem__(self, name: str) -> Any:
        """Input or attribute ``name``."""
        return self.inputs[name] if name in self.inputs else self.attrs[name]

    def needs(self, name: str) -> bool:
        """Whether the input ``name`` needs a gradient."""
        return self._needed[name]


class Operator:
    """A registered operator. Call it with tensors in declared order and attributes by keyword."""

    def __init__(self, definition: OpDef) -> None:
        self.definition = definition
        self.name = definition.name
        self._input_names = tuple(argument.name for argument in definition.inputs)
        self._attrs = tuple(definition.passed_attrs())
        self._overload: Any = None
        self._checked: dict[Problem, tuple[TensorSpec, ...]] = {}

    @property
    def schema(self) -> str:
        """The ``torch.library`` schema made from the declaration."""
        inputs = [f"Tensor{'?' if argument.optional else ''} {argument.name}" for argument in self.definition.inputs]
        attrs = [_schema_attr(attr) for attr in self._attrs]
        outputs = ", ".join("Tensor" for _ in self.definition.outputs)
        returns = outputs if len(self.definition.outputs) == 1 else f"({outputs})"
        return f"{self.name}({', '.join([*inputs, *attrs])}) -> {returns}"

    def __call__(self, *inputs: Tensor | None, **attrs: Any) -> Any:
        """Run the operator; autograd, autocast, fake tensors and compilation all go through ``torch.ops``."""
        unknown = next((name for name in attrs if name not in {attr.name for attr in self._attrs}), None)
        if unknown is not None:
            known = [attr.name for attr in self._attrs]
            raise ShapeError(
                message(
                    f"{self.name}: attribute", received=unknown, allowed=", ".join(known), fix=suggest(unknown, known)
                )
            )
        return self._overload(*inputs, **attrs)

    def kernel(
        self,
        *,
        device: str = "any",
        name: str | None = None,
        dtypes: Iterable[torch.dtype] = (),
        priority: int = 0,
        supports: Callable[[Problem], str | None] | None = None,
        cost: Callable[[Problem], float] | None = None,
        into: bool = False,
        oracle: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator that registers a kernel of this operator; see :class:`mezzotint.kernels.Kernel`."""

        def register(run: Callable[..., Any]) -> Callable[..., Any]:
            KERNELS.add(
                Kernel(
                    op=self.name,
                    name=name or run.__name__,
                    run=run,
                    device=device,
                    dtypes=tuple(dtypes),
                    priority=priority,
                    supports=supports,
                    cost=cost,
                    into=into,
                    oracle=oracle,
                )
            )
            return run

        return register

    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of this operator."""
        return KERNELS.of(self.name)

    def problem(self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any]) -> Problem:
        """The problem that a call poses."""
        first = _first(inputs)
        shapes = tuple((name, None if t is None else tuple(t.shape)) for name, t in inputs.items())
        density = None
        if self.definition.density_of is not None:
            values, weight_shape = self.definition.density_of
            numel = math.prod(attrs[weight_shape])
            nnz = inputs[values]
            density = 0.0 if nnz is None or not numel else nnz.numel() / numel
        return Problem(
            op=self.name,
            device=first.device.type,
            dtype=first.dtype,
            shapes=shapes,
            attrs=tuple((name, _hashable(value)) for name, value in attrs.items()),
            threads=torch.get_num_threads() if first.device.type == "cpu" else 1,
            density=density,
            channels_last=_is_channels_last(first),
        )

    def run(self, kernel: str, *inputs: Tensor | None, **attrs: Any) -> Any:
        """Run the kernel ``kernel`` directly, without autograd: for tests, benchmarks and explanations."""
        named, values = self._bind(inputs, attrs)
        chosen = next((k for k in self.kernels() if k.name == kernel), None)
        if chosen is None:
            names = [k.name for k in self.kernels()]
            raise NotRegistered(f"{self.name} has no kernel {kernel!r}; known: {', '.join(names)}.")
        refusal = chosen.refusal(self.problem(named, values))
        if refusal:
            raise ShapeError(f"{self.name}: kernel {kernel!r} cannot do this problem: {refusal}.")
        return self._execute(chosen, named, values, self._outputs(named, values))

    def decision(self, *inputs: Tensor | None, **attrs: Any) -> Decision:
        """The launcher's decision for a call with these tensors and attributes."""
        named, values = self._bind(inputs, attrs)
        outputs = self._outputs(named, values)
        return launch.decide(self.problem(named, values), lambda k: self._execute(k, named, values, outputs))

    def describe(self) -> str:
        """The reference text of the operator, made from its declaration."""
        from mezzotint.ops.page import describe

        return describe(self)

    def compile_down(self) -> None:
        """Define the operator in ``torch.library``: schema, implementation, fake kernel, autograd and autocast."""
        qualified = f"{NAMESPACE}::{self.name}"
        _LIBRARY.define(self.schema, tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(self.name, self._dispatch, "CompositeExplicitAutograd")
        register_fake(qualified, self._fake, lib=_LIBRARY)
        if self.definition.gradient_fn is not None:
            register_autograd(qualified, self._backward, setup_context=self._save, lib=_LIBRARY)
        for device, key in _AUTOCAST_KEYS.items() if self.definition.autocast_inputs else ():
            _LIBRARY.impl(self.name, self._autocast(device, key), key)
        self._overload = getattr(getattr(torch.ops, NAMESPACE), self.name).default

    # -- the functions that torch.library calls ---------------------------------------------------------------

    def _dispatch(self, *args: Any, **kwargs: Any) -> Any:
        inputs, attrs = self._bind(args, kwargs)
        problem = self.problem(inputs, attrs)
        outputs = self._checked.get(problem)
        if outputs is None:
            outputs = self._remember(problem, self._outputs(inputs, attrs))
        decision = launch.decide(problem, lambda kernel: self._execute(kernel, inputs, attrs, outputs))
        return self._execute(decision.kernel, inputs, attrs, outputs)

    def _fake(self, *args: Any, **kwargs: Any) -> Any:
        inputs, attrs = self._bind(args, kwargs)
        first = _first(inputs)
        made = tuple(_allocate(spec, first) for spec in self._outputs(inputs, attrs))
        return made[0] if len(made) == 1 else made

    def _save(self, ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        named, attrs = self._bind(inputs, {})
        ctx.attrs = attrs
        ctx.save_for_backward(*named.values())

    def _backward(self, ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = dict(zip(self._input_names, ctx.saved_tensors, strict=True))
        needed = dict(zip(self._input_names, ctx.needs_input_grad, strict=False))
        rule = self.definition.gradient_fn
        found = rule(Call(inputs, ctx.attrs, needed), *grads) if rule else {}
        return (*(found.get(name) for name in self._input_names), *(None for _ in self._attrs))

    def _autocast(self, device: str, key: str) -> Callable[..., Any]:
        dispatch_key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def cast(*args: Any, **kwargs: Any) -> Any:
            inputs, attrs = self._bind(args, kwargs)
            dtype = torch.get_autocast_dtype(device)
            for name in self.definition.autocast_inputs:
                tensor = inputs[name]
                if tensor is not None and tensor.is_floating_point() and tensor.dtype != torch.float64:
                    inputs[name] = tensor.to(dtype)
            with torch._C._ExcludeDispatchKeyGuard(dispatch_key):
                return self._overload(*inputs.values(), **attrs)

        return cast

    # -- parts --------------------------------------------------------------------------------------------------

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Tensor | None], dict[str, Any]]:
        """Positional and keyword arguments as (inputs by name, attributes by name), defaults filled in."""
        count = len(self._input_names)
        inputs = dict(zip(self._input_names, args, strict=False))
        for name in self._input_names[len(inputs) :]:
            inputs[name] = kwargs.get(name)
        attrs = {}
        for position, attr in enumerate(self._attrs, start=count):
            if position < len(args):
                attrs[attr.name] = args[position]
            elif attr.name in kwargs or attr.has_default:
                attrs[attr.name] = kwargs.get(attr.name, attr.default)
            else:
                raise ShapeError(message(f"{self.name}: {attr.name}", received="nothing", allowed=f"a {attr.kind}"))
        return inputs, attrs

    def _outputs(self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        """Check the call against the declaration and apply the shape rule."""
        self.definition.check_call(inputs, attrs)
        specs = {name: None if t is None else TensorSpec(tuple(t.shape), t.dtype) for name, t in inputs.items()}
        rule = self.definition.shape_fn
        made = rule(specs, attrs) if rule else ()
        return made if isinstance(made, tuple) else (made,)

    def _remember(self, problem: Problem, outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        if len(self._checked) >= 4096:  # every topology update makes new problems; the memory of them is bounded
            self._checked.clear()
        self._checked[problem] = outputs
        return outputs

    def _execute(
        self,
        kernel: Kernel,
        inputs: Mapping[str, Tensor | None],
        attrs: Mapping[str, Any],
        outputs: tuple[TensorSpec, ...],
    ) -> Any:
        first = _first(inputs)
        if kernel.into:
            made = tuple(_allocate(spec, first) for spec in outputs)
            kernel.run(*made, *inputs.values(), **attrs)
            return made[0] if len(made) == 1 else made
        result = kernel.run(*inputs.values(), **attrs)
        results = result if isinstance(result, tuple) else (result,)
        laid = tuple(_laid_out(t, spec, first) for t, spec in zip(results, outputs, strict=True))
        return laid[0] if len(laid) == 1 else laid


def _first(inputs: Mapping[str, Tensor | None]) -> Tensor:
    """The first input: its device, dtype and memory format speak for the call."""
    for tensor in inputs.values():
        if tensor is not None:
            return tensor
    raise ShapeError("an operator needs at least one tensor.")


def _memory_format(spec: TensorSpec, first: Tensor) -> torch.memory_format:
    """Channels-last in, channels-last out, as PyTorch's own convolutions do; everything else is contiguous."""
    return torch.channels_last if len(spec.shape) == 4 and _is_channels_last(first) else torch.contiguous_format


def _is_channels_last(tensor: Tensor) -> bool:
    if tensor.dim() != 4 or not tensor.is_contiguous(memory_format=torch.channels_last):
        return False
    # With one channel or one pixel both formats fit the bytes; the strides then say which is meant.
    return tensor.stride(1) == 1 and tensor.stride(3) == tensor.shape[1]


def _allocate(spec: TensorSpec, first: Tensor) -> Tensor:
    format_ = _memory_format(spec, first)
    return torch.empty(spec.shape, dtype=spec.dtype, device=first.device, memory_format=format_)


def _laid_out(result: Tensor, spec: TensorSpec, first: Tensor) -> Tensor:
    """The kernel's result in the declared type and in the memory format that the fake kernel promises."""
    if tuple(result.shape) != tuple(spec.shape) or result.dtype != spec.dtype:
        raise ShapeError(
            f"a kernel returned {list(result.shape)} {result.dtype}, "
            f"the declaration says {list(spec.shape)} {spec.dtype}."
        )
    return result.contiguous(memory_format=_memory_format(spec, first))


def _schema_attr(attr: Attr) -> str:
    kind = "SymInt[]" if attr.kind == "shape" else _SCHEMA_TYPES[attr.kind] + ("[]" if attr.is_list else "")
    if not attr.has_default:
        return f"{kind} {attr.name}"
    return f"{kind} {attr.name}={_schema_default(attr)}"


def _schema_default(attr: Attr) -> str:
    value = attr.default
    if attr.kind == "type":
        return str(value).removeprefix("torch.")
    if attr.kind == "string" and not attr.is_list:
        return f'"{value}"'
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, torch.Size)) else value


__all__ = ["NAMESPACE", "Argument", "Call", "Operator"]
