"""Which part of a data set is meant? The rules for ``split`` that all kinds of source share.

A part is a subfolder or an archive. ``split`` names it exactly, without regard to capitals, or by meaning: ``"test"``
also finds ``val``, ``valid`` and ``validation``; ``"train"`` also finds ``training``. A folder or archive that has no
parts is used for ``"train"`` and ``"all"``; for ``"test"`` only if its own name says so, because testing on training
images must never happen unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mezzotint.errors import NoPart, message

MEANINGS = {
    "train": ("train", "training"),
    "test": ("test", "val", "valid", "validation"),
}
PARTS = (*MEANINGS["train"], *MEANINGS["test"])


def names_for(split: str) -> tuple[str, ...]:
    """The names that a part for ``split`` may have, the exact one first."""
    plain = split.lower()
    return tuple(dict.fromkeys((split, plain, *MEANINGS.get(plain, ()))))


def choose_part(parts: Sequence[str], split: str, place: Path) -> str:
    """The part of ``parts`` that ``split`` means.

    Raises:
        NoPart: no part has such a name.
    """
    by_name = {part.lower(): part for part in parts} | {part: part for part in parts}
    for name in names_for(split):
        if name in by_name:
            return by_name[name]
    raise NoPart(
        message(
            f"split of {place}",
            received=split,
            allowed=f"one of the parts there ({', '.join(parts)})",
            fix="Add the missing part, or name one that is there.",
        )
    )


def check_undivided(split: str, place: Path) -> None:
    """Refuse to use a data set without parts for a split that it does not stand for.

    Raises:
        NoPart: ``split`` is neither ``"all"`` nor what the place's own name says, nor ``"train"`` for a place
            whose name says nothing.
    """
    own = place.name.partition(".")[0].lower()
    meaning = next((meaning for meaning, names in MEANINGS.items() if own in names), "train")
    if split.lower() in ("all", meaning, own):
        return
    raise NoPart(
        message(
            f"split of {place}",
            received=split,
            allowed=f"'{meaning}' or 'all', because this place is not divided into parts",
            fix="Divide it into train/ and test/ (or train.tar and test.tar), or ask for 'all' to use every image.",
        )
    )
