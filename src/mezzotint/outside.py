"""How does something that is not of this library come in? By its dotted path, ``"package.module:attribute"``.

A name of this kind runs code: it is taken from configurations and command lines, never from files of weights.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from mezzotint.errors import NotRegistered, message, suggest

T = TypeVar("T")


def is_outside(name: str) -> bool:
    """Whether ``name`` tells where a thing is instead of which of ours it is."""
    return ":" in name


def found_at(name: str, what: str, allowed: str = "a class or function") -> Any:
    """The object at ``name``; the working directory is the first place where packages are looked for.

    Args:
        name: ``"package.module:Class"``; nested attributes as ``"package.module:Class.method"``.
        what: what it is for, such as ``"model"``: for messages.
        allowed: what it has to be: for messages.

    Raises:
        NotRegistered: there is no such module or attribute.
    """
    place, colon, attribute = name.partition(":")
    if not (place and colon and attribute):
        raise NotRegistered(message(f"{what} {name!r}", received="no such form", allowed='"package.module:Class"'))
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does; a console script has its own folder there
    try:
        found: Any = import_module(place)
    except ImportError as error:
        raise NotRegistered(
            message(
                f"{what} {name!r}",
                received=f"a module that cannot be imported ({error})",
                allowed='"package.module:Class"',
                fix="Install the package, or start from the folder that holds the module.",
            )
        ) from error
    file = getattr(found, "__file__", None) or "built in"  # a module of the standard library may have the same name
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [known for known in dir(found) if not known.startswith("_")]
            raise NotRegistered(
                message(f"{what} {name!r}", received=f"no {part!r} in {place} ({file})", allowed=allowed)
                + suggest(part, known)
            )
        found = getattr(found, part)
    return found


def imported(name: str, what: str, allowed: str = "a class or function") -> Callable[..., Any]:
    """The class or function at ``name``: see :func:`found_at`.

    Raises:
        NotRegistered: there is none, or it cannot be called.
    """
    found = found_at(name, what, allowed)
    if not callable(found):
        raise NotRegistered(message(f"{what} {name!r}", received=type(found).__name__, allowed=allowed))
    made: Callable[..., Any] = found
    return made


def subclass_at(name: str, what: str, base: type[T], allowed: str) -> type[T]:
    """The class at ``name``, which derives from ``base``: see :func:`found_at`.

    Args:
        name, what: as for :func:`found_at`.
        base: what it must derive from.
        allowed: the base's public name, for messages.

    Raises:
        NotRegistered: there is none, or it is something else.
    """
    found = imported(name, what, f"a subclass of {allowed}")
    if not (isinstance(found, type) and issubclass(found, base)):
        received = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
        raise NotRegistered(message(f"{what} {name!r}", received=received, allowed=f"a subclass of {allowed}"))
    return found
