"""How does a user's own model come to run in the native layout? Its ``forward`` is led through the lowered graph.

The model stays the object that it was: same class, same parameters, same state dict. Only its ``forward`` is an
attribute of the object now, which decides at every call whether the lowered graph applies and otherwise calls the
class's own.
Plans are made at the first call and again whenever what they rest on has changed: modules that were swapped, hooks that
were registered, modes and attributes that were set.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, MethodType
from typing import Any

import torch
from torch import Tensor, fx, nn

from mezzotint.kernels import native
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.attributes import PLAIN, Attributes
from mezzotint.lowering.border import cell_type, native_type
from mezzotint.lowering.compile_segments import compile_segments
from mezzotint.lowering.effects import Untraceable, modes_of_call
from mezzotint.lowering.explain import explain_plan
from mezzotint.lowering.failure import own_words
from mezzotint.lowering.native_steps import SizesDiffer
from mezzotint.lowering.plan import Plan, make_plan
from mezzotint.lowering.rehearsal import RehearsalFails, is_rehearsed, rehearse
from mezzotint.lowering.trace import has_hooks, has_own_forward, stands_in, traced
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
    attributes: Attributes | None = None
    convolutions: tuple[tuple[SparseConv2d, int], ...] = ()

    def worth(self, batch: int, dtype: torch.dtype) -> Worth:
        """What a batch costs, natively and otherwise."""
        return worth(
            self.convolutions, batch, dtype, cell_type((layer for layer, _ in self.convolutions), batch, dtype)
        )


class NativeForward:
    """The ``forward`` of an attached model."""

    leads_natively = True

    def __init__(self, model: nn.Module, always: bool = False) -> None:
        """``always``: also where the plain layout costs less."""
        self.model, self.always = model, always
        self._left: str | None = None
        self._modules: tuple[tuple[str, nn.Module], ...] = ()
        self._lowered: dict[tuple[Any, ...], _Lowered] = {}
        self._told: set[str] = set()
        self._by_size = False
        self._lock = threading.RLock()

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        recorded = torch.compiler.is_compiling() or torch._C._is_tracing()
        if recorded or named or not _native_input(inputs):
            return self._plain(*inputs, **named)
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        try:
            lowered = self._lowered_for(inputs)
            if lowered.module is not None and self._pays(lowered, tensors):
                # Not its __call__: that prints generated code when it fails.
                return lowered.module.forward(*(x for x in inputs if stands_in(x)))
        except Exception as error:  # noqa: BLE001  anything the user's modules may raise
            failure = error
        else:
            return self._plain(*inputs)
        if not isinstance(failure, (RehearsalFails, SizesDiffer)):
            return own_words(failure, self._plain, inputs)
        # The inputs are wrong, and the model's own forward says so; or the model takes no other batch than this one,
        # or adds up tensors that are of one size in some images only.
        outputs = self._plain(*inputs)
        with self._lock:
            if isinstance(failure, SizesDiffer):
                self._by_size = True
                self._lowered.clear()
            else:
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

    def _pays(self, lowered: _Lowered, tensors: Sequence[Tensor]) -> bool:
        """Whether the batch is led natively."""
        batch = tensors[0].shape[0]
        found = lowered.worth(batch, native_type(tensors))
        infers = not self.model.training and found.can_pay
        better = "; for inference, mezzotint.lower is faster" if infers else ""
        self._left = None if self.always or found.pays else found.in_words(batch) + better
        return self._left is None

    def _plain(self, *inputs: Any, **named: Any) -> Any:
        return type(self.model).forward(self.model, *inputs, **named)

    def _lowered_for(self, inputs: tuple[Any, ...]) -> _Lowered:
        with self._lock:
            modules = tuple(self.model.named_modules())
            if modules != self._modules:
                self._modules = modules
                self._lowered.clear()
            found = self._lowered.get(self._key(inputs))
            if found is None or not (found.attributes is None or found.attributes.hold()):
                found = self._keep(inputs, self._lower(inputs))
            return found

    def _key(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a plan rests on, beside attributes."""
        modes = tuple((module.training, has_hooks(module)) for _, module in self._modules[1:])
        kinds = tuple(self._kind(x) for x in inputs)
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        return self.model.training, native_type(tensors), kinds, modes_of_call(), modes

    def _kind(self, x: Any) -> object:
        if isinstance(x, Tensor):
            return tuple(x.shape[1:]) if self._by_size else x.dim()
        return type(x) if stands_in(x) else (type(x), x)

    def _keep(self, inputs: tuple[Any, ...], lowered: _Lowered) -> _Lowered:
        if len(self._lowered) >= _REMEMBERED:
            self._lowered.clear()
        self._lowered[self._key(inputs)] = lowered
        self._tell(lowered)
        return lowered

    def _lower(self, inputs: tuple[Any, ...]) -> _Lowered:
        try:
            reason = native.unavailable()
            if reason is not None:
                raise Untraceable(reason)
            graph_module = traced(self.model, inputs, whole=False)
            rehearse(self.model, self._plain, graph_module, inputs)
            make_pure(graph_module)
            plan = make_plan(graph_module, folds=False)
            if not any(step.conv for step in plan.steps):
                raise Untraceable("no sparse convolution of it can work in the native layout")
            segments = compile_segments(graph_module, plan)
            attributes = Attributes(self.model, graph_module, segments)
            return _Lowered(segments, plan, graph_module, None, attributes, convolutions_of(plan, graph_module))
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
        """Whether ``batch`` images like ``example`` would be led natively, and why, in words; a few are run.

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
    if has_own_forward(model):
        _log.warning("%s runs in the plain layout, because its forward was replaced.", type(model).__name__)
    elif not isinstance(model, SparseLayer):
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


def _native_input(inputs: Sequence[Any]) -> bool:
    """Whether the inputs are plain values and ordinary batches on the CPU, outside of function transforms."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    known = all(type(x) in PLAIN for x in inputs if not isinstance(x, Tensor))
    ordinary = all(x.device.type == "cpu" and type(x) in (Tensor, nn.Parameter) for x in tensors)
    filled = bool(tensors) and tensors[0].dim() > 0 and tensors[0].shape[0] > 0
    led = not (is_rehearsed() or half_forward.active() or torch._C._functorch.peek_interpreter_stack() is not None)
    return led and known and ordinary and filled
