"""Do a method's rules answer what they were asked? Their counts and patterns, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mezzotint.errors import InputError, message
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.rules import Decision
from mezzotint.sparse.view import LayerView


def check_decision(method: str, decision: object, views: Sequence[LayerView], conserves: bool) -> Decision:
    """``decision`` itself, when it fits the layers.

    Args:
        method: its name, for messages.
        decision: what ``decide`` returned.
        views: what it was given.
        conserves: whether as many weights must be grown as are pruned.

    Raises:
        InputError: no Decision, lists of another length, counts that a layer cannot lose or get, another total, or a
            log or memory that a checkpoint cannot hold.
    """
    what = f"decide of method {method!r}"
    if not isinstance(decision, Decision):
        raise InputError(message(what, received=_kind(decision), allowed="a mezzotint.sparse.Decision"))
    for name in ("pruned", "grown", "share"):
        count = len(getattr(decision, name))
        if count != len(views):
            raise InputError(
                message(
                    f"{what}, {name}",
                    received=f"{count} numbers",
                    allowed=f"{len(views)}, one for each layer that can change",
                )
            )
    for view, lost, gained in zip(views, decision.pruned, decision.grown, strict=True):
        nnz = view.pattern.nnz
        _check_count(f"{what}, pruned of layer {view.name!r}", lost, nnz)
        _check_count(f"{what}, grown of layer {view.name!r}", gained, view.pattern.numel - nnz + lost)
    as_saved(f"{what}, log", decision.log)
    as_saved(f"{what}, memory", decision.memory)
    lost, gained = sum(decision.pruned), sum(decision.grown)
    if conserves and lost != gained:
        raise InputError(
            message(
                what,
                received=f"{lost} weights pruned and {gained} grown",
                allowed="as many grown as pruned",
                fix="A method that changes the number of weights says how many there are to be in its property budget.",
            )
        )
    return decision


def check_pattern(method: str, pattern: object, view: LayerView, lost: int, gained: int) -> Pattern:
    """``pattern`` itself, when it is one of the layer ``view`` with ``nnz - lost + gained`` weights.

    Raises:
        InputError: it is not; the message names the method and the layer.
    """
    what = f"rewire of method {method!r}, layer {view.name!r}"
    if not isinstance(pattern, Pattern):
        fix = "Pattern.from_mask makes one of a mask, Pattern.from_indices of positions."
        raise InputError(message(what, received=_kind(pattern), allowed="a mezzotint.Pattern", fix=fix))
    if pattern.shape != view.pattern.shape:
        raise InputError(message(what, received=f"shape {pattern.shape}", allowed=f"shape {view.pattern.shape}"))
    wanted = view.pattern.nnz - lost + gained
    if pattern.nnz != wanted:
        raise InputError(
            message(
                what,
                received=f"{pattern.nnz} weights",
                allowed=f"{wanted}: {view.pattern.nnz}, {lost} fewer and {gained} more",
                fix="rewire gives a layer as many weights as decide said.",
            )
        )
    return pattern


def as_saved(what: str, value: object) -> Any:
    """``value`` as it comes back from a checkpoint: tuples are lists.

    Raises:
        InputError: there is something in it that JSON cannot hold; ``what`` says in the message where.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                fix = "A checkpoint keeps it as JSON: write the key as a text."
                raise InputError(message(f"{what}, key", received=repr(key), allowed="a text", fix=fix))
        return {key: as_saved(f"{what}, {key!r}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_saved(what, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        message(what, received=_kind(value), allowed="what JSON can hold: numbers, texts, None, lists and dicts")
    )


def _check_count(what: str, count: object, most: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= most:
        raise InputError(message(what, received=count, allowed=f"a whole number (int), 0 to {most}"))


def _kind(given: object) -> str:
    return "None" if given is None else f"a {type(given).__name__}"
