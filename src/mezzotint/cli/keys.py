"""``mezzotint config``: which keys has a configuration, what do they mean, and what are they when left out?"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NamedTuple, get_type_hints

from mezzotint.cli.output import line

EXAMPLES = """\
  mezzotint config                    # all keys with their defaults
  mezzotint config sparsity           # one section, explained
  mezzotint config data.on_error      # one key, explained; its last word will do
  mezzotint config method             # with the names that it takes
  mezzotint config --json

Any key can stand in a TOML file or behind --set: mezzotint train FILE --set data.on_error=quarantine
"""


class Key(NamedTuple):
    """A key: its dotted name, its default as TOML writes it ("" without one), and what it means."""

    name: str
    default: str
    meaning: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("key", metavar="KEY_OR_SECTION", nargs="?", help="explain only this")
    parser.add_argument("--json", action="store_true", help="write one JSON object: key -> default and meaning")


def run(arguments: argparse.Namespace) -> int:
    """Tell; 0."""
    from mezzotint.errors import ConfigError, message, suggest

    known = all_of_them()
    wanted = [key for key in known if arguments.key in (None, key.name, *key.name.rpartition(".")[::2])]
    if not wanted:
        sections = sorted({key.name.rpartition(".")[0] for key in known} - {""})
        names = [*(key.name for key in known), *(key.name.rpartition(".")[2] for key in known), *sections]
        fix = suggest(arguments.key, names).strip()
        raise ConfigError(message("KEY_OR_SECTION", received=arguments.key, allowed=", ".join(sections), fix=fix))
    if arguments.json:
        line(json.dumps({key.name: {"default": key.default, "meaning": key.meaning} for key in wanted}, indent=1))
    elif arguments.key is None:
        _list(wanted)
    else:
        _explain(wanted)
        for key in wanted:
            if arguments.key in (key.name, key.name.rpartition(".")[2]):
                _name(choices(key.name))
    return 0


def all_of_them() -> list[Key]:
    """Every key, section by section, explained by the docstring of its section."""
    from mezzotint.train.config import RunConfig

    return _keys(RunConfig, "")


def choices(key: str) -> list[tuple[str, str]]:
    """(name, what it is) of the names that a key takes, where these would not fit its explanation."""
    if key == "sparsity.method":
        from mezzotint.sparse import METHODS

        documents = {name: sys.modules[cls.__module__].__doc__ or "" for name, cls in METHODS.items()}
        return [(name, text.partition("\n")[0]) for name, text in documents.items()]
    if key == "model.name":
        from mezzotint.models import MODELS

        return [(name, model.doc) for name, model in MODELS.items()]
    return []


def _keys(cls: type[Any], place: str) -> list[Key]:
    hints, meanings = get_type_hints(cls), _meanings(cls)
    own, sections = [], []
    for item in fields(cls):
        kind = hints[item.name]
        if isinstance(kind, type) and is_dataclass(kind):
            sections += _keys(kind, f"{place}{item.name}.")
        else:
            own.append(Key(place + item.name, _default(item), meanings.get(item.name, "")))
    return own + sections


def _default(item: Any) -> str:
    from mezzotint.train.toml_text import dumps

    value = item.default if item.default_factory is MISSING else item.default_factory()
    return (
        "" if value is None or value is MISSING else dumps({"section": {"key": value}}).partition("key = ")[2].strip()
    )


def _meanings(cls: type[Any]) -> dict[str, str]:
    """Attribute -> the paragraph about it in the class's docstring."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    rows = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", text, flags=re.MULTILINE)
    return {name: " ".join(words.split()) for names, words in rows for name in names.split(", ")}


def _list(keys: list[Key]) -> None:
    section = ""
    for key in keys:
        place, _, name = key.name.rpartition(".")
        if place != section:
            section = place
            line(f"\n[{section}]")
        line(f"{name} = {key.default}" if key.default else f"# {name}: not set")


def _explain(keys: list[Key]) -> None:
    from mezzotint.cli.looking import block

    line(block([(f"{key.name} = {key.default}" if key.default else key.name, key.meaning) for key in keys]))


def _name(rows: list[tuple[str, str]]) -> None:
    from mezzotint.cli.looking import block

    if rows:
        line(f"\n{block(rows)}")
