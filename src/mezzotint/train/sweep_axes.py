"""Which keys does a sweep vary besides method, density and seed? As they are typed, checked, set and named."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from mezzotint.errors import ConfigError, message
from mezzotint.train.config import RunConfig
from mezzotint.train.config_file import parse_override, put_key
from mezzotint.train.table import from_table, to_table

Settings = tuple[tuple[str, str], ...]
"""(dotted key, value as JSON) of one run, in the order of the axes; JSON, so that equal values are one value."""

_OPTION: Final = "--over"
_ELSEWHERE: Final = {
    "sparsity.density": "Densities are an axis of their own: --density 0.1 0.05.",
    "sparsity.method": "Methods are an axis of their own: --method rigl set.",
    "seed": "Seeds are an axis of their own: --seeds 5.",
    "name": "The sweep names its runs.",
}
_OF_SPARSITY: Final = "sparsity."
_OF_METHODS: Final = "sparsity.methods"
_LONGEST: Final = 40  # letters of a value in the name of a folder


def parse_axes(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Axes as ``--over`` takes them.

    Args:
        words: ``"optimizer.lr=0.1,0.05"``: a dotted key, and values as ``--set`` takes them with commas between;
            commas inside quotes and brackets belong to a value.

    Returns:
        Key -> values as JSON, each once.

    Raises:
        ConfigError: another form, no TOML, a key that is given twice or is an axis anyhow.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, texts = word.partition("=")
        if not equals or not name.strip():
            allowed = "section.key=value,value,... such as optimizer.lr=0.1,0.05"
            raise ConfigError(message(_OPTION, received=word, allowed=allowed))
        parsed = [parse_override(f"{name}={text.strip()}", _OPTION) for text in _split(texts)]
        key = parsed[0][0]
        if key in _ELSEWHERE:
            raise ConfigError(message(_OPTION, received=key, allowed="another key", fix=_ELSEWHERE[key]))
        if key == _OF_METHODS or key.startswith(f"{_OF_METHODS}."):
            fix = "Vary sparsity.KEY itself, which then holds for every method."
            raise ConfigError(message(_OPTION, received=key, allowed="another key", fix=fix))
        if key in axes:
            raise ConfigError(message(_OPTION, received=f"{key} twice", allowed="all values of a key together"))
        axes[key] = tuple(dict.fromkeys(json.dumps(value, default=str) for _, value in parsed))
    return axes


def without_sparsity(settings: Settings) -> Settings:
    """Those that mean something to a dense network."""
    return tuple((key, text) for key, text in settings if not key.startswith(_OF_SPARSITY))


def with_settings(config: RunConfig, settings: Settings) -> RunConfig:
    """The configuration with these values.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is not allowed.
    """
    if not settings:
        return config
    table: dict[str, Any] = to_table(config)
    told = f"{_OPTION} {' '.join(f'{key}={text}' for key, text in settings)}"
    for key, text in settings:
        put_key(table, key, json.loads(text), told)
    try:
        return from_table(RunConfig, table)
    except ConfigError as error:
        raise ConfigError(f"{told}: {error}") from error


def name_of(settings: Settings) -> str:
    """What tells a run's folder from its neighbours': ``"-optimizer.lr=0.05"``."""
    return "".join(f"-{key}={_word(json.loads(text))}" for key, text in settings)


def _word(value: Any) -> str:
    """A value as a part of a file's name; what such a name cannot hold is told by a checksum."""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = re.sub(r"[^\w.+-]+", "_", text)[:_LONGEST]
    return plain if plain == text else f"{plain}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def _split(text: str) -> list[str]:
    """At the commas that are not inside of quotes or brackets."""
    parts, start, depth, quote = [], 0, 0, ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
