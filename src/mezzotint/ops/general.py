"""How does an operator run that takes or gives lists of tensors (``N * T``, ``list(type)``), or no tensor at all?

As any other, with these differences: the problem names the tensors of a list one by one (``xs[0]``, ``xs[1]``), what is
saved for the gradient is flattened and gathered again, and a list stays a list on its way to kernels, rules and torch
(``Tensor[]``). Without inputs, a call has an argument ``device`` more, and so have kernels. Plain operators do not pay
for any of it: they are of the base class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mezzotint.errors import NoGradient, ShapeError, message
from mezzotint.kernels import Kernel, Problem, launch
from mezzotint.kernels.decision import Decision
from mezzotint.ops.allocation import allocate, laid_out
from mezzotint.ops.check_call import check_outputs, inferred
from mezzotint.ops.opdef import TensorSpec
from mezzotint.ops.operator import Call, Operator
from mezzotint.ops.registration import hashable


class GeneralOperator(Operator):
    """An operator with lists of tensors, or without inputs or outputs."""

    def problem(self, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Problem:
        """The problem that a call poses; ``xs`` of three tensors is ``xs[0]``, ``xs[1]`` and ``xs[2]``.

        Without inputs its type is that of the first output.
        """
        if not self.definition.is_source():
            return super().problem(_named(inputs), attrs)
        first = next(iter(tree_leaves(self._outputs(inputs, attrs))), None)
        device = attrs["device"].type
        return Problem(
            op=self.name,
            device=device,
            dtype=torch.get_default_dtype() if first is None else first.dtype,
            shapes=(),
            attrs=tuple((name, hashable(value)) for name, value in attrs.items() if name != "device"),
            threads=torch.get_num_threads() if device == "cpu" else 1,
        )

    def __call__(self, /, *inputs: Any, **attrs: Any) -> Any:
        """Run the operator; lists of tensors are passed as lists, and a source may be told its ``device``."""
        if self.definition.is_source():
            attrs["device"] = self._device(attrs.get("device"))
        return self._through_torch(inputs, attrs)

    def _device(self, asked: Any) -> torch.device:
        """The device of a source: the one that is asked for, or the default one."""
        if asked is None:
            return torch.empty(0).device  # compilers can read it in this form only
        try:
            return torch.device(asked)
        except (RuntimeError, TypeError) as error:
            where = f"{self.name}: device"
            raise ShapeError(
                message(where, received=repr(asked), allowed="a device of torch, such as 'cpu'")
            ) from error

    def decision(self, *inputs: Any, **attrs: Any) -> Decision:
        """The launcher's decision for a call with these tensors and attributes."""
        return self._decided(*self._bind(inputs, attrs))[0]

    def _dispatch(self, *args: Any, **kwargs: Any) -> Any:
        inputs, attrs = self._bind(args, kwargs)
        decision, outputs = self._decided(inputs, attrs)
        return self._execute(decision.kernel, inputs, attrs, outputs)

    def _decided(self, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> tuple[Decision, tuple[Any, ...]]:
        outputs = self._outputs(inputs, attrs)
        problem = self.problem(inputs, attrs)
        return launch.decide(problem, lambda kernel: self._execute(kernel, inputs, attrs, outputs)), outputs

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """As of any operator, and the device of a source among its attributes."""
        count = len(self._attrs)
        if not self.definition.is_source():
            return super()._bind(args, kwargs)
        device = args[count] if len(args) > count else kwargs.get("device")
        inputs, attrs = super()._bind(args[:count], kwargs)
        return inputs, {**attrs, "device": torch.get_default_device() if device is None else torch.device(device)}

    def _fake(self, *args: Any, **kwargs: Any) -> Any:
        inputs, attrs = self._bind(args, kwargs)
        return self._allocated(self._outputs(inputs, attrs), _first(inputs, attrs))

    def _save(self, ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        if self.definition.constant_because:
            super()._save(ctx, inputs, output)
            return
        named, attrs = self._bind(inputs, {})
        ctx.attrs = attrs
        ctx.lengths = _lengths(named)
        ctx.save_for_backward(*_named(named).values())

    def _backward(self, ctx: Any, *grads: Any) -> tuple[Any, ...]:
        rule = self.definition.gradient_fn
        if rule is None:
            raise NoGradient(self._no_gradient())
        saved = iter(ctx.saved_tensors)
        inputs: dict[str, Any] = {}
        for name in self._input_names:
            length = ctx.lengths.get(name)
            inputs[name] = next(saved) if length is None else [next(saved) for _ in range(length)]
        needed = {
            name: any(need) if isinstance(need, (list, tuple)) else need
            for name, need in zip(self._input_names, ctx.needs_input_grad, strict=False)
        }
        found = self._known(rule(Call(inputs, ctx.attrs, needed), *grads))
        given = [self._given(name, found.get(name), ctx.lengths.get(name)) for name in self._input_names]
        # Torch leaves out what has its default, takes an empty list for one of no tensors, and wants the like back.
        needs = list(ctx.needs_input_grad)
        rest: list[Any] = [[] if isinstance(need, list) else None for need in needs[len(given) :]]
        return (*given[: len(needs)], *rest)

    def _given(self, name: str, found: Any, length: int | None) -> Any:
        """The gradient of an input as torch wants it: for a list, a list of that length."""
        if length is None:
            return found
        gradients = [None] * length if found is None else list(found)
        if len(gradients) != length:
            where = f"{self.name}: gradient of {name}"
            raise ShapeError(message(where, received=f"{len(gradients)} tensors", allowed=f"{length}, one each"))
        return gradients

    def _outputs(self, inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Check the call and apply the shape rule; a list of tensors is a list of specs on both sides."""
        self.definition.check_call(inputs, attrs)
        rule = self.definition.shape_fn
        if rule is None:  # there are no outputs
            return ()
        specs: dict[str, Any] = {name: _spec(value) for name, value in inputs.items()}
        known = inferred(self.definition, inputs, attrs)
        made: Any = rule(specs, known)
        outputs = made if isinstance(made, tuple) else (made,)
        check_outputs(self.definition, outputs, known)
        return outputs

    def _execute(
        self, kernel: Kernel, inputs: Mapping[str, Any], attrs: Mapping[str, Any], outputs: tuple[Any, ...]
    ) -> Any:
        first = _first(inputs, attrs)
        if kernel.into:
            made = self._allocated(outputs, first)
            kernel.run(*_as_tuple(made), *inputs.values(), **attrs)
            return made
        results = _as_tuple(kernel.run(*inputs.values(), **attrs))
        return _alone(
            tuple(_laid_out(kernel, value, spec, first) for value, spec in zip(results, outputs, strict=True))
        )

    def _allocated(self, outputs: tuple[Any, ...], first: Tensor) -> Any:
        made = tuple(
            [allocate(item, first) for item in spec] if isinstance(spec, list) else allocate(spec, first)
            for spec in outputs
        )
        return _alone(made)


def _as_tuple(result: Any) -> tuple[Any, ...]:
    """The outputs of a call as a tuple, also where there is one or none."""
    if result is None:
        return ()
    return result if isinstance(result, tuple) else (result,)


def _alone(outputs: tuple[Any, ...]) -> Any:
    """What a call gives: a single output without its tuple, ``None`` where there is none."""
    return None if not outputs else outputs[0] if len(outputs) == 1 else outputs


def _first(inputs: Mapping[str, Any], attrs: Mapping[str, Any]) -> Tensor:
    """The first tensor of a call: its device and memory format speak for it; of a source one that stands for it."""
    if not inputs:
        return torch.empty(0, device=attrs["device"])
    first = next((tensor for tensor in _named(inputs).values() if tensor is not None), None)
    if first is None:
        raise ShapeError("a call needs at least one tensor: received only empty lists; allowed: one tensor or more.")
    return first


def _named(inputs: Mapping[str, Any]) -> dict[str, Tensor | None]:
    """The tensors of a call one by one, those of a list under ``name[position]``."""
    found: dict[str, Tensor | None] = {}
    for name, value in inputs.items():
        if isinstance(value, (list, tuple)):
            found.update({f"{name}[{position}]": item for position, item in enumerate(value)})
        else:
            found[name] = value
    return found


def _lengths(inputs: Mapping[str, Any]) -> dict[str, int]:
    """How many tensors each list of a call has."""
    return {name: len(value) for name, value in inputs.items() if isinstance(value, (list, tuple))}


def _spec(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_spec(item) for item in value]
    return None if value is None else TensorSpec(tuple(value.shape), value.dtype)


def _laid_out(kernel: Kernel, value: Any, spec: Any, first: Tensor) -> Any:
    if not isinstance(spec, list):
        return laid_out(value, spec, first)
    if not isinstance(value, (list, tuple)) or len(value) != len(spec):
        received = f"{len(value)} tensors" if isinstance(value, (list, tuple)) else type(value).__name__
        where = f"output of the kernel {kernel.name!r} of {kernel.op}"
        raise ShapeError(message(where, received=received, allowed=f"a list of {len(spec)} tensors"))
    return [laid_out(item, one, first) for item, one in zip(value, spec, strict=True)]
