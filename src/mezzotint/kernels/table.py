"""Which kernels exist for an operator, and which of them can do a given problem?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.errors import DeclarationError
from mezzotint.kernels.problem import Problem

Supports = Callable[[Problem], str | None]
Cost = Callable[[Problem], float]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One way of computing an operator.

    Attributes:
        op: the operator's name.
        name: the kernel's own name, unique within the operator.
        run: ``run(*inputs, **attrs)`` returns the output (or outputs); inputs come in declared order, absent ones
            as ``None``. A kernel with ``into=True`` gets the preallocated output first and returns nothing.
        device: ``"cpu"``, ``"cuda"`` ..., or ``"any"``.
        dtypes: activation types that it takes; empty means every floating type.
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
            allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in self.dtypes)
            return f"it takes {allowed}, the activations are {str(problem.dtype).removeprefix('torch.')}"
        return self.supports(problem) if self.supports else None

    def estimate(self, problem: Problem) -> float:
        """Estimated cost; kernels without a model count as free and are ranked by priority alone."""
        return self.cost(problem) if self.cost else 0.0


class KernelTable:
    """All kernels by operator; mistakes show at registration, not at the first call."""

    def __init__(self) -> None:
        self._kernels: dict[str, dict[str, Kernel]] = {}

    def add(self, kernel: Kernel) -> None:
        """Register ``kernel``; a second one of the same name is a :class:`DeclarationError`."""
        of_op = self._kernels.setdefault(kernel.op, {})
        if kernel.name in of_op:
            raise DeclarationError(
                f"kernel {kernel.name!r} of operator {kernel.op!r} is registered already; "
                "give the new one another name."
            )
        of_op[kernel.name] = kernel

    def of(self, op: str) -> tuple[Kernel, ...]:
        """The kernels of operator ``op`` in the order of registration."""
        return tuple(self._kernels.get(op, {}).values())

    def __iter__(self) -> Iterator[Kernel]:
        for of_op in self._kernels.values():
            yield from of_op.values()


#: The one table of the process. Operators add their kernels to it when they are imported.
KERNELS = KernelTable()
