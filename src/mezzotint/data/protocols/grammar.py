"""How are a protocol and its settings written as one name? ``timm:crop_pct=0.95,crop_mode=squash,mean=0.5/0.5/0.5``.

After a colon, settings separated by commas, each ``name=value``. A value is an integer, a number, ``none``, several of
them separated by slashes, or a word. One line of a configuration file, one argument of the command line and one field
of a checkpoint hold it without quoting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from mezzotint.errors import ConfigError, message

Setting: TypeAlias = int | float | str | tuple[int | float | str | None, ...] | None


def parse(text: str) -> tuple[str, dict[str, Setting]]:
    """The protocol's name and the settings after it.

    Raises:
        ConfigError: the part after the colon is not of the form above, or a setting comes twice.
    """
    name, colon, rest = text.partition(":")
    settings: dict[str, Setting] = {}
    for part in rest.split(",") if colon else ():
        key, _, value = (word.strip() for word in part.partition("="))
        if not key or not value or key in settings:
            what = f"{part.strip()!r} a second time" if key in settings else repr(part.strip())
            example = "timm:crop_pct=0.95,interpolation=bilinear"
            raise ConfigError(message(f"protocol {text!r}", received=what, allowed=f"settings as in {example}"))
        settings[key] = _value(value)
    return name.strip(), settings


def written_out(name: str, settings: Mapping[str, Setting]) -> str:
    """The name that ``parse`` takes apart again."""
    return f"{name}:{','.join(f'{key}={_text(value)}' for key, value in settings.items())}" if settings else name


def _value(text: str) -> Setting:
    if "/" in text:
        return tuple(_single(part) for part in text.split("/"))
    return _single(text)


def _single(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text == "none" else text


def _text(value: Setting) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_text, value))
    return "none" if value is None else str(value)
