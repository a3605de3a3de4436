"""What does a user get from lowering? A module for inference that says what it does in which layout, and why."""

from __future__ import annotations

import copy
import logging
import threading
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mezzotint.errors import InputError, NotRegistered, message, suggest
from mezzotint.kernels import native
from mezzotint.kernels.passes import one_pass
from mezzotint.lowering.alias import make_pure
from mezzotint.lowering.attach import detach
from mezzotint.lowering.border import native_type
from mezzotint.lowering.explain import explain_plan
from mezzotint.lowering.failure import own_words
from mezzotint.lowering.plan import Plan, make_plan
from mezzotint.lowering.rewrite import rewrite
from mezzotint.lowering.trace import Untraceable, record_shapes, traced
from mezzotint.lowering.worth import convolutions_of, worth
from mezzotint.sparse import SparseConv2d

_log = logging.getLogger(__name__)
_planning = threading.Lock()
_LAYOUTS = ("auto", "native")


class LoweredModel(nn.Module):
    """An inference copy of a model: sparse convolutions and what lies between them in the native layout.

    It is a snapshot: later changes of the original model do not reach it. Outputs equal the model's up to float32
    rounding (batch norm is applied as one multiply-add per number). It does not differentiate. Under ``torch.autocast``
    the native layout holds the 16-bit type.

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
        self.plain: nn.Module = detach(copy.deepcopy(model)).requires_grad_(False)
        self._own: tuple[nn.Module, ...] = (self.plain,)  # no submodule: those of the graph are the same ones
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
        module = self.plain
        if not named:
            lowered = self._planned(inputs) if self._native is None else self._native
            module = lowered if self._always or self._pays(inputs) else self.plain
        # A graph's __call__ prints generated code when it fails.
        call = module.forward if isinstance(module, fx.GraphModule) else module
        with one_pass() if module is self._native else nullcontext():
            return call(*inputs, **named)

    def __getstate__(self) -> dict[str, Any]:
        """Pickles hold the traced graph alone: they need no class of the user's."""
        return {**self.__dict__, "_own": ()}

    def _pays(self, inputs: tuple[Any, ...]) -> bool:
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        return worth(self._convolutions, tensors[0].shape[0], native_type(tensors)).pays

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
                    record_shapes(self.plain, inputs)
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

    def explain(self) -> str:
        """One line a node: native, with what it was fused with, or plain, with the reason."""
        if self._reason is not None:
            return f"{self._name}: plain layout, because {self._reason}."
        if self._plan is None or not isinstance(self.plain, fx.GraphModule):
            return f"{self._name}: not planned yet: run it once, or give lower() an example input."
        return explain_plan(self._name, self.plain.graph, self._plan)

    @property
    def native_steps(self) -> int:
        """Number of passes over memory in the native layout; 0 in the plain layout or before planning."""
        return 0 if self._plan is None else len(self._plan.steps)

    def _refuse(self, reason: str) -> None:
        self._reason = reason
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
    """An inference copy of ``model`` that keeps activations in the native layout between sparse convolutions.

    Args:
        model: in evaluation mode, as :func:`mezzotint.sparsify` left it; it is not changed. What lies between sparse
            convolutions (batch norm, ReLU, residual adds) is fused into them; everything else runs as it was.
        example_input: a tensor, or a tuple of positional arguments, that decides what can be lowered; other batch and
            image sizes work too. Without one, the first call's inputs decide.
        layout: "auto": batches that would cost more in the native layout than in the plain one run in that;
            "native": whatever the batch.

    Returns:
        A module with the model's own call. A model that cannot be traced runs in the plain layout: the log (logger
        ``mezzotint.lowering.model``, level WARNING) says so once with the reason, and
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


def _require_native() -> None:
    reason = native.unavailable()
    if reason is not None:
        raise Untraceable(reason)
