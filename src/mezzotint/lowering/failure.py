"""In whose words does a lowered model fail? In those of its own forward, with the line of the user's file.

Exceptions of a type of somebody's own are meant to be caught (a hook that ends a pass early, recomputation that has
what it wants), and go to where they are: the forward is not run again for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

#: Packages whose exceptions tell that the inputs are wrong.
_OURS: Final = ("builtins", "mezzotint")


def own_words(
    failure: Exception, own: Callable[..., Any], inputs: tuple[Any, ...], named: Mapping[str, Any] | None = None
) -> NoReturn:
    """Raise what the model's ``own`` forward raises for the inputs with which its lowered one ended in ``failure``.

    If it raises nothing, the lowered forward is at fault, and ``failure`` itself is raised. To be called outside of an
    ``except`` block: what happened inside is nothing that a user should read first.
    """
    try:
        if type(failure).__module__.partition(".")[0] not in _OURS:
            raise failure
        own(*inputs, **(named or {}))
        raise failure
    finally:
        del failure  # it holds this frame, and with it the inputs
