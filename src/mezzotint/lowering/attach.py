"""How does a user's own model come to run in the native layout? Its ``forward`` is led through the lowered graph.

The model stays the object that it was: same class, same parameters, same state dict. Only its ``forward`` is an
attribute of the object now, which decides at every call whether the lowered graph applies and otherwise calls the
class's own.
Plans are made at the first call and again whenever what they rest on has changed: modules that were swapped, hooks that
were registered, modes that were set.
"""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, MethodType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.errors import first_line
from mezzotint.kernels import native
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.border import cell_type, native_type
from mezzotint.lowering.compile_segments import compile_segments
from mezzotint.lowering.explain import explain_plan
from mezzotint.lowering.failure import own_words
from mezzotint.lowering.plan import Plan, make_plan
from mezzotint.lowering.trace import Untraceable, has_hooks, record_shapes, traced
from mezzotint.lowering.worth import Worth, convolutions_of, worth
from mezzotint.precision import half_forward
from mezzotint.sparse import SparseConv2d, SparseLayer

_log = logging.getLogger(__name__)
#: Plans remembered for a model: training and evaluation, and a few variants of either.
_REMEMBERED = 6


@dataclass(frozen=True)
class _Lowered:
    """A plan and the module that carries it out; or the reason why there is none."""

    module: nn.Module | None
    plan: Plan | None
    traced: fx.GraphModule | None
    reason: str | None
    convolutions: tuple[tuple[SparseConv2d, int], ...] = ()

    def worth(self, batch: int, dtype: torch.dtype) -> Worth:
        """What a batch costs, natively and otherwise."""
        return worth(
            self.convolutions, batch, dtype, cell_type((layer for layer, _ in self.convolutions), batch, dtype)
        )


class _OneImageFails(Exception):
    """The model does not run on the first image alone; the message is the reason for the plain layout."""


