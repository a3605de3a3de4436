"""Which kernels exist for an operator, and which of them can do a given problem?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from mezzotint.errors import DeclarationError, NotRegistered, suggest
from mezzotint.kernels.problem import Problem

Supports = Callable[[Problem], str | None]
Cost = Callable[[Problem], float]
LAYOUTS: Final = ("any", "contiguous", "channels_last")


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One way of computing an operator.

    Attributes:
        op: the operator's name.
        name: the kernel's own name, unique within the operator.
        run: ``run(*inputs, **attrs)`` returns the output (or outputs); inputs come in declared order, absent ones
            as ``None``, lists of tensors as lists. A kernel with ``into=True`` gets the preallocated outputs first and
            returns nothing.
        device: ``"cpu"``, ``"cuda"`` ..., or ``"any"``; between equals the kernel that names the device goes first.
        dtypes: types of the first input (the activations) that it takes; empty means every one that the operator does.
        types: further inputs -> types that it takes of them.
        attrs: attributes -> values that it takes of them, lists as tuples.
        layout: memory layout of the first input: ``"contiguous"``, ``"channels_last"`` or ``"any"``.
        label: a kernel with a label takes part only when the label is asked for
            (:func:`mezzotint.kernels.launch.label`); for trials beside the kernels that everybody gets.
        priority: breaks ties between equal costs, higher first.
        supports: returns ``None``, or one sentence why it cannot do a problem.
        cost: estimated cost in dense-equivalent multiply-adds, the ground of the deterministic rule.
        oracle: the slow reference; it takes part only when nothing else can, or when asked for by name.
    """

    op: str
    name: str
    run: Callable[..., Any]
    device: str = "any"
    dtypes: tuple[torch.dtype, ...] = ()
    types: tuple[tuple[str, tuple[torch.dtype, ...]], ...] = ()
    attrs: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    layout: str = "any"
    label: str = ""
    priority: int = 0
    supports: Supports | None = None
    cost: Cost | None = None
    into: bool = False
    oracle: bool = False

    def refusal(self, problem: Problem) -> str | None:
        """One sentence why this kernel cannot do ``problem``, or ``None`` when it can."""
        if self.device not in ("any", problem.device):
            return f"it runs on {self.device}, the tensors are on {problem.device}"
        if self.dtypes and problem.dtype not in self.dtypes:
            return f"it takes {_any(self.dtypes)}, the activations are {_one(problem.dtype)}"
        for name, types in self.types:
            dtype = problem.dtype_of(name)
            if dtype is not None and dtype not in types:
                return f"it takes {name} of type {_any(types)}, the call has {_one(dtype)}"
        for name, values in self.attrs:
            if problem.attr(name) not in values:
                return f"it takes {name} = {_any(values, ' or ')}, the call has {_one(problem.attr(name))}"
        if self.layout != "any" and problem.channels_last != (self.layout == "channels_last"):
            received = "channels_last" if problem.channels_last else "contiguous"
            return f"it takes {self.layout} activations, these are {received}"
        return self.supports(problem) if self.supports else None

    def estimate(self, problem: Problem) -> float:
        """Estimated cost; kernels without a model count as free and are ranked by priority alone."""
        return self.cost(problem) if self.cost else 0.0

    def rank(self, problem: Problem) -> tuple[bool, float, int, bool, str]:
        """The rule's order, smallest first: no oracle, cost, priority, the own device; the name leaves no tie."""
        return (self.oracle, self.estimate(problem), -self.priority, self.device == "any", self.name)

    def conflicts_with(self, other: Kernel) -> bool:
        """Whether some problem fits both, and nothing but the name says which of the two should run."""
        same = ("op", "device", "label", "oracle", "priority", "cost", "supports")
        return (
            all(getattr(self, field) == getattr(other, field) for field in same)
            and (self.layout == other.layout or "any" in (self.layout, other.layout))
            and (not self.dtypes or not other.dtypes or not set(self.dtypes).isdisjoint(other.dtypes))
            and _overlap(self.types, other.types)
            and _overlap(self.attrs, other.attrs)
        )

    def constraints(self) -> list[str]:
        """What it asks for, in the words of its registration: ``device=cpu``, ``stride=[1, 1]``, ``label=trial``."""
        shown = [f"device={self.device}"]
        shown += [f"dtypes={_any(self.dtypes, '|')}"] if self.dtypes else []
        shown += [f"{name}={_any(values, '|')}" for name, values in (*self.types, *self.attrs)]
        shown += [f"layout={self.layout}"] if self.layout != "any" else []
        shown += [f"label={self.label}"] if self.label else []
        shown += [f"priority={self.priority}"] if self.priority else []
        shown += ["conditions of its own"] if self.supports else []
        return [*shown, *(["the oracle"] if self.oracle else [])]


