"""What is known of missing weights? The momentum they would have, or their gradients, from windowed dense gradients.

*Momentum*, for each supported optimiser: how a dense gradient is folded into dense moments (its own recursion), how the
moments of active weights rank, and how a window's moments become the state of a grown weight.

*SGD.* ``m = mu * m + (1 - dampening) * g``. A window of W steps holds all but ``mu**W`` of it; the truncated sum is
used as it is, never inflated, so that a grown weight's first steps are at most what they would have been. (PyTorch
starts the buffer with an undamped gradient; with dampening, the folded moments differ from it by that first term.)

*Adam, AdamW.* A window of 44 steps holds 4 % of the second moment (``beta2 = 0.999``): used as it is, it would make a
grown weight's first step five times too long. Both moments are therefore bias-corrected for the n steps of the window
and brought to the normalisation of the optimiser's own t steps, ``m_t = m_n (1 - beta1**t) / (1 - beta1**n)`` and
likewise for the second moment. The step of a grown weight is then ``lr`` times the window's bias-corrected ratio,
which is at most ``sqrt((1 - beta1) (1 - beta2**n) / ((1 - beta1**n) (1 - beta2)))``: 2.1 for W = 44.

While n = t, which is the case as long as the window is never closed, no correction is made and the moments are exact.

*Gradients* are no optimiser's state: their sum over the window (Evci et al. 2020, RigL, with a window of one step), or
their running average (SNFS as the authors of RigL coded it). A weight that they grow starts without momentum, and with
the mean second moment of its layer (see ``sparse.transfer``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from mezzotint.errors import InputError, NotRegistered, message, suggest

State = Mapping[str, Any]
Group = Mapping[str, Any]
Moments = dict[str, Tensor]
"""State key -> FP32 moments: ``[nnz]`` of the active weights, or ``[numel]`` of a whole layer."""


@dataclass(frozen=True, kw_only=True)
class MomentRule:
    """How one kind of optimiser averages gradients.

    Attributes:
        keys: the entries of the optimiser's state that average gradients.
        fold: ``fold(moments, gradient, group)``: one step of the optimiser's recursion, in place.
        score: ``score(moments, steps, group)``: at least 0; what ranks weights and layers.
        normalise: ``normalise(moments, folded, steps, group)``: bring moments of ``folded`` steps to the normalisation
            of state that is ``steps`` steps old, in place.
        steps: ``steps(state)``: how many steps the state has seen.
        of_optimizer: whether ``keys`` are entries of the optimiser's state, which is then exact for active weights.
    """

    keys: tuple[str, ...]
    fold: Callable[[Moments, Tensor, Group], None]
    score: Callable[[Moments, int, Group], Tensor]
    normalise: Callable[[Moments, int, int, Group], None]
    steps: Callable[[State], int]
    of_optimizer: bool = True


def _fold_sgd(moments: Moments, gradient: Tensor, group: Group) -> None:
    moments["momentum_buffer"].mul_(group["momentum"]).add_(gradient, alpha=(1 - group["dampening"]) * _sign(group))


def _score_sgd(moments: Moments, steps: int, group: Group) -> Tensor:
    return moments["momentum_buffer"].abs()


def _normalise_nothing(moments: Moments, folded: int, steps: int, group: Group) -> None:
    """Neither SGD's momentum nor a sum of gradients has a normalisation."""


def _fold_sum(moments: Moments, gradient: Tensor, group: Group) -> None:
    moments["gradient"].add_(gradient)


def _fold_average(moments: Moments, gradient: Tensor, group: Group) -> None:
    moments["gradient"].lerp_(gradient, 1 - AVERAGE_DECAY)


def _score_gradient(moments: Moments, steps: int, group: Group) -> Tensor:
    return moments["gradient"].abs()


def _no_steps(state: State) -> int:
    return 0


