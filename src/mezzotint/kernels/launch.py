"""Which kernel runs a problem, and why? The launcher's choice, its record, and the ways to steer it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.errors import NoKernel, NotRegistered, suggest
from mezzotint.kernels.problem import Problem
from mezzotint.kernels.table import KERNELS, Kernel

#: Kernels timed against each other at most; the cost estimate chooses which.
_FINALISTS = 3
#: Exact problems remembered; every topology update makes new ones, so the memory of them is bounded.
_REMEMBERED = 4096
_ROUNDS = 5
_POLICIES = ("rule", "measure")

_lock = threading.RLock()
_policy = "rule"
_decisions: dict[tuple[str, Problem], Decision] = {}
_exact: dict[tuple[str, Problem], Decision] = {}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The launcher's stored choice for a problem.

    Attributes:
        kernel: the winner.
        problem: the problem, its density rounded to a bucket.
        policy: ``"rule"``, ``"measure"`` or the name that was forced.
        reason: one sentence.
        estimates: kernel name -> cost in dense-equivalent multiply-adds.
        milliseconds: kernel name -> median time, empty unless measured.
        refusals: kernel name -> sentence why it could not take part.
    """

    kernel: Kernel
    problem: Problem
    policy: str
    reason: str
    estimates: dict[str, float]
    milliseconds: dict[str, float]
    refusals: dict[str, str]

    def record(self) -> dict[str, Any]:
        """The decision as JSON-ready values."""
        return {
            "op": self.problem.op,
            "problem": self.problem.summary(),
            "kernel": self.kernel.name,
            "policy": self.policy,
            "reason": self.reason,
            "estimates": self.estimates,
            "milliseconds": self.milliseconds,
            "refusals": self.refusals,
        }

    def explain(self) -> str:
        """The decision in words, one line a kernel."""
        lines = [self.problem.summary(), f"  chosen: {self.kernel.name} ({self.reason})"]
        for name, cost in sorted(self.estimates.items(), key=lambda item: item[1]):
            timed = f", measured {self.milliseconds[name]:.3f} ms" if name in self.milliseconds else ""
            lines.append(f"  able: {name}: estimated cost {cost:.3g} dense multiply-adds{timed}")
        lines += [f"  refused: {name}: {why}" for name, why in sorted(self.refusals.items())]
        return "\n".join(lines)


def set_policy(choose: str) -> None:
    """Set how kernels are chosen from now on, in every thread.

    Args:
        choose: ``"rule"`` (default): the lowest cost estimate, the same on every run; ``"measure"``: the fastest of
            the best candidates, timed warm and interleaved on the real tensors at a problem's first call; or the
            name of a kernel, which is then used wherever an operator has it.
    """
    global _policy
    known = {*_POLICIES, *(kernel.name for kernel in KERNELS)}
    if choose not in known:
        raise NotRegistered(
            f"no kernel policy {choose!r}; known: {', '.join(sorted(known))}.{suggest(choose, sorted(known))}"
        )
    with _lock:
        _policy = choose


def get_policy() -> str:
    """The policy in force: ``"rule"``, ``"measure"`` or a kernel's name."""
    return _policy


@contextmanager
def policy(choose: str) -> Iterator[None]:
    """``with policy("measure"): ...`` sets the policy and restores the former one."""
    before = _policy
    set_policy(choose)
    try:
        yield
    finally:
        set_policy(before)


def decide(problem: Problem, trial: Callable[[Kernel], Any] | None = None) -> Decision:
    """Choose the kernel for ``problem``, or return the stored decision.

    Args:
        problem: what is to be computed.
        trial: runs a kernel once on the real tensors and returns its output; needed by ``"measure"``.

    Raises:
        NoKernel: every registered kernel refused; the message lists each with its reason.
    """
    exact = (_policy, problem)
    found = _exact.get(exact)
    if found is not None:
        return found
    with _lock:
        bucket = (_policy, problem.bucket())
        stored = _decisions.get(bucket)
        if stored is None:
            stored = _decisions[bucket] = _choose(problem, trial)
        elif stored.kernel.refusal(problem) is not None:
            stored = _choose(problem, trial)  # for this very nnz alone: the bucket keeps its own decision
        if len(_exact) >= _REMEMBERED:
            _exact.clear()
        _exact[exact] = stored
        return stored


def decisions() -> list[dict[str, Any]]:
    """All stored decisions as JSON-ready records, in the order in which they were made."""
    return [decision.record() for decision in _decisions.values()]


def explanations(op: str | None = None) -> str:
    """All stored decisions in words, or those of operator ``op``."""
    chosen = (decision for decision in _decisions.values() if op in (None, decision.problem.op))
    return "\n".join(decision.explain() for decision in chosen)


def forget() -> None:
    """Drop every stored decision, so that the next call of each problem decides anew."""
    with _lock:
        _decisions.clear()
        _exact.clear()


def _choose(problem: Problem, trial: Callable[[Kernel], Any] | None) -> Decision:
    refusals = {kernel.name: why for kernel in KERNELS.of(problem.op) if (why := kernel.refusal(problem))}
    able = [kernel for kernel in KERNELS.of(problem.op) if kernel.name not in refusals]
    if not able:
        raise NoKernel(_miss(problem, refusals))
    # The bucket's density decides, not the exact one: which member of a bucket comes first must not matter, or a run
    # that is resumed in mid-bucket could choose otherwise than the one that was not interrupted.
    bucket = problem.bucket()
    ranked = sorted(able, key=lambda kernel: (kernel.oracle, kernel.estimate(bucket), -kernel.priority))
    estimates = {kernel.name: kernel.estimate(bucket) for kernel in able if not kernel.oracle}
    winner, reason, times = _winner(ranked, trial)
    return Decision(
        kernel=winner,
        problem=bucket,
        policy=_policy,
        reason=reason,
        estimates=estimates,
        milliseconds=times,
        refusals=refusals,
    )


def _winner(ranked: list[Kernel], trial: Callable[[Kernel], Any] | None) -> tuple[Kernel, str, dict[str, float]]:
    forced = next((kernel for kernel in ranked if kernel.name == _policy), None)
    if forced is not None:
        return forced, f"forced by the policy {_policy!r}", {}
    finalists = [kernel for kernel in ranked if not kernel.oracle][:_FINALISTS] or ranked[:1]
    if len(finalists) == 1:
        return finalists[0], "the only kernel that can do it", {}
    if _policy == "measure" and trial is not None:
        times = _measure(finalists, trial)
        best = min(finalists, key=lambda kernel: times[kernel.name])
        return best, f"fastest of {len(finalists)}, median of {_ROUNDS} interleaved runs", times
    return finalists[0], "lowest cost estimate", {}


def _measure(kernels: list[Kernel], trial: Callable[[Kernel], Any]) -> dict[str, float]:
    """Median milliseconds of each kernel: one warm-up each, then interleaved rounds."""
    times: dict[str, list[float]] = {kernel.name: [] for kernel in kernels}
    for round_ in range(_ROUNDS + 1):
        for kernel in kernels:
            start = time.perf_counter()
            output = trial(kernel)
            _synchronise(output)
            if round_:
                times[kernel.name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(samples) for name, samples in times.items()}


def _synchronise(output: object) -> None:
    if isinstance(output, torch.Tensor) and output.device.type == "cuda":
        torch.cuda.synchronize(output.device)


def _miss(problem: Problem, refusals: dict[str, str]) -> str:
    listed = "; ".join(f"{name}: {why}" for name, why in refusals.items()) or "none is registered"
    return f"no kernel can do {problem.summary()}. Kernels of {problem.op}: {listed}."
