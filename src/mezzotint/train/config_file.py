"""How does a configuration come from a file and from ``--set``, and what differs between two of them?"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mezzotint.errors import ConfigError, message, suggest
from mezzotint.train.config import RunConfig
from mezzotint.train.table import all_keys, from_table, to_table
from mezzotint.train.toml_text import dumps

#: A value that needs no quotes after ``--set key=``: a word, a path, a list of nothing else.
_WORD = re.compile(r"[A-Za-z_./~][\w.:/~*-]*")

FREE: Final = frozenset(
    {
        *("threads", "run.checkpoint_minutes", "run.checkpoint_steps", "run.keep"),
        *("run.tensorboard", "run.callbacks"),
        *("data.path", "data.threads", "data.processes", "data.prefetch_bytes", "data.on_error", "data.max_bad"),
    }
)
"""Keys that may differ when a run is resumed: they do not say what is computed. (The number of threads may change the
last bits of PyTorch's own dense operators. A run that ended at a damaged image may go on with ``data.on_error =
"quarantine"``: what it has computed so far is the same under either policy.) The number of epochs is not among them:
learning rate and prune rate decay over the whole length, so a longer run is another run from its first step."""


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file.

    Args:
        path: a TOML file.
        overrides: ``"section.key=value"``, values in TOML's notation (quotes may be left out around one word); later
            ones win.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value that is not allowed. The message names the
            file and the key.
    """
    file = Path(path)
    table = _read(file)
    for override in overrides:
        set_key(table, override)
    try:
        return from_table(RunConfig, table)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def config_text(config: RunConfig) -> str:
    """The full configuration as TOML; :func:`parse_config` gives it back."""
    return dumps(to_table(config))


def parse_config(text: str) -> RunConfig:
    """The configuration in a TOML text.

    Raises:
        ConfigError: not TOML, an unknown key, or a value that is not allowed.
    """
    try:
        return from_table(RunConfig, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration: not valid TOML: {error}.") from error


def checked_text(text: str, config: RunConfig) -> str:
    """The text, if it says what ``config`` says.

    Raises:
        ConfigError: it does not; the keys are named.
    """
    other = [f"{key}: {_shown(value)}" for key, value in _flat(to_table(parse_config(text))).items()]
    wanted = [f"{key}: {_shown(value)}" for key, value in _flat(to_table(config)).items()]
    if other != wanted:
        odd = ", ".join(sorted(set(other) ^ set(wanted)))
        raise ConfigError(message("text of the configuration", received=f"other values ({odd})", allowed="the same"))
    return text


def differences(saved: RunConfig, wanted: RunConfig) -> list[str]:
    """``"key: saved -> wanted"`` for every key that must not change on resume and does."""
    old, new = _flat(to_table(saved)), _flat(to_table(wanted))
    keys = dict.fromkeys([*all_keys(RunConfig), *old, *new])  # tables of options have keys that no class names
    changed = [key for key in keys if key not in FREE and old.get(key) != new.get(key)]
    return [f"{key}: {_shown(old.get(key))} -> {_shown(new.get(key))}" for key in changed]


def fingerprint(config: RunConfig) -> str:
    """SHA-256 of everything that decides what a run computes; free keys do not enter."""
    kept = {key: value for key, value in _flat(to_table(config)).items() if key not in FREE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = [item.name for item in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        raise ConfigError(
            message(
                "configuration file",
                received=f"{str(file)!r}, which does not exist",
                allowed="a TOML file",
                fix=suggest(file.name, near).strip() or "The folder configs/ has examples.",
            )
        ) from None
    except IsADirectoryError:
        fix = f"If it holds images, `mezzotint init {file}` looks at them and writes one."
        raise ConfigError(
            message("configuration file", received=f"{str(file)!r}, a folder", allowed="a readable TOML file", fix=fix)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            message("configuration file", received=f"{str(file)!r} ({reason})", allowed="a readable TOML file")
        ) from error
    except tomllib.TOMLDecodeError as error:
        fix = "Texts need quotes; a key stands once, in its section."
        raise ConfigError(f"{file}: not valid TOML: {error}. {fix}") from error


def set_key(table: dict[str, Any], override: str) -> str:
    """Change a table of TOML as ``--set section.key=value`` says; the dotted key.

    Raises:
        ConfigError: the override has another form, or its value is none of TOML.
    """
    key, value = parse_override(override)
    put_key(table, key, value, f"--set {override}")
    return key


def parse_override(override: str, option: str = "--set") -> tuple[str, Any]:
    """(dotted key, value) of ``section.key=value``; ``option`` is where it stood.

    Raises:
        ConfigError: the override has another form, or its value is none of TOML.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            message(option, received=override, allowed="section.key=value, for example optimizer.lr=0.05")
        )
    return ".".join(parts), _parsed(f"{option} {override}", text.strip())


def put_key(table: dict[str, Any], key: str, value: Any, told: str) -> None:
    """Set a dotted key, in sections that are made where they are missing.

    Raises:
        ConfigError: a part of the key is a key and no section; ``told`` is where it stood.
    """
    *sections, last = key.split(".")
    for part in sections:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            received = f"{part!r}, which is a key and no section"
            raise ConfigError(message(told, received=received, allowed=", ".join(all_keys(RunConfig))))
        table = inner
    table[last] = value


def _parsed(told: str, text: str) -> Any:
    try:
        value: Mapping[str, Any] = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if _WORD.fullmatch(text):
            return text
        allowed = "a TOML value: a number, true, false, a text in quotes, a list in [ ]"
        raise ConfigError(message(told, received=text or "nothing", allowed=allowed)) from error
    if set(value) != {"value"}:
        raise ConfigError(message(told, received="several lines", allowed="one value"))
    return value["value"]


def _flat(table: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{place}{key}.")
        else:
            found[place + key] = value
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
