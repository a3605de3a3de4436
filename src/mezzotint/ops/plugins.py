"""How do operators and kernels of other packages join? By an entry point, loaded when somebody looks for them.

A package says in its ``pyproject.toml``::

    [project.entry-points."mezzotint.operators"]
    acme = "acme.operators"              # importing the module registers; or "acme.operators:register", then called

It is loaded at the first look-up of an operator that is not there, when all operators are asked for, and by
:func:`mezzotint.ops.load_plugins`, which a package that only adds kernels to known operators needs. One that cannot be
loaded is told in one warning, and does not keep the others from loading. ``MEZZOTINT_PLUGINS`` limits what is loaded:
empty for nothing, otherwise names of entry points with commas between.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mezzotint.ops.operator import Operator

GROUP: Final = "mezzotint.operators"
CHOICE: Final = "MEZZOTINT_PLUGINS"
_Watching = Callable[[Callable[["Operator"], None]], AbstractContextManager[None]]


class PluginWarning(RuntimeWarning):
    """A package that offers operators cannot be loaded."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An installed package that offers operators or kernels.

    Attributes:
        name: of the entry point.
        distribution: of the package, with its version.
        operators: those that it has registered.
        error: why it cannot be loaded; empty when it could.
    """

    name: str
    distribution: str
    operators: tuple[str, ...] = ()
    error: str = ""

    @property
    def label(self) -> str:
        """Its names, for messages."""
        return f"{self.name!r} ({self.distribution})" if self.distribution else repr(self.name)


_lock = threading.RLock()
_loaded: list[Plugin] = []
_done = False


def load(watching: _Watching) -> None:
    """Load every package that offers operators, once; ``watching`` tells which operators come meanwhile."""
    global _done
    with _lock:
        if _done:
            return
        _done = True  # before loading: a package looks up operators while it loads
        _loaded.extend(_load(point, watching) for point in _chosen())
        broken = [plugin for plugin in _loaded if plugin.error]
    for plugin in broken:  # last, so that a warning that is made an error keeps no other package from loading
        warnings.warn(
            f"the operators of the package {plugin.label} cannot be loaded: {plugin.error} "
            f"Mend or uninstall it, or leave it out of {CHOICE} (names of packages with commas between).",
            PluginWarning,
            stacklevel=3,
        )


def loaded() -> list[Plugin]:
    """The packages that have been loaded, or could not be."""
    return list(_loaded)


def _chosen() -> list[EntryPoint]:
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    choice = os.environ.get(CHOICE)
    if choice is None:
        return found
    wanted = {name.strip() for name in choice.split(",")}
    return [point for point in found if point.name in wanted]


def _load(point: EntryPoint, watching: _Watching) -> Plugin:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
    operators: list[str] = []
    try:
        with watching(lambda operator: operators.append(operator.name)):
            target = point.load()
            if callable(target):
                target()
    except Exception as error:  # noqa: BLE001  # whatever a stranger's code raises must not stop the others
        why = f"{point.value} raised {type(error).__name__}: {str(error).rstrip('.')}."
        return Plugin(name=point.name, distribution=distribution, operators=tuple(operators), error=why)
    return Plugin(name=point.name, distribution=distribution, operators=tuple(operators))
