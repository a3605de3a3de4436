"""Which operators are there? The registry, its look-up and its reference text."""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.errors import DeclarationError, NotRegistered, suggest
from mezzotint.ops.operator import Operator


class Registry:
    """Operators by name."""

    def __init__(self) -> None:
        self._operators: dict[str, Operator] = {}

    def add(self, operator: Operator) -> None:
        """Enter ``operator`` here and in ``torch.library``; a taken name is a :class:`DeclarationError`."""
        if operator.name in self._operators:
            raise DeclarationError(f"operator {operator.name!r} is registered already; choose another name.")
        operator.compile_down()
        self._operators[operator.name] = operator

    def get(self, name: str) -> Operator:
        """The operator ``name``; an unknown one is a :class:`NotRegistered` that lists all."""
        if name not in self._operators:
            known = ", ".join(self.names())
            raise NotRegistered(f"no operator {name!r}; known: {known}.{suggest(name, self._operators)}")
        return self._operators[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._operators)

    def __iter__(self) -> Iterator[Operator]:
        return iter(self._operators.values())


REGISTRY = Registry()
