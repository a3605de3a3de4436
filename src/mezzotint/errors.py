"""What can go wrong, and how is it told? One exception tree, and one way of writing a message.

::

    MezzotintError
    ├── InputError (ValueError)            an argument or a value is not usable
    │   ├── ConfigError                    a configuration file or key
    │   ├── ImageError                     a file or buffer that is not a readable image
    │   ├── DataError                      a data source, its labels or its split
    │   │   └── NoPart                     the data set has no such part
    │   ├── CheckpointError                a checkpoint that is damaged or does not fit
    │   ├── ShapeError                     tensor shapes or types that do not go together
    │   └── UnsupportedModel               a model file with nodes that cannot be run here
    ├── RunError                           a run folder or a run that cannot go on
    ├── DeclarationError                   a mistake in an operator's or kernel's declaration
    ├── NotRegistered (LookupError)        no operator, method, protocol ... of that name
    ├── NoGradient (LookupError)           a backward pass through an operator that declares no gradient
    └── NoKernel                           no registered kernel can do the problem at hand

Every message names the thing, what was received, what is allowed and what to do. The command line prints it as one
paragraph and ends with exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MezzotintError(Exception):
    """Base of every error that mezzotint raises on purpose."""

    told_elsewhere = False
    """Another process of the same run tells it to the user."""


class InputError(MezzotintError, ValueError):
    """An argument or a value is not usable."""


class ConfigError(InputError):
    """A configuration file or one of its keys is not usable."""


class ImageError(InputError):
    """A file or a buffer is not a readable image."""


class DataError(InputError):
    """A data source, its labels or its split is not usable."""


class NoPart(DataError):
    """A data set has no part of that name."""


class CheckpointError(InputError):
    """A checkpoint is damaged or does not fit the run."""


class ShapeError(InputError):
    """Shapes or types of tensors do not go together."""


class UnsupportedModel(InputError):
    """A model file holds nodes that cannot be run here.

    Attributes:
        nodes: (name, operator, reason) of every one of them.
    """

    nodes: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(cls, nodes: Iterable[tuple[str, str, str]]) -> UnsupportedModel:
        """The error that names all of ``nodes``."""
        listed = tuple(nodes)
        told = "; ".join(f"{name!r} ({kind}): {reason}" for name, kind, reason in listed)
        error = cls(f"{len(listed)} node{'s' if len(listed) > 1 else ''} of the model cannot be run: {told}.")
        error.nodes = listed
        return error


class RunError(MezzotintError):
    """A run folder or a run cannot go on."""


class DeclarationError(MezzotintError):
    """An operator or a kernel is declared wrongly."""


class NotRegistered(MezzotintError, LookupError):
    """Nothing of that name is registered."""


class NoGradient(MezzotintError, LookupError):
    """A backward pass reached an operator that declares no gradient."""


class NoKernel(MezzotintError):
    """No registered kernel can do the problem at hand."""


def message(name: str, *, received: object, allowed: str, fix: str = "") -> str:
    """One paragraph: the thing's name, what came, what is allowed, and what to do.

    Args:
        name: the argument, key or file, as the user knows it.
        received: the value that came; shown with ``repr`` unless it is a string.
        allowed: what would have been accepted, as the end of the sentence "allowed: ...".
        fix: what to do about it, as a sentence of its own.
    """
    shown = received if isinstance(received, str) else repr(received)
    text = f"{name}: received {shown}; allowed: {allowed}."
    return f"{text} {fix}".rstrip()


def first_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop; its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def suggest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` when a known word is close to ``word``, otherwise an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def require_registered(name: str, received: str, known: Iterable[str]) -> None:
    """Raise :class:`NotRegistered` unless ``received``, the value of ``name``, is one of the words ``known``."""
    words = list(known)
    if received not in words:
        raise NotRegistered(message(name, received=received, allowed=", ".join(words)) + suggest(received, words))
