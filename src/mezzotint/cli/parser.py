"""How are a command's arguments read? argparse, with examples at the end of the help and errors in one paragraph."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from mezzotint.errors import suggest

_WHOLE: Final = re.compile(r"[-+]?[0-9]+")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one paragraph, with a suggestion for a mistyped option."""

    def __init__(self, *, prog: str, summary: str, examples: str) -> None:
        """
        Args:
            prog: what the user types: ``mezzotint train``.
            summary: one line, without a full stop.
            examples: lines to copy.
        """
        super().__init__(
            prog=prog,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, with options before, between or behind the others; argparse cannot do so below an action."""
        below = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        return self.parse_args(words) if below else self.parse_intermixed_args(words)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2: what is wrong, and how the command is used."""
        hint = ""
        if message.startswith("unrecognized arguments: "):
            hint = self._meant(message.split(": ", 1)[1].split()[0].split("=")[0])
        usage = " ".join(self.format_usage().split())
        stop = "" if message.endswith(("?", ".")) else "."
        self.exit(2, f"error: {message}{stop}{hint} {usage[0].upper()}{usage[1:]}\n")

    def _meant(self, wrong: str) -> str:
        """What an unknown option may stand for: another option, or a key of ``--set`` by its last word."""
        if not wrong.startswith("-"):
            return ""
        options = self._options()
        known = {_bare(option): option for option in options}
        if "--set" in options:
            known = {**_keys_by_last_word(), **known}
        close = difflib.get_close_matches(_bare(wrong), list(known), n=1, cutoff=0.6)
        return f" Did you mean {known[close[0]]!r}?" if close else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse's own check, with a suggestion for a mistyped word."""
        if action.choices is None or value in action.choices:
            return
        known = [str(word) for word in action.choices]
        text = f"invalid choice: {value!r} (choose from {', '.join(known)}).{suggest(str(value), known)}"
        raise argparse.ArgumentError(action, text.rstrip("."))

    def _options(self) -> list[str]:
        """The options of the command and of the actions below it."""
        found = [option for action in self._actions for option in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [option for parser in action.choices.values() for option in parser._options()]
        return found


def at_least(low: int) -> Callable[[str], int]:
    """For ``type=``: a whole number of at least ``low``, so that another one is refused before anything is done."""

    def whole(text: str) -> int:
        number = int(text) if _WHOLE.fullmatch(text) else low - 1
        if number < low:
            raise argparse.ArgumentTypeError(f"received {text}; allowed: a whole number, at least {low}")
        return number

    return whole


def _bare(option: str) -> str:
    """An option as keys are written: ``--weight-decay`` -> ``weight_decay``."""
    return option.lstrip("-").replace("-", "_").rpartition(".")[2]


def _keys_by_last_word() -> dict[str, str]:
    from mezzotint.cli.keys import all_of_them

    return {key.name.rpartition(".")[2]: f"--set {key.name}=..." for key in reversed(all_of_them())}
