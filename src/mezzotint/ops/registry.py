"""Which operators are there? The registry, its look-up, and who is told of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mezzotint.errors import DeclarationError, NotRegistered, suggest
from mezzotint.ops import plugins
from mezzotint.ops.operator import Operator
from mezzotint.ops.schema import qualified

Watcher = Callable[[Operator], None]


class Registry:
    """Operators by name; those of installed packages join at the first look-up that misses, or that asks for all."""

    def __init__(self) -> None:
        self._operators: dict[str, Operator] = {}
        self._watchers: list[Watcher] = []

    def add(self, operator: Operator) -> None:
        """Enter ``operator`` here and in ``torch.library``; a taken name is a :class:`DeclarationError`."""
        if operator.name in self._operators:
            raise DeclarationError(f"operator {operator.name!r} is registered already; choose another name.")
        operator.compile_down()
        self._operators[operator.name] = operator
        for watcher in tuple(self._watchers):
            watcher(operator)

    def get(self, name: str) -> Operator:
        """The operator ``name``; an unknown one is a :class:`NotRegistered` that lists all."""
        if name not in self._operators:
            self.load_plugins()
        if name not in self._operators:
            broken = "".join(f" The package {plugin} is broken, and its operators are missing." for plugin in _broken())
            known = ", ".join(self.names())
            raise NotRegistered(f"no operator {name!r}; known: {known}.{suggest(name, self._operators)}{broken}")
        return self._operators[name]

    def names(self, *, hidden: bool = False) -> list[str]:
        """All names, sorted; those that begin with an underscore (after the namespace) only when ``hidden``."""
        self.load_plugins()
        return sorted(name for name in self._operators if hidden or not qualified(name)[1].startswith("_"))

    def load_plugins(self) -> None:
        """Load the operators of installed packages (:mod:`mezzotint.ops.plugins`), once."""
        plugins.load(self.watching)

    @contextmanager
    def watching(self, watcher: Watcher) -> Iterator[None]:
        """Have ``watcher`` called with every operator that is registered meanwhile."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def __iter__(self) -> Iterator[Operator]:
        return iter(self._operators.values())


def _broken() -> list[str]:
    return [plugin.label for plugin in plugins.loaded() if plugin.error]


REGISTRY = Registry()
