"""Which kernel runs a problem, and why? The launcher's choice, its record, and the ways to steer it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from mezzotint.errors import NoKernel, NotRegistered, message, suggest
from mezzotint.kernels import measure, store
from mezzotint.kernels.decision import Decision, Source
from mezzotint.kernels.problem import Problem
from mezzotint.kernels.table import KERNELS, Kernel

#: Kernels timed against each other at most; the cost estimate chooses which.
_FINALISTS = 4
#: Exact problems remembered; every topology update makes new ones, so the memory of them is bounded.
_REMEMBERED = 4096
_POLICIES = ("rule", "measure")

Trial = Callable[[Kernel], Any]
#: Called with the problem and ``None`` when its timing begins, and with the decision when it ends.
Watcher = Callable[[Problem, Decision | None], None]


class _Setting(NamedTuple):
    policy: str = "rule"
    force: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Choice:
    kernel: Kernel
    source: Source
    reason: str
    milliseconds: Mapping[str, float]
    file: str | None = None
    timed: bool = False


# A key says under which setting a decision was made; deterministic mode is part of it.
_Key = tuple[_Setting, bool]

_lock = threading.RLock()
_setting = _Setting()
#: Grows whenever an earlier choice may not hold any more; who keeps choices keeps them under it.
epoch = 0
_decisions: dict[tuple[_Key, Problem], Decision] = {}
_exact: dict[tuple[_Key, Problem], Decision] = {}
_watchers: list[Watcher] = []
_untimed: set[str] = set()


def set_policy(choose: str, *, force: Mapping[str, str] | None = None) -> None:
    """Set how kernels are chosen from now on, in every thread.

    Args:
        choose: ``"rule"`` (default): the lowest cost estimate, the same on every run; ``"measure"``: the fastest of
            the best candidates, restored from the disk, or else timed warm and interleaved on the real tensors at a
            problem's first call, and stored; or the name of a kernel, which is then used wherever an operator has it
            and it can do the problem. Under ``torch.use_deterministic_algorithms(True)``, ``"measure"`` never times:
            what is not stored falls to the rule.
        force: operator name -> name of the kernel that it uses, whatever the policy says; a problem that this kernel
            refuses is an error. ``None`` forces nothing.

    Raises:
        NotRegistered: a policy, an operator or a kernel that is not known.
    """
    global _setting, epoch
    known = {*_POLICIES, *(kernel.name for kernel in KERNELS)}
    if choose not in known:
        raise NotRegistered(
            f"no kernel policy {choose!r}; known: {', '.join(sorted(known))}.{suggest(choose, sorted(known))}"
        )
    for op, name in (force or {}).items():
        _check_forced(op, name)
    with _lock:
        _setting = _setting._replace(policy=choose, force=tuple(sorted((force or {}).items())))
        epoch += 1


def get_policy() -> str:
    """The policy in force: ``"rule"``, ``"measure"`` or a kernel's name."""
    return _setting.policy


def get_force() -> dict[str, str]:
    """Operator name -> the kernel that is forced on it."""
    return dict(_setting.force)


@contextmanager
def policy(choose: str, *, force: Mapping[str, str] | None = None) -> Iterator[None]:
    """``with policy("measure"): ...`` sets the policy and restores the former one; arguments as :func:`set_policy`."""
    global _setting, epoch
    before = _setting
    set_policy(choose, force=force)
    try:
        yield
    finally:
        with _lock:
            _setting = before
            epoch += 1


def never_time(op: str) -> None:
    """Have the launcher never run operator ``op`` for the sake of timing: a call of it leaves something behind."""
    _untimed.add(op)


@contextmanager
def label(name: str, *ops: str) -> Iterator[None]:
    """``with label("trial"): ...`` runs the kernels that are registered under a label, in every thread.

    Args:
        name: the label.
        ops: the operators that use it; when none is named, every operator that has a kernel of that label. They use
            no other kernel; the remaining operators go on as before. A backward pass is under the label when it runs
            inside of the ``with``.

    Raises:
        NotRegistered: no kernel (of an operator that is named) has the label.
    """
    global _setting, epoch
    KERNELS.check_label(name)
    for op in ops:
        KERNELS.check_label(name, op)
    asked = dict.fromkeys(ops or (kernel.op for kernel in KERNELS if kernel.label == name), name)
    with _lock:
        before = _setting
        _setting = before._replace(labels=tuple(sorted({**dict(before.labels), **asked}.items())))
        epoch += 1
    try:
        yield
    finally:
        with _lock:
            _setting = before
            epoch += 1


