"""How does a recipe look as a file? The TOML of a configuration, every key with the reason for its value."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mezzotint.train.recipe import Recipe
from mezzotint.train.toml_text import dumps

_WIDTH: Final = 110


def commented(recipe: Recipe, heading: Sequence[str]) -> str:
    """The recipe as TOML with comments.

    Args:
        recipe: keys and reasons.
        heading: sentences for the beginning of the file.
    """
    lines = [wrapped for sentence in heading for wrapped in _comment(sentence)]
    lines += ["", *_keys(recipe, recipe.table, "")]
    for section, table in recipe.table.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{section}]", *_keys(recipe, table, f"{section}.")]
    return "\n".join(lines) + "\n"


def _keys(recipe: Recipe, table: Mapping[str, Any], place: str) -> list[str]:
    lines: list[str] = []
    for key, value in table.items():
        if not place and isinstance(value, Mapping):
            continue
        line = dumps({key: value}).strip()
        reason = recipe.reasons.get(place + key, "")
        if not reason:
            lines.append(line)
        elif len(line) + len(reason) + 4 <= _WIDTH:
            lines.append(f"{line}  # {reason}")
        else:
            lines += [*_comment(reason), line]
    return lines


def _comment(sentence: str) -> list[str]:
    # A name of a file may hold any sign; in a comment none may end the line or be a control character.
    plain = "".join(sign if sign.isprintable() else "?" for sign in sentence)
    return [f"# {line}" for line in textwrap.wrap(plain, _WIDTH - 2, break_long_words=False)] or ["#"]
