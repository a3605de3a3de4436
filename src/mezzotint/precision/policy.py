"""In which precision is a network trained? Four modes: how the forward pass is cast, and when a step is skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from mezzotint.errors import CheckpointError, InputError, RunError, message, require_registered
from mezzotint.kernels.hardware import computes_in
from mezzotint.precision.gradients import attached_gradients, clip, own_gradients, refuse_replaced, unscale
from mezzotint.precision.half_forward import HalfForward
from mezzotint.precision.loss_scale import LossScale, after_clean_step, after_overflow
from mezzotint.precision.stored_half import StoredHalf


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What a precision mode does: how the forward pass is cast, and whether the loss is scaled."""

    context: Callable[[str], AbstractContextManager[Any]]
    scaled: bool
    doc: str


def _autocast(dtype: torch.dtype) -> Callable[[str], AbstractContextManager[Any]]:
    @contextlib.contextmanager
    def context(device_type: str) -> Iterator[None]:
        stored = contextlib.nullcontext() if computes_in(dtype, device_type) else StoredHalf(dtype)
        with torch.autocast(device_type, dtype=dtype), stored:
            yield

    return context


MODES: Final[dict[str, Mode]] = {
    "fp32": Mode(context=lambda device: contextlib.nullcontext(), scaled=False, doc="single precision throughout"),
    "bf16": Mode(context=_autocast(torch.bfloat16), scaled=False, doc="BF16 forward and backward, FP32 masters"),
    "fp16": Mode(context=_autocast(torch.float16), scaled=True, doc="FP16 forward and backward, FP32 masters"),
    "fp16-forward": Mode(context=lambda device: HalfForward(), scaled=False, doc="FP16 forward, FP32 backward"),
}
"""Name -> mode. BF16 has the range of FP32 and needs no loss scale; a single-precision backward pass needs none."""