@contextmanager
def measuring(watcher: Watcher) -> Iterator[None]:
    """Have ``watcher`` called whenever a problem is timed, in any thread: for progress bars.

    It gets the problem and ``None`` when timing begins, and the problem and its decision when it has ended. Decisions
    that are restored, ruled or forced take no time and are not told.
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def decide(problem: Problem, trial: Trial | None = None) -> Decision:
    """Choose the kernel for ``problem``, or return the decision made before.

    Args:
        problem: what is to be computed.
        trial: runs a kernel once on the real tensors and returns its output; ``"measure"`` times with it.

    Raises:
        NoKernel: every registered kernel refused, or the one that is forced; the message lists each with its reason.
    """
    setting = _setting
    key = (setting, setting.policy == "measure" and torch.are_deterministic_algorithms_enabled())
    found = _exact.get((key, problem))
    if found is not None:
        return found
    with _lock:
        bucket = (key, problem.bucket())
        made = _decisions.get(bucket)
        if made is None:
            made = _decisions[bucket] = _choose(problem, trial, key)
        elif made.kernel.refusal(problem) is not None:
            # For this very nnz alone, and by rule: the bucket keeps its own decision, here and on the disk.
            made = _choose(problem, None, key)
        if len(_exact) >= _REMEMBERED:
            _exact.clear()
        _exact[key, problem] = made
        return made


def decisions() -> list[dict[str, Any]]:
    """All decisions of this process as JSON-ready records, in the order in which they were made."""
    return [decision.record() for decision in _decisions.values()]


def explanations(op: str | None = None) -> str:
    """All decisions of this process in words, or those of operator ``op``."""
    chosen = (decision for decision in _decisions.values() if op in (None, decision.problem.op))
    return "\n".join(decision.explain() for decision in chosen)


def forget() -> None:
    """Drop every decision of this process, so that each problem decides anew; what is stored on the disk stays."""
    global epoch
    with _lock:
        epoch += 1
        _decisions.clear()
        _exact.clear()


def _reconsider(kernel: Kernel) -> None:
    """A kernel that comes late, with a package say, takes part in what has been decided without it."""
    global epoch
    with _lock:
        epoch += 1
        for kept in (_decisions, _exact):
            for key in [key for key in kept if key[1].op == kernel.op]:
                del kept[key]


KERNELS.watchers.append(_reconsider)


def _choose(problem: Problem, trial: Trial | None, key: _Key) -> Decision:
    able, refusals = KERNELS.candidates(problem, dict(key[0].labels).get(problem.op, ""))
    if not able:
        raise NoKernel(_miss(problem, refusals))
    # The bucket's density decides, not the exact one: which member of a bucket comes first must not matter, or a run
    # that is resumed in mid-bucket could choose otherwise than the one that was not interrupted.
    bucket = problem.bucket()
    ranked = sorted(able, key=lambda kernel: kernel.rank(bucket))
    choice = _forced(problem, ranked, refusals, key[0]) or _fastest(
        bucket, ranked, None if problem.op in _untimed else trial, key
    )
    decision = Decision(
        kernel=choice.kernel,
        problem=bucket,
        policy=key[0].policy,
        source=choice.source,
        reason=choice.reason,
        estimates={kernel.name: kernel.estimate(bucket) for kernel in able if not kernel.oracle},
        milliseconds=dict(choice.milliseconds),
        refusals=refusals,
        file=choice.file,
    )
    if choice.timed:
        _tell(bucket, decision)
    return decision


def _forced(problem: Problem, ranked: list[Kernel], refusals: Mapping[str, str], setting: _Setting) -> _Choice | None:
    """The kernel that the operator is told to use, or the one that the policy names; None when neither holds."""
    own = dict(setting.force).get(problem.op)
    if own is not None and own in refusals:
        raise NoKernel(
            message(
                f"the kernel {own!r} that is forced on {problem.op}",
                received=f"{problem.summary()}, which it refuses: {refusals[own]}",
                allowed=f"problems that it can do; kernels that can do this one: {_names(ranked)}",
                fix="Force another kernel, or none.",
            )
        )
    wanted = own or setting.policy
    kernel = next((kernel for kernel in ranked if kernel.name == wanted), None)
    if kernel is None:
        return None
    by = "forced on the operator" if own else f"forced by the policy {wanted!r}"
    return _Choice(kernel=kernel, source="forced", reason=by, milliseconds={})


def _fastest(bucket: Problem, ranked: list[Kernel], trial: Trial | None, key: _Key) -> _Choice:
    """By measurement, stored or now, if the policy wants that and there is a choice; else by the rule."""
    setting, deterministic = key
    finalists = [kernel for kernel in ranked if not kernel.oracle][:_FINALISTS] or ranked[:1]
    if len(finalists) == 1:
        return _Choice(kernel=finalists[0], source="rule", reason="the only kernel that can do it", milliseconds={})
    reason = "lowest cost estimate"
    if setting.policy == "measure" and (trial is not None or deterministic):
        stored = store.find(bucket, _usable(ranked))
        if stored is not None:
            return _restored(*stored, ranked)
        if trial is not None and not deterministic:
            return _measured(bucket, ranked, finalists, trial)
        reason += ": nothing is stored, and deterministic algorithms forbid to time"
    elif bucket.op in _untimed:
        reason += ": the operator is stateful, and is not run for the sake of timing"
    elif setting.policy not in _POLICIES:
        reason += f": {setting.policy!r} is not among the kernels that can do it"
    return _Choice(kernel=finalists[0], source="rule", reason=reason, milliseconds={})


def _measured(bucket: Problem, ranked: list[Kernel], finalists: list[Kernel], trial: Trial) -> _Choice:
    _tell(bucket, None)
    race = measure.race(finalists, trial, bucket.device)
    entry = store.Entry(kernel=race.winner.name, milliseconds=race.milliseconds, kernels=store.fingerprint(bucket.op))
    settled, file = store.settle(bucket, entry, _usable(ranked))
    if settled is not entry and file is not None:
        return replace(_restored(settled, file, ranked), timed=True)  # another process was quicker
    return _Choice(
        kernel=race.winner,
        source="measured",
        reason=f"fastest of {len(finalists)}, median of {race.rounds} interleaved round{'s' * (race.rounds != 1)}",
        milliseconds=race.milliseconds,
        file=None if file is None else str(file),
        timed=True,
    )


def _restored(entry: store.Entry, file: object, ranked: list[Kernel]) -> _Choice:
    return _Choice(
        kernel=next(kernel for kernel in ranked if kernel.name == entry.kernel),
        source="restored",
        reason=f"fastest of {len(entry.milliseconds)} when it was measured",
        milliseconds=entry.milliseconds,
        file=str(file),
    )


def _tell(problem: Problem, decision: Decision | None) -> None:
    for watcher in tuple(_watchers):
        watcher(problem, decision)


def _usable(able: list[Kernel]) -> store.Usable:
    """A stored decision holds as long as its kernel exists and can do the problem."""
    names = {kernel.name for kernel in able}
    return lambda entry: entry.kernel in names


def _check_forced(op: str, name: str) -> None:
    ops = sorted({kernel.op for kernel in KERNELS})
    if op not in ops:
        raise NotRegistered(
            f"no kernel can be forced on operator {op!r}: it is not registered; known: {', '.join(ops)}."
            f"{suggest(op, ops)} Operators of mezzotint are registered when mezzotint.ops is imported."
        )
    names = [kernel.name for kernel in KERNELS.of(op)]
    if name not in names:
        raise NotRegistered(
            f"no kernel {name!r} can be forced on {op}; known: {', '.join(names)}.{suggest(name, names)}"
        )


def _names(kernels: list[Kernel]) -> str:
    return ", ".join(kernel.name for kernel in kernels)


def _miss(problem: Problem, refusals: dict[str, str]) -> str:
    listed = "; ".join(f"{name}: {why}" for name, why in refusals.items()) or "none is registered"
    return f"no kernel can do {problem.summary()}. Kernels of {problem.op}: {listed}."