class NativeForward:
    """The ``forward`` of an attached model."""

    def __init__(self, model: nn.Module, always: bool = False) -> None:
        """``always``: also where the plain layout costs less."""
        self.model, self.always = model, always
        self._left: str | None = None
        self._modules: tuple[tuple[str, nn.Module], ...] = ()
        self._lowered: dict[tuple[Any, ...], _Lowered] = {}
        self._told: set[str] = set()

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        recorded = torch.compiler.is_compiling() or torch._C._is_tracing()
        if recorded or named or not _native_input(inputs):
            return self._plain(*inputs, **named)
        try:
            lowered = self._lowered_for(inputs)
            if lowered.module is not None and self._pays(lowered, inputs):
                return lowered.module.forward(*inputs)  # not its __call__: that prints generated code when it fails
        except Exception as error:  # noqa: BLE001  anything the user's modules may raise
            failure = error
        else:
            return self._plain(*inputs)
        if not isinstance(failure, _OneImageFails):
            return own_words(failure, self._plain, inputs)
        # The inputs are wrong, and the model's own forward says so; or the model takes no other batch than this one.
        outputs = self._plain(*inputs)
        self._keep(inputs, _Lowered(None, None, None, str(failure)))
        return outputs

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the class's own forward, for those who look at it."""
        return inspect.signature(MethodType(type(self.model).forward, self.model))

    @property
    def __code__(self) -> CodeType:
        """That of the class's own forward: ``torch.export`` asks every forward for it."""
        code: CodeType = type(self.model).forward.__code__
        return code

    def _pays(self, lowered: _Lowered, inputs: tuple[Any, ...]) -> bool:
        """Whether the batch is led natively."""
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        batch = tensors[0].shape[0]
        found = lowered.worth(batch, native_type(tensors))
        infers = not self.model.training and found.can_pay
        better = "; for inference, mezzotint.lower is faster" if infers else ""
        self._left = None if self.always or found.pays else found.in_words(batch) + better
        return self._left is None

    def _plain(self, *inputs: Any, **named: Any) -> Any:
        return type(self.model).forward(self.model, *inputs, **named)

    def _lowered_for(self, inputs: tuple[Any, ...]) -> _Lowered:
        modules = tuple(self.model.named_modules())
        if modules != self._modules:
            self._modules = modules
            self._lowered.clear()
        key = self._key(inputs)
        if key not in self._lowered:
            self._keep(inputs, self._lower(inputs))
        return self._lowered[key]

    def _key(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a plan rests on."""
        modes = tuple((module.training, has_hooks(module)) for _, module in self._modules[1:])
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        return self.model.training, native_type(tensors), tuple(x.dim() for x in tensors), modes

    def _keep(self, inputs: tuple[Any, ...], lowered: _Lowered) -> None:
        if len(self._lowered) >= _REMEMBERED:
            self._lowered.clear()
        self._lowered[self._key(inputs)] = lowered
        self._tell(lowered)

    def _lower(self, inputs: tuple[Any, ...]) -> _Lowered:
        try:
            reason = native.unavailable()
            if reason is not None:
                raise Untraceable(reason)
            graph_module = traced(self.model, whole=False)
            with _Evaluation(self.model):
                _record_one(graph_module, inputs)
            make_pure(graph_module)
            plan = make_plan(graph_module, folds=False)
            if not any(step.conv for step in plan.steps):
                raise Untraceable("no sparse convolution of it can work in the native layout")
            segments = compile_segments(graph_module, plan)
            return _Lowered(segments, plan, graph_module, None, convolutions_of(plan, graph_module))
        except Untraceable as error:
            return _Lowered(None, None, None, str(error))

    def _tell(self, lowered: _Lowered) -> None:
        convolves = any(
            isinstance(module, SparseConv2d) for _, module in self._modules
        )  # else there is nothing to lead
        if lowered.reason is not None and lowered.reason not in self._told and convolves:
            self._told.add(lowered.reason)
            _log.warning("%s runs in the plain layout, because %s.", type(self.model).__name__, lowered.reason)

    def outlook(self, example: Tensor, batch: int) -> tuple[bool, str]:
        """Whether ``batch`` images like ``example`` would be led natively, and why, in words; one image is run.

        The present autocast region counts, as it does in a call.
        """
        lowered = self._lowered_for((example,))
        if lowered.module is None:
            return False, str(lowered.reason)
        found = lowered.worth(batch, native_type([example]))
        return self.always or found.pays, found.in_words(batch)

    def step_of(self, name: str) -> str:
        """What :meth:`explain` says of the module ``name``: ``native: sparse convolution + ReLU; halo ...``."""
        lines = (line.strip() for line in self.explain().splitlines())
        return next((line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")), "")

    def explain(self) -> str:
        """Which nodes are native in the plan that was made last, and why the others are not."""
        name = type(self.model).__name__
        if not self._lowered:
            return f"{name}: not planned yet: run it once."
        lowered = list(self._lowered.values())[-1]
        if lowered.plan is None or lowered.traced is None:
            return f"{name}: plain layout, because {lowered.reason}."
        told = explain_plan(name, lowered.traced.graph, lowered.plan)
        return told if self._left is None else f"{told}\n  The last call ran in the plain layout: {self._left}."

    def __getstate__(self) -> Mapping[str, Any]:
        """Copies and pickles plan for themselves."""
        return {"model": self.model, "always": self.always}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["model"], state["always"])  # type: ignore[misc]


def attach(model: nn.Module, *, always: bool = False) -> nn.Module:
    """Let ``model`` run in the native layout wherever that pays; returns ``model``. A lone sparse layer stays as it is.

    Args:
        always: wherever it can, whether it pays or not.
    """
    if not isinstance(model, SparseLayer):
        model.__dict__["forward"] = NativeForward(model, always)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Give ``model`` its class's own ``forward`` back; returns ``model``."""
    if isinstance(model.__dict__.get("forward"), NativeForward):
        del model.__dict__["forward"]
    return model


def explain(model: nn.Module) -> str:
    """One line a node of an attached model: native, with what it was joined with, or plain, with the reason."""
    forward = model.__dict__.get("forward")
    if not isinstance(forward, NativeForward):
        return f"{type(model).__name__}: plain layout, because it was not sparsified with layout='native'."
    return forward.explain()


def _record_one(graph_module: fx.GraphModule, inputs: tuple[Any, ...]) -> None:
    """:func:`record_shapes` on the first image of a batch."""
    try:
        record_shapes(graph_module, tuple(x[:1] if isinstance(x, Tensor) else x for x in inputs))
    except Exception as error:
        raise _OneImageFails(f"it does not run on the first image of its input alone: {first_line(error)}") from error


class _Evaluation:
    """Context in which a model computes and leaves no trace: no statistics, no random numbers, no hooks."""

    _HOOKS = ("_forward_hooks", "_forward_pre_hooks")

    def __init__(self, model: nn.Module) -> None:
        self._training = [module for module in model.modules() if module.training]
        hooked = [(module, name) for module in model.modules() for name in self._HOOKS]
        self._hooks = [(module, name, getattr(module, name)) for module, name in hooked if getattr(module, name)]

    def __enter__(self) -> None:
        for module in self._training:
            module.training = False
        for module, name, _ in self._hooks:
            setattr(module, name, OrderedDict())

    def __exit__(self, *exception: object) -> None:
        for module in self._training:
            module.training = True
        for module, name, hooks in self._hooks:
            setattr(module, name, hooks)


def _native_input(inputs: Iterable[Any]) -> bool:
    """Whether all tensors among the inputs are ordinary ones on the CPU, outside of function transforms."""
    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    ordinary = all(x.device.type == "cpu" and type(x) in (Tensor, nn.Parameter) for x in tensors)
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return bool(tensors) and ordinary and not transformed and not half_forward.active()