class Precision:
    """Casts the forward pass, scales the loss, and steps the optimiser only with finite gradients.

    Parameters are FP32 in every mode: they are the master weights. In every mode a step whose gradients are not all
    finite is skipped: parameters, optimiser state and, by the result that is handed to ``topo.step``, statistics and
    schedules stay as they are. In mode "fp16" the loss scale halves then, and doubles after ``growth_interval`` clean
    steps in a row.

    Example::

        mp = Precision("fp16")
        with mp.autocast():
            loss = criterion(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        stepped = mp.step(loss, optimizer)

    For gradient accumulation call :meth:`backward` for every part and :meth:`update` once. One Precision serves one
    optimiser at a time: each update needs a backward pass of its own.
    """

    def __init__(
        self,
        mode: str,
        device: torch.device | str = "cpu",
        init_scale: float = 2.0**16,
        growth_interval: int = 2000,
        *,
        patience: int = 20,
    ) -> None:
        """
        Args:
            mode: "fp32", "bf16", "fp16" or "fp16-forward".
            device: where the network runs.
            init_scale: first loss scale of mode "fp16", 2**-14 to 2**24.
            growth_interval: clean steps in a row after which the loss scale doubles.
            patience: skipped steps in a row after which :meth:`update` gives up with an error.

        Raises:
            NotRegistered: an unknown mode.
            InputError: a scale, interval or patience out of range.
        """
        require_registered("precision", mode, MODES)
        if patience < 1:
            raise InputError(message("patience", received=patience, allowed="at least 1 step"))
        self.mode = mode
        self.device = torch.device(device)
        self.patience = patience
        scaled = MODES[mode].scaled
        self._scale = LossScale(
            value=float(init_scale) if scaled else 1.0, growth_interval=growth_interval, dynamic=scaled
        )
        self._last_loss: Tensor | None = None

    @property
    def loss_scale(self) -> float:
        """What the next loss is multiplied by; 1.0 in the modes that do not scale."""
        return self._scale.value

    @property
    def skipped(self) -> int:
        """How many steps have been skipped so far."""
        return self._scale.skipped

    def autocast(self) -> AbstractContextManager[Any]:
        """A new context for the forward pass and the loss."""
        return MODES[self.mode].context(self.device.type)

    def backward(self, loss: Tensor) -> None:
        """Back-propagate ``loss``, a scalar, times the loss scale. Gradients add up until :meth:`update`.

        Raises:
            InputError: the loss is not a scalar, or no parameter depends on it.
        """
        if loss.numel() != 1:
            raise InputError(
                message(
                    "loss", received=f"shape {tuple(loss.shape)}", allowed="one number", fix="Take its mean or sum."
                )
            )
        if not loss.requires_grad:
            raise InputError(
                message("loss", received="a tensor without gradient", allowed="a loss computed from parameters")
            )
        scaled = loss.float() if loss.dtype in (torch.float16, torch.bfloat16) else loss
        (scaled * self.loss_scale).backward()
        self._last_loss = loss.detach()

    def update(self, optimizer: Optimizer, *, clip_norm: float | None = None) -> bool:
        """Unscale the gradients, check them, clip them, and step ``optimizer``: True when it stepped.

        Gradients attached to the optimiser (see ``attach_gradients``) are unscaled, checked and clipped with its own.

        Args:
            optimizer: over FP32 parameters.
            clip_norm: largest joint 2-norm of the optimiser's unscaled gradients; None does not clip.

        Raises:
            InputError: no backward pass since the last update, no gradient at all, FP16 gradients, or an optimiser that
                was built before ``sparsify``.
            RunError: ``patience`` steps in a row had to be skipped.
        """
        own, attached = own_gradients(optimizer), attached_gradients(optimizer)
        if self._last_loss is None or not own:
            raise InputError(
                message(
                    "update",
                    received="no backward pass since the last update" if own else "no gradients",
                    allowed="one or more calls of backward(loss) on the optimiser's parameters before each update",
                )
            )
        refuse_replaced(optimizer)
        loss, self._last_loss = self._last_loss, None
        if not unscale([*own, *attached], self.loss_scale):
            self._scale = after_overflow(self._scale)
            self._lose_patience(loss)
            return False
        if clip_norm is not None:
            clip(own, attached, clip_norm)
        optimizer.step()
        self._scale = after_clean_step(self._scale)
        return True

    def step(self, loss: Tensor, optimizer: Optimizer, *, clip_norm: float | None = None) -> bool:
        """:meth:`backward` and :meth:`update`: True when the optimiser stepped, False when the step was skipped."""
        self.backward(loss)
        return self.update(optimizer, clip_norm=clip_norm)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, JSON-able; restoring it continues exactly."""
        return {"mode": self.mode, **asdict(self._scale)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            CheckpointError: the state is of another mode, or incomplete.
        """
        expected = self.state_dict()
        if set(state) != set(expected):
            odd = ", ".join(sorted(set(state) ^ set(expected)))
            raise CheckpointError(
                message("precision state", received=f"odd or missing {odd}", allowed=", ".join(expected))
            )
        if state["mode"] != self.mode:
            raise CheckpointError(
                message("precision of the checkpoint", received=state["mode"], allowed=f"{self.mode}, as of this run")
            )
        self._scale = LossScale(**{key: value for key, value in state.items() if key != "mode"})

    def _lose_patience(self, loss: Tensor) -> None:
        in_row = self._scale.skipped_in_row
        if in_row < self.patience:
            return
        finite = bool(torch.isfinite(loss))
        what = "gradients are not finite" if finite else f"loss is {loss.item()}"
        scale = f"; the loss scale is down to {self.loss_scale:g}" if self._scale.dynamic else ""
        raise RunError(
            f"training: the {what} for {in_row} steps in a row{scale}. Lower the learning rate, clip gradients"
            " (clip_norm), or check the data for NaN."
        )

    def __repr__(self) -> str:
        return (
            f"Precision({self.mode!r}, device='{self.device}', loss_scale={self.loss_scale:g}, skipped={self.skipped})"
        )
