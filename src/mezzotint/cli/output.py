"""Where do commands write? Results to stdout, warnings to stderr; colours on terminals only."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """For results and progress."""
    return Console()


def line(text: str) -> None:
    """One line of result, as it is."""
    sys.stdout.write(f"{text}\n")


def warn(text: str) -> None:
    """A sentence about what is not an error and should be known."""
    sys.stderr.write(f"warning: {text}\n")
