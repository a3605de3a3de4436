"""``mezzotint completion``: how does the Tab key complete commands, options, files and names? By shtab's scripts."""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from typing import Any, Final

from mezzotint.cli.output import line
from mezzotint.cli.parser import Parser

EXAMPLES = """\
  mezzotint completion bash > ~/.local/share/bash-completion/completions/mezzotint
  mezzotint completion zsh > ~/.zfunc/_mezzotint        # with fpath+=~/.zfunc before compinit in ~/.zshrc
  mezzotint completion fish > ~/.config/fish/completions/mezzotint.fish
  eval "$(mezzotint completion bash)"                   # in this shell only

Write the file again after an update: it holds the names of networks, methods and keys as they are now.
"""

SHELLS: Final = ("bash", "zsh", "fish")

_FOLDERS: Final = ("FOLDER", "RUN")
_PATH: Final = re.compile(r"FILE|FOLDER|RUN|CONFIG|DATA|CKPT|MODEL|SOURCE|IMAGE|\.tar")
"""What stands in the place of a path in the help of the commands."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script; 0."""
    line(script(arguments.shell))
    return 0


def script(shell: str) -> str:
    """The script for a shell of ``SHELLS``."""
    text: str = _shtab().complete(whole_parser(), shell, preamble=_PREAMBLE.get(shell, ""))
    return text + _AFTER.get(shell, "")


_PREAMBLE: Final = {
    "bash": """
_mezzotint_config_FILE() {
  compgen -f -X '!*.toml' -- "$1"
  compgen -d -- "$1"
}
""",
}
_CONFIG: Final = {"bash": "_mezzotint_config_FILE", "zsh": "_files", "fish": "__fish_complete_path"}
_AFTER: Final = {
    "bash": """
# The keys of --set end with "=", and their values follow without a blank.
_mezzotint() {
  _shtab_mezzotint "$@"
  [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}

complete -o bashdefault -F _mezzotint mezzotint
""",
}


def whole_parser() -> argparse.ArgumentParser:
    """All commands as one parser, with what shtab needs to complete their values."""
    from mezzotint.cli import COMMANDS

    shtab = _shtab()

    root = Parser(prog="mezzotint", summary="sparse training", examples="")
    commands = root.add_subparsers(dest="command")
    values = _values()
    for name, (module, summary) in COMMANDS.items():
        command: Any = import_module(f"mezzotint.cli.{module}")
        parser = commands.add_parser(name, prog=f"mezzotint {name}", help=summary, summary=summary, examples="")
        command.add_arguments(parser)
        for action in actions(parser):
            _prepare(name, action, values, shtab)
    return root


def _shtab() -> Any:
    try:
        return import_module("shtab")
    except ImportError as error:
        from mezzotint.errors import InputError, message

        fix = "pip install shtab"
        raise InputError(
            message("completion", received=str(error), allowed="shtab, which it needs", fix=fix)
        ) from error


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a parser and of all commands below it."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for one in action.choices.values() for inner in actions(one)]
    return found


def _prepare(command: str, action: Any, values: dict[str, list[str]], shtab: Any) -> None:
    """Give an argument its known values, or say that it is a path."""
    known = values.get(action.dest) if action.nargs != 0 else None
    if action.choices is None and known is not None:
        action.choices = known
    elif action.metavar in ("CONFIG", "CONFIG_OR_DATA") or (command, action.dest) == ("preview", "config"):
        action.complete = _CONFIG
    elif action.metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY
    elif isinstance(action.metavar, str) and _PATH.search(action.metavar):
        action.complete = shtab.FILE


def _values() -> dict[str, list[str]]:
    """Argument -> its known values; such that are only the usual ones, too (a protocol can have settings)."""
    from mezzotint.cli.keys import all_of_them
    from mezzotint.data.augment import AUGMENTATIONS
    from mezzotint.data.protocols import FAMILIES
    from mezzotint.models import MODELS
    from mezzotint.sparse import METHODS

    keys = [key.name for key in all_of_them()]
    sections = sorted({key.rpartition(".")[0] for key in keys} - {""})
    return {
        "network": list(MODELS),
        "method": list(METHODS),
        "protocol": list(FAMILIES),
        "augment": [*AUGMENTATIONS, "all"],
        "overrides": [f"{key}=" for key in keys],
        "over": [f"{key}=" for key in keys],
        "key": [*keys, *sections],
    }