def _fold_adam(moments: Moments, gradient: Tensor, group: Group) -> None:
    beta1, beta2 = (float(beta) for beta in group["betas"])
    moments["exp_avg"].lerp_(gradient * _sign(group), 1 - beta1)
    moments["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)


def _score_adam(moments: Moments, steps: int, group: Group) -> Tensor:
    """The bias-corrected ratio of the moments."""
    beta1, beta2 = (float(beta) for beta in group["betas"])
    if steps == 0:
        return torch.zeros_like(moments["exp_avg"])
    root = (moments["exp_avg_sq"] / (1 - beta2**steps)).sqrt_().add_(group["eps"])
    return (moments["exp_avg"] / (1 - beta1**steps)).abs_().div_(root)


def _normalise_adam(moments: Moments, folded: int, steps: int, group: Group) -> None:
    if folded in (0, steps):
        return
    for key, beta in zip(("exp_avg", "exp_avg_sq"), group["betas"], strict=True):
        moments[key].mul_((1 - float(beta) ** steps) / (1 - float(beta) ** folded))


def _adam_steps(state: State) -> int:
    return int(state["step"]) if "step" in state else 0


def _sign(group: Group) -> int:
    return -1 if group.get("maximize", False) else 1


AVERAGE_DECAY: Final = 0.9
"""Of the running average of gradients: the momentum that SNFS uses."""
_SGD: Final = MomentRule(
    keys=("momentum_buffer",), fold=_fold_sgd, score=_score_sgd, normalise=_normalise_nothing, steps=_no_steps
)
_ADAM: Final = MomentRule(
    keys=("exp_avg", "exp_avg_sq"), fold=_fold_adam, score=_score_adam, normalise=_normalise_adam, steps=_adam_steps
)


def _of_gradients(fold: Callable[[Moments, Tensor, Group], None]) -> MomentRule:
    return MomentRule(
        keys=("gradient",),
        fold=fold,
        score=_score_gradient,
        normalise=_normalise_nothing,
        steps=_no_steps,
        of_optimizer=False,
    )


_SUM: Final = _of_gradients(_fold_sum)
_AVERAGE: Final = _of_gradients(_fold_average)
_ALLOWED: Final = "torch.optim.SGD with momentum above 0, Adam or AdamW"


def rule_for(optimizer: Optimizer, group: Group) -> MomentRule:
    """The rule of ``optimizer`` for the parameters of ``group``.

    Raises:
        InputError: an optimiser that keeps no momentum, or one of another kind.
    """
    if isinstance(optimizer, (Adam, AdamW)):
        return _ADAM
    if isinstance(optimizer, SGD) and group["momentum"] > 0:
        return _SGD
    received = "SGD without momentum" if isinstance(optimizer, SGD) else type(optimizer).__name__
    raise InputError(
        message("optimizer of a momentum method", received=received, allowed=_ALLOWED, fix="Set momentum=0.9, say.")
    )


def _sum_rule(optimizer: Optimizer, group: Group) -> MomentRule:
    return _SUM


def _average_rule(optimizer: Optimizer, group: Group) -> MomentRule:
    return _AVERAGE


EVIDENCE: Final[dict[str, Callable[[Optimizer, Group], MomentRule]]] = {
    "momentum": rule_for,
    "gradient": _sum_rule,
    "average_gradient": _average_rule,
}
"""Name -> by what missing weights rank: the optimiser's momentum, or gradients summed or averaged over the window."""


def active_moments(rule: MomentRule, state: State, like: Tensor) -> Moments:
    """The moments of the active weights, FP32 ``[nnz]``; zeros where the optimiser has none yet."""
    found: Moments = {}
    for key in rule.keys:
        tensor = state.get(key)
        wide = torch.promote_types(like.dtype, torch.float32)
        found[key] = torch.zeros_like(like, dtype=wide) if tensor is None else tensor.to(wide)
    return found


def no_moments(rule: MomentRule, numel: int, like: Tensor) -> Moments:
    """Zero moments of a whole layer, FP32 (or wider, as ``like``), where ``like`` lies."""
    wide = torch.promote_types(like.dtype, torch.float32)
    return {key: torch.zeros(numel, dtype=wide, device=like.device) for key in rule.keys}


def evidence_of(name: str) -> Callable[[Optimizer, Group], MomentRule]:
    """The entry of :data:`EVIDENCE`.

    Raises:
        NotRegistered: there is none of that name.
    """
    if name not in EVIDENCE:
        raise NotRegistered(
            message("evidence", received=name, allowed=f"{', '.join(EVIDENCE)}, or None: random numbers")
            + suggest(name, EVIDENCE)
        )
    return EVIDENCE[name]
