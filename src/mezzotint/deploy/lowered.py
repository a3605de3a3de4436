"""What does a user get from ``lower``? A module for inference that takes the fastest way for each batch, and says why.

Beside the native layout, which is for many images, that is the engine behind :class:`mezzotint.deploy.Session`.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.deploy.programs import Programs
from mezzotint.deploy.ways import Way, Ways, without_programs
from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.kernels import native
from mezzotint.kernels.passes import one_pass
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.attach import detach
from mezzotint.lowering.border import native_type
from mezzotint.lowering.effects import Untraceable
from mezzotint.lowering.explain import explain_plan
from mezzotint.lowering.failure import own_words
from mezzotint.lowering.plan import Plan, make_plan
from mezzotint.lowering.rehearsal import rehearse_snapshot
from mezzotint.lowering.rewrite import rewrite
from mezzotint.lowering.trace import stands_in, traced
from mezzotint.lowering.worth import convolutions_of, worth
from mezzotint.sparse import SparseConv2d

_log = logging.getLogger(__name__)
_planning = threading.Lock()
_LAYOUTS = ("auto", "native")


class LoweredModel(nn.Module):
    """An inference copy of a model: sparse convolutions and what lies between them are computed natively.

    Batches that fill the cells of the native layout go that way or through a program of the engine behind
    :class:`mezzotint.deploy.Session`, whichever is faster, which is measured at the first such batch; smaller ones go
    through a program. Under ``torch.use_deterministic_algorithms(True)`` nothing is measured: there are no programs.

    It is a snapshot: later changes of the original model do not reach it. Outputs equal the model's up to float32
    rounding (batch norm is applied as one multiply-add per number). It does not differentiate. Under ``torch.autocast``
    activations are of the 16-bit type.

    Make one with :func:`lower`.
    """

    def __init__(self, model: nn.Module, always: bool = False) -> None:
        super().__init__()
        self.training = False
        self._always = always
        self._convolutions: tuple[tuple[SparseConv2d, int], ...] = ()
        self._name = type(model).__name__
        self._plan: Plan | None = None
        self._native: fx.GraphModule | None = None
        self._reason: str | None = None
        self._programs: Programs | None = None
        self._ways, self._why = Ways(), ""
        self.plain: nn.Module = detach(copy.deepcopy(model)).requires_grad_(False)
        self._own: tuple[nn.Module, ...] = (self.plain,)  # no submodule: those of the graph are the same ones
        self._kinds: tuple[object, ...] = ()
        try:
            _require_native()
            self.plain = traced(self.plain)
        except Untraceable as reason:
            self._refuse(str(reason))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """As the model's own forward; the first call plans for the shapes that it sees, unless :func:`lower` did."""
        self._check_no_gradient((inputs, named))
        with torch.no_grad():
            try:
                return self._run(inputs, named)
            except Exception as error:  # noqa: BLE001  anything the user's modules may raise
                failure = error
            return own_words(failure, self._as_written, inputs, named)

    @property
    def _as_written(self) -> nn.Module:
        """The copy of the model as the user wrote it; it is not in pickles."""
        return self._own[0] if self._own else self.plain

    def _run(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not named and self._native is None:
            self._planned(inputs)
        lowered, plan = self._native, self._plan
        if named or lowered is None or plan is None or _kinds(inputs) != self._kinds:
            return _called(self._as_written, *inputs, **named)
        return self._fastest(lowered, plan, tuple(x for x in inputs if stands_in(x)))()

    def _fastest(self, lowered: nn.Module, plan: Plan, inputs: tuple[Any, ...]) -> Callable[[], Any]:
        """The call that is done for these inputs, which are those of the graph."""
        calls = {
            Way.NATIVE: partial(_in_one_pass, lowered, *inputs),
            Way.PLAIN: partial(_called, self.plain, *inputs),
        }
        if self._always:
            return calls[Way.NATIVE]
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        batch, dtype = tensors[0].shape[0], native_type(tensors)
        found = worth(self._convolutions, batch, dtype, dtype)
        program = self._programs_of(plan).find(inputs, dtype) if batch and found.can_pay else None
        if program is None:
            way, why = without_programs(found), found.in_words(batch)
        else:
            calls[Way.PROGRAM] = partial(_called, program, *inputs)
            key = (dtype, tuple(x.shape[1:] for x in tensors), native.threads())
            way, why = self._ways.fastest(found, batch, key, calls)
        self._why = f"{way.value}: {why}"
        return calls[way]

    def _programs_of(self, plan: Plan) -> Programs:
        with _planning:
            if self._programs is None:
                self._programs = Programs(self.plain, plan)
            return self._programs

    def __getstate__(self) -> dict[str, Any]:
        """Pickles hold the traced graph alone, which needs no class of the user's; the first call plans anew."""
        modules = {name: module for name, module in self._modules.items() if name != "_native"}
        made = {"_own": (), "_native": None, "_plan": None, "_convolutions": (), "_programs": None, "_why": ""}
        return {**self.__dict__, **made, "_modules": modules, "_ways": Ways()}

    def plan(self, *inputs: Any) -> nn.Module:
        """Plan the lowering for inputs of these shapes, once; returns the module that runs from now on."""
        with torch.no_grad():
            try:
                return self._planned(inputs)
            except Exception as error:  # noqa: BLE001  anything the user's modules may raise
                failure = error
            return own_words(failure, self._as_written, inputs)

    def _planned(self, inputs: tuple[Any, ...]) -> nn.Module:
        with _planning:
            if self._native is None and isinstance(self.plain, fx.GraphModule) and self._reason is None:
                try:
                    self.plain, self._kinds = traced(self._as_written, inputs), _kinds(inputs)
                    rehearse_snapshot(self._as_written, self.plain, inputs)
                    make_pure(self.plain)
                    self._plan = make_plan(self.plain, folds=True)
                    self._native = rewrite(self.plain, self._plan)
                    self._convolutions = convolutions_of(self._plan, self.plain)
                except Untraceable as reason:
                    self._refuse(str(reason))
            return self.plain if self._native is None else self._native

    def train(self, mode: bool = True) -> LoweredModel:
        """A lowered model is for inference only.

        Raises:
            InputError: ``mode`` is True.
        """
        if mode:
            raise InputError(
                message(
                    "train() of a lowered model",
                    received=mode,
                    allowed="False: a lowered model is a snapshot for inference",
                    fix="Train the model it was made from, and lower that again.",
                )
            )
        return self

    def load_state_dict(self, *_: Any, **__: Any) -> Any:
        """A lowered model is a snapshot: its weights are folded into steps and programs.

        Raises:
            InputError: always.
        """
        raise InputError(
            message(
                "load_state_dict() of a lowered model",
                received="weights",
                allowed="none: a lowered model is a snapshot",
                fix="Load them into the model it was made from, and lower that again.",
            )
        )

    def explain(self) -> str:
        """One line a node: native, with what it was fused with, or plain, with the reason."""
        if self._reason is not None:
            return f"{self._name}: plain layout, because {self._reason}."
        if self._plan is None or not isinstance(self.plain, fx.GraphModule):
            return f"{self._name}: not planned yet: run it once, or give lower() an example input."
        told = explain_plan(self._name, self.plain.graph, self._plan)
        return f"{told}\n  The last call took {self._why}." if self._why else told

    @property
    def native_steps(self) -> int:
        """Number of passes over memory in the native layout; 0 in the plain layout or before planning."""
        return 0 if self._plan is None else len(self._plan.steps)

    def _refuse(self, reason: str) -> None:
        self._reason, self.plain = reason, self._as_written
        if any(isinstance(module, SparseConv2d) for module in self.plain.modules()):  # else there is nothing to lead
            _log.warning("%s runs in the plain layout, because %s.", self._name, reason)

    def _check_no_gradient(self, inputs: Any) -> None:
        tensors = (leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor))
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise InputError(
                message(
                    "input of a lowered model",
                    received="a tensor that requires a gradient",
                    allowed="tensors without gradient",
                    fix="Use the model it was made from, or torch.no_grad().",
                )
            )