def _overlap(mine: tuple[tuple[str, tuple[Any, ...]], ...], theirs: tuple[tuple[str, tuple[Any, ...]], ...]) -> bool:
    """Whether some value of every name fits both constraints."""
    other = dict(theirs)
    return all(any(value in other[name] for value in values) for name, values in mine if name in other)


def _any(values: tuple[Any, ...], between: str = ", ") -> str:
    """The alternatives of a constraint."""
    return between.join(map(_one, values))


def _one(value: Any) -> str:
    """A type without ``torch.``, a list with brackets."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return str(list(value)) if isinstance(value, tuple) else str(value)


class KernelTable:
    """All kernels by operator; mistakes show at registration, not at the first call."""

    def __init__(self) -> None:
        self._kernels: dict[str, dict[str, Kernel]] = {}
        self.watchers: list[Callable[[Kernel], None]] = []
        """Called with every kernel that is added."""

    def add(self, kernel: Kernel) -> None:
        """Register ``kernel``.

        Raises:
            DeclarationError: the operator has a kernel of that name, or one that fits the same problems at the same
                priority.
        """
        of_op = self._kernels.setdefault(kernel.op, {})
        if kernel.name in of_op:
            raise DeclarationError(
                f"kernel {kernel.name!r} of operator {kernel.op!r} is registered already; "
                "give the new one another name."
            )
        rival = next((other for other in of_op.values() if kernel.conflicts_with(other)), None)
        if rival is not None:
            raise DeclarationError(
                f"kernel {kernel.name!r} of operator {kernel.op!r} ({', '.join(kernel.constraints())}) fits the same "
                f"problems as {rival.name!r} ({', '.join(rival.constraints())}) at the same priority, "
                f"{kernel.priority}; give one of them another priority, a cost, a label or a narrower constraint."
            )
        of_op[kernel.name] = kernel
        for watcher in self.watchers:
            watcher(kernel)

    def of(self, op: str) -> tuple[Kernel, ...]:
        """The kernels of operator ``op`` in the order of registration."""
        return tuple(self._kernels.get(op, {}).values())

    def labels(self, op: str | None = None) -> list[str]:
        """The labels that kernels have, all or those of operator ``op``; sorted."""
        return sorted({kernel.label for kernel in self if kernel.label and op in (None, kernel.op)})

    def candidates(self, problem: Problem, label: str = "") -> tuple[list[Kernel], dict[str, str]]:
        """(kernels that can do ``problem``, kernel -> why it cannot) for all kernels of the operator.

        Args:
            problem: what is to be computed.
            label: with a label only kernels of that label take part, without one only kernels that have none.
        """
        kernels = self.of(problem.op)
        refusals = {kernel.name: why for kernel in kernels if (why := _label_refusal(kernel, label))}
        refusals |= {k.name: why for k in kernels if k.name not in refusals and (why := k.refusal(problem))}
        return [kernel for kernel in kernels if kernel.name not in refusals], refusals

    def check_label(self, label: str, op: str | None = None) -> None:
        """A label that no kernel (of ``op``) has is a :class:`NotRegistered` that lists those there are."""
        known = self.labels(op)
        if label not in known:
            where = f" of {op}" if op else ""
            listed = ", ".join(known) or "none"
            raise NotRegistered(f"no kernel{where} has the label {label!r}; known: {listed}.{suggest(label, known)}")

    def __iter__(self) -> Iterator[Kernel]:
        for of_op in self._kernels.values():
            yield from of_op.values()


def _label_refusal(kernel: Kernel, label: str) -> str | None:
    if kernel.label == label:
        return None
    if not label:
        return f"it has the label {kernel.label!r}, which is not asked for"
    has = f"the label {kernel.label!r}" if kernel.label else "no label"
    return f"it has {has}, asked for is {label!r}"


#: The one table of the process. Operators add their kernels to it when they are imported.
KERNELS = KernelTable()
