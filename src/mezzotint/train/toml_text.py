"""How is a table written as TOML? Just what our own configurations hold; ``tomllib`` reads it back unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mezzotint.errors import ConfigError, message

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(table: Mapping[str, Any]) -> str:
    """TOML text of a table: plain keys first, then one ``[section]`` for every value that is itself a table.

    Args:
        table: bool, int, float, str, lists of these and tables; tables inside sections are written inline.

    Raises:
        ConfigError: a value that TOML cannot hold, as a file name that is not UTF-8.
    """
    plain = [_line(key, value) for key, value in table.items() if not isinstance(value, Mapping)]
    sections = [
        "\n".join([f"[{_key(name)}]", *(_line(key, value) for key, value in section.items())])
        for name, section in table.items()
        if isinstance(section, Mapping)
    ]
    return "\n\n".join(["\n".join(plain), *sections] if plain else sections) + "\n"


def _line(key: str, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(value: str) -> str:
    # JSON's escapes are TOML's, except that TOML wants DEL escaped too; surrogate pairs it does not know at all.
    try:
        value.encode()
    except UnicodeEncodeError as error:
        fix = "If it is the name of a file or a folder, rename it."
        raise ConfigError(
            message("value for TOML", received=repr(value), allowed="text that UTF-8 can hold", fix=fix)
        ) from error
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(_line(key, item) for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    raise ConfigError(
        message("value for TOML", received=value, allowed="numbers, texts, true, false, lists and tables")
    )
