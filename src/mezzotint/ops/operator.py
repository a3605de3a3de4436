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
from torch._C._functorch import is_legacy_batchedtensor as batched_by_autograd
from torch.library import Library, register_autograd, register_fake
from torch.overrides import BaseTorchFunctionMode
from torch.utils._pytree import tree_leaves

from mezzotint.errors import DeclarationError, NoGradient, NotRegistered, ShapeError, message, suggest
from mezzotint.kernels import KERNELS, Kernel, Problem, launch
from mezzotint.kernels.decision import Decision
from mezzotint.ops import casting
from mezzotint.ops.allocation import allocate, is_channels_last
from mezzotint.ops.casting import Run
from mezzotint.ops.check_call import check_outputs, inferred, misfit
from mezzotint.ops.flags import hold, tags
from mezzotint.ops.opdef import HOME as NAMESPACE
from mezzotint.ops.opdef import OpDef, TensorSpec
from mezzotint.ops.plan import Plans, Tensors, as_tuple, check_results, key_behind_the_dispatcher, plan
from mezzotint.ops.registration import Alternatives, KernelSpec, hashable, register_kernel
from mezzotint.ops.schema import as_declared, is_garbled, qualified, schema


class Call:
    """A forward call as its gradient sees it: inputs, kept outputs and attributes by name, and who needs a gradient."""

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
        required = (1 + i for i, argument in enumerate(definition.inputs) if not argument.optional)
        self._required = max(required, default=0)
        self._attrs = tuple(definition.passed_attrs())
        self._attr_names = frozenset(attr.name for attr in self._attrs)
        self._needed_attrs = frozenset(attr.name for attr in self._attrs if not attr.has_default)
        self.defaults = {attr.name: attr.default for attr in self._attrs if attr.has_default}
        self._schema = schema(definition)
        self._garbled = tuple(attr for attr in self._attrs if is_garbled(attr))
        self._library: Library | None = None
        self.overload: Any = None
        self._plans = Plans(self)
        #: The plan of a call with these inputs and attributes, however they were given, if there is one.
        self.find = self._plans.find

    @property
    def schema(self) -> str:
        """The ``torch.library`` schema made from the declaration."""
        return self._schema

    def __call__(self, /, *inputs: Tensor | None, **attrs: Any) -> Any:
        """Run the operator; what autograd, autocast, fake tensors and compilation need goes through ``torch.ops``."""
        given = None
        if len(inputs) == len(self._input_names):
            given = tuple([(k, tuple(v) if type(v) is list else v) for k, v in attrs.items()])
            run = self._plans.find(inputs, given)
            if run is not None:
                return run(*inputs)
        usual = given is not None and self._needed_attrs <= attrs.keys() <= self._attr_names
        if not usual or not all(t is None or isinstance(t, Tensor) for t in inputs):
            return self._through_torch(inputs, attrs)
        return self._plans.call(inputs, given, attrs)

    def resolved(self, inputs: Tensors, given: Any, attrs: Mapping[str, Any]) -> Any:
        """Run the operator with ``attrs``, and let ``find`` know the call by ``given`` from now on."""
        return self._plans.call(inputs, given, attrs)

    def _through_torch(self, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
        """Call ``torch.ops``; a call that its reader of arguments refuses is told in the words of the declaration."""
        if self._required <= len(inputs) < len(self._input_names):
            inputs = (*inputs, *[None] * (len(self._input_names) - len(inputs)))
        try:
            return self.overload(*inputs, **attrs)
        except (RuntimeError, TypeError) as error:  # torch's own reader of arguments speaks of "schema" and "int[]"
            wrong = misfit(self.definition, inputs, attrs)
            if wrong is None:
                raise
            raise wrong from error

    def kernel(
        self,
        *,
        device: str = "any",
        name: str | None = None,
        dtypes: Iterable[torch.dtype] = (),
        attrs: Alternatives | None = None,
        layout: str = "any",
        label: str = "",
        priority: int = 0,
        supports: Callable[[Problem], str | None] | None = None,
        cost: Callable[[Problem], float] | None = None,
        into: bool = False,
        oracle: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator that registers a kernel of this operator.

        See :class:`mezzotint.kernels.Kernel` for what the words mean, :class:`mezzotint.ops.registration.KernelSpec`
        for how ``attrs`` is written.

        Raises:
            DeclarationError: the kernel could never run, or cannot be told from another one.
        """
        spec = KernelSpec(
            name=name,
            device=device,
            dtypes=tuple(dtypes),
            attrs=attrs,
            layout=layout,
            label=label,
            priority=priority,
            supports=supports,
            cost=cost,
            into=into,
            oracle=oracle,
        )

        def register(run: Callable[..., Any]) -> Callable[..., Any]:
            register_kernel(self.definition, run, spec)
            return run

        return register

    def labelled(self, label: str) -> Callable[..., Any]:
        """The operator with the kernels of ``label``; ``op.labelled("trial")(x)``. See :func:`launch.label`."""
        KERNELS.check_label(label, self.name)

        def call(*inputs: Tensor | None, **attrs: Any) -> Any:
            with launch.label(label, self.name):
                return self(*inputs, **attrs)

        return call

    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of this operator."""
        return KERNELS.of(self.name)

    def problem(self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any]) -> Problem:
        """The problem that a call poses."""
        first = _first(inputs, self.name)
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
            attrs=tuple((name, hashable(value)) for name, value in attrs.items()),
            dtypes=tuple((name, None if t is None else t.dtype) for name, t in inputs.items()),
            threads=torch.get_num_threads() if first.device.type == "cpu" else 1,
            density=density,
            channels_last=is_channels_last(first),
        )

    def run(self, kernel: str, /, *inputs: Tensor | None, **attrs: Any) -> Any:
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

    def plan(self, inputs: Tensors, attrs: Mapping[str, Any]) -> tuple[Run, tuple[TensorSpec, ...]]:
        """What a call comes to once it is checked and its kernel chosen: a function of the tensors, and its outputs."""
        named, values = self._bind(inputs, attrs)
        outputs = self._outputs(named, values)
        decision = self._decide(named, values, outputs)
        return plan(decision.kernel, values, outputs, tuple(named.values())), outputs

    def decision(self, *inputs: Tensor | None, **attrs: Any) -> Decision:
        """The launcher's decision for a call with these tensors and attributes."""
        named, values = self._bind(inputs, attrs)
        return self._decide(named, values, self._outputs(named, values))

    def kept_outputs(self, result: Any) -> tuple[Tensor, ...]:
        """The outputs that the gradient asks for."""
        if not self.definition.kept_outputs:
            return ()
        named = zip(self.definition.outputs, as_tuple(result), strict=True)
        return tuple(tensor for output, tensor in named if output.name in self.definition.kept_outputs)

    def gradients(
        self, attrs: Mapping[str, Any], saved: Tensors, needed: Sequence[bool], grads: Sequence[Tensor | None]
    ) -> tuple[Tensor | None, ...]:
        """The gradient of each input, from the inputs and kept outputs that were ``saved``."""
        rule, names = self.definition.gradient_fn, self._input_names
        if rule is None:
            raise NoGradient(self._no_gradient())
        tensors = dict(zip((*names, *self.definition.kept_outputs), saved, strict=True))
        if all(grad is None for grad in grads):
            return (None,) * len(names)
        call = Call(tensors, attrs, dict(zip(names, needed, strict=False)))
        if any(grad is not None and batched_by_autograd(grad) for grad in grads):
            with BaseTorchFunctionMode():  # so that every operator below goes through the dispatcher, which batches it
                found = rule(call, *grads)
        else:
            found = rule(call, *grads)
        self._known(found)
        return tuple(found.get(name) for name in names)

    def describe(self) -> str:
        """The reference text of the operator, made from its declaration."""
        from mezzotint.ops.page import describe

        return describe(self)

    def compile_down(self) -> None:
        """Define the operator in ``torch.library``: schema, implementation, fake kernel, autograd and autocast."""
        namespace, name = qualified(self.name)
        library = self._library = Library(namespace, "FRAGMENT")
        try:
            library.define(self.schema, tags=tags(self.definition))
        except RuntimeError as error:
            raise DeclarationError(
                f"operator {self.name!r} cannot be registered: torch has an operator of that name, or refuses the "
                f"schema {self.schema!r}: {' '.join(str(error).split())}"
            ) from error
        self.overload = getattr(getattr(torch.ops, namespace), name).default
        library.impl(name, self._dispatch, "CompositeExplicitAutograd")
        register_fake(f"{namespace}::{name}", self._fake, lib=library)
        if self.definition.inputs and self.definition.outputs:
            register_autograd(f"{namespace}::{name}", self._backward, setup_context=self._save, lib=library)
        for device, key in casting.KEYS.items():  # also where nothing is cast: what kernels call is not cast either
            library.impl(name, self._autocast(device), key.name)
        hold(self.definition, self.overload)

    # -- the functions that torch.library calls ---------------------------------------------------------------

    def _dispatch(self, *args: Any, **kwargs: Any) -> Any:
        """Behind the dispatcher: nobody listens any more, whatever state the thread is in."""
        count = len(self._input_names)
        inputs = args[:count]
        key = key_behind_the_dispatcher(inputs, (*args[count:], *kwargs.items())) if len(inputs) == count else None
        run = None if key is None else self._plans.dispatched(key)
        if run is not None:
            return run(*inputs)
        named, attrs = self._bind(args, kwargs)
        if all(tensor is None for tensor in named.values()):  # the declaration has the words for it
            self.definition.check_call(named, attrs)
        run, outputs = self.plan(tuple(named.values()), attrs)
        check_results(result := run(*named.values()), outputs)
        if key is not None:
            self._plans.keep_dispatched(key, run)
        return result

    def _decide(
        self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any], outputs: tuple[TensorSpec, ...]
    ) -> Decision:
        return launch.decide(self.problem(inputs, attrs), lambda kernel: self._execute(kernel, inputs, attrs, outputs))

    def _fake(self, *args: Any, **kwargs: Any) -> Any:
        inputs, attrs = self._bind(args, kwargs)
        first = _first(inputs)
        made = tuple(allocate(spec, first) for spec in self._outputs(inputs, attrs))
        return made[0] if len(made) == 1 else made

    def _save(self, ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        if self.definition.constant_because:
            ctx.mark_non_differentiable(*tree_leaves(output))
            return
        named, attrs = self._bind(inputs, {})
        ctx.attrs = attrs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*named.values(), *self.kept_outputs(output))

    def _backward(self, ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (
            *self.gradients(ctx.attrs, ctx.saved_tensors, ctx.needs_input_grad, grads),
            *(None for _ in self._attrs),
        )

    def _autocast(self, device: str) -> Callable[..., Any]:
        def cast(*args: Any, **kwargs: Any) -> Any:
            inputs, attrs = self._bind(args, kwargs)
            dtype = torch.get_autocast_dtype(device)
            for name in self.definition.autocast_inputs:
                inputs[name] = casting.cast(inputs[name], dtype)
            with casting.out_of_the_way(device):
                return self.overload(*inputs.values(), **attrs)

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
        for attr in self._garbled:
            attrs[attr.name] = as_declared(attr, attrs[attr.name])
        return inputs, attrs

    def _known(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a gradient rule gives; a name that is no input would be a gradient that is lost without a word."""
        unknown = next((name for name in found if name not in self._input_names), None)
        if unknown is not None:
            where, allowed = f"{self.name}: gradient", ", ".join(self._input_names)
            fix = suggest(unknown, self._input_names).strip()
            raise DeclarationError(message(where, received=unknown, allowed=allowed, fix=fix))
        return found

    def _no_gradient(self) -> str:
        inputs = ", ".join(self._input_names)
        return (
            f"operator {self.name!r} has no gradient: received a backward pass through it; allowed: calls on inputs "
            f"({inputs}) that need none, such as x.detach(). Declare one with .gradient(rule), or say "
            ".not_differentiable(why)."
        )

    def _outputs(self, inputs: Mapping[str, Tensor | None], attrs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
        """Check the call against the declaration and apply the shape rule."""
        self.definition.check_call(inputs, attrs)
        specs = {name: None if t is None else TensorSpec(tuple(t.shape), t.dtype) for name, t in inputs.items()}
        rule = self.definition.shape_fn
        known = inferred(self.definition, inputs, attrs)
        made = rule(specs, known) if rule else ()
        outputs = made if isinstance(made, tuple) else (made,)
        check_outputs(self.definition, outputs, known)
        return outputs

    def _execute(
        self,
        kernel: Kernel,
        inputs: Mapping[str, Tensor | None],
        attrs: Mapping[str, Any],
        outputs: tuple[TensorSpec, ...],
    ) -> Any:
        result = plan(kernel, attrs, outputs, tuple(inputs.values()))(*inputs.values())
        check_results(result, outputs)
        return result


def _first(inputs: Mapping[str, Tensor | None], name: str = "an operator") -> Tensor:
    """The first input: its device, dtype and memory format speak for the call."""
    for tensor in inputs.values():
        if tensor is not None:
            return tensor
    where = f"{name}: {', '.join(inputs)}"
    raise ShapeError(message(where, received=None, allowed="a tensor for every input that is not optional"))


__all__ = ["NAMESPACE", "Call", "Operator"]
