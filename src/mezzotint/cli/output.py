"""Where do commands write? Results to stdout, notes and warnings to stderr; colours where a person will see them.

``NO_COLOR`` (not empty) turns colours off, ``FORCE_COLOR`` (not empty) turns them on where there is no terminal;
``NO_COLOR`` wins, as on https://no-color.org.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """For tables and progress. ``is_terminal`` says whether bars can move, which colours alone do not mean."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))  # rich's own ends the program, with 1

    plain = bool(os.environ.get("NO_COLOR"))
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    forced = bool(os.environ.get("FORCE_COLOR")) and not plain
    # FORCE_COLOR would make rich take a pipe for a terminal, and draw bars into files.
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    return Piped(
        stderr=stderr,
        force_terminal=terminal,
        color_system=None if plain else "auto" if terminal else "standard" if forced else None,
        no_color=plain,
        _environ=environment,
    )


def shell(path: object) -> str:
    """A path as it can be copied into a shell."""
    return shlex.quote(str(path))


def line(text: str) -> None:
    """One line of result, as it is."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """A line about what is going on, beside the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A sentence about what is not an error and should be known."""
    sys.stderr.write(f"warning: {text}\n")
