"""How is an operator called by its name, with its arguments checked by a type checker? ``calls.conv2d(x, weight)``.

Each name is the :class:`mezzotint.ops.Operator` itself; the signatures stand in ``calls.pyi``, which is made from the
declarations. Only mezzotint's own operators are here; for those of the package ``acme``, ``mezzotint ops stubs acme``
writes the like.
"""

from __future__ import annotations

from mezzotint.errors import NotRegistered
from mezzotint.ops.operator import Operator
from mezzotint.ops.registry import REGISTRY


def __getattr__(name: str) -> Operator:
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return REGISTRY.get(name)
    except NotRegistered as error:
        raise AttributeError(str(error)) from error


def __dir__() -> list[str]:
    return [name for name in REGISTRY.names() if "::" not in name]