def lower(model: nn.Module, example_input: Any = None, *, layout: str = "auto") -> LoweredModel:
    """An inference copy of ``model`` that computes sparse convolutions, and what lies between them, natively.

    Args:
        model: in evaluation mode, as :func:`mezzotint.sparsify` left it; it is not changed. What lies between sparse
            convolutions (batch norm, ReLU, residual adds) is fused into them; everything else runs as it was.
        example_input: a tensor, or a tuple of positional arguments, that decides what can be lowered; other batch and
            image sizes work too. Without one, the first call's inputs decide.
        layout: "auto": each batch takes the fastest way, see :class:`LoweredModel`; "native": the native layout always.

    Returns:
        A module with the model's own call. A model that cannot be traced runs in the plain layout: the log (logger
        ``mezzotint.deploy.lowered``, level WARNING) says so once with the reason, and
        :meth:`LoweredModel.explain` repeats it.

    Raises:
        InputError: the model is in training mode.
        NotRegistered: an unknown layout.
    """
    if layout not in _LAYOUTS:
        raise NotRegistered(message("layout", received=layout, allowed=", ".join(_LAYOUTS)) + suggest(layout, _LAYOUTS))
    if model.training:
        raise InputError(
            message(
                "model to lower",
                received="a model in training mode",
                allowed="a model in evaluation mode",
                fix="Call model.eval() first.",
            )
        )
    lowered = LoweredModel(model, always=layout == "native")
    if example_input is not None:
        lowered.plan(*(example_input if isinstance(example_input, tuple) else (example_input,)))
    return lowered


def _called(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    # A graph's __call__ prints generated code when it fails.
    call = module.forward if isinstance(module, fx.GraphModule) else module
    return call(*inputs, **named)


def _kinds(inputs: tuple[Any, ...]) -> tuple[object, ...]:
    """What a graph is made for: where tensors and numbers are among the arguments, and the values of the others."""
    return tuple(type(x) if stands_in(x) else x for x in inputs)


def _in_one_pass(module: nn.Module, *inputs: Any) -> Any:
    with one_pass():
        return _called(module, *inputs)


def _require_native() -> None:
    reason = native.unavailable()
    if reason is not None:
        raise Untraceable(reason)
