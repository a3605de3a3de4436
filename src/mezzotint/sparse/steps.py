"""Was a step taken, on which gradients, and is the topology told of it in time? What the optimiser itself says."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from mezzotint.errors import InputError, message

_log = logging.getLogger(__name__)


class StepWatch:
    """Follows the steps of an optimiser from just before each of them, whoever calls it."""

    def __init__(self, optimizer: Optimizer, before_step: Callable[[float], None]) -> None:
        """
        Args:
            optimizer: to follow.
            before_step: a bound method, held weakly; called with the factor by which the gradients are still to be
                divided (``GradScaler`` leaves that to fused optimisers).
        """
        self._optimizer = optimizer
        self._taken: int | None = 0
        self._begun = self._told = False
        inner: Callable[[], Callable[[float], None] | None] = weakref.WeakMethod(before_step)
        here = weakref.ref(self)

        def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            watch, call = here(), inner()
            if watch is not None and call is not None and not _overflowed(optimizer):
                watch._count()
                # A closure has yet to compute the gradients.
                if kwargs.get("closure") is None and all(argument is None for argument in args[1:]):
                    call(_scale(optimizer))

        self._handle = optimizer.register_step_pre_hook(hook)

    def _count(self) -> None:
        self._taken = (self._taken or 0) + 1

    @property
    def behind(self) -> bool:
        """Whether a step came before the topology was told of the last one; the log says so once."""
        behind = self._taken is not None and self._taken > 1
        if behind and not self._told:
            self._told = True
            _log.warning(
                "The optimiser has taken two steps, and topology.step() was not called between them: weights move only"
                " where it is called after every step (close() ends that)."
            )
        return behind

    def taken(self, told: bool) -> bool:
        """Whether there was a step to count: ``told`` says so, and the optimiser has stepped since this was last asked.

        Raises:
            InputError: it never has, and gradients wait for it: the topology is asked before the optimiser.
        """
        taken, self._taken = self._taken, 0
        if not told:
            return False
        if taken is None or taken:
            self._begun = True
            return True
        if self._waiting():
            self._refuse()
        return False

    def _refuse(self) -> None:
        received = "a call before the optimiser's step"
        fix = (
            "Call optimizer.step() (or Precision.step) first; where a loss scaler skipped the step, call"
            " topology.step(False)."
        )
        if not self._begun:
            allowed = "a call after every step of the optimiser that the topology was made with"
            raise InputError(message("topology.step()", received=received, allowed=allowed, fix=fix))
        if not self._told:  # in the middle of a training this is hardly the order; it may be a loss scaler after all
            self._told = True
            _log.warning("topology.step(): received %s, taken for a skipped step. %s", received, fix)

    def resume(self) -> None:
        """Whether the last step was told of is not known: a checkpoint may have been taken at any moment."""
        self._taken = None

    def close(self) -> None:
        """Let go of the optimiser."""
        self._handle.remove()

    def _waiting(self) -> bool:
        """Whether there are gradients, all of them finite: a loss scaler would not have skipped a step on them."""
        gradients = [p.grad for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        return bool(gradients) and all(_finite(gradient) for gradient in gradients)


def _finite(gradient: Tensor) -> bool:
    return bool((gradient._values() if gradient.is_sparse else gradient).isfinite().all())


def _overflowed(optimizer: Optimizer) -> bool:
    """Whether ``GradScaler`` tells a fused optimiser that this step is none."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, Tensor) and bool(found)


def _scale(optimizer: Optimizer) -> float:
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)
