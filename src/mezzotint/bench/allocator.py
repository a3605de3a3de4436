"""Does an allocator that gives pages back spoil a comparison? glibc is told to keep them, before the process begins.

The system clears fresh pages on first touch. A dense step, which allocates large activations anew, loses up to a third
of its time to that; native activations come from an arena that keeps its pages. Sparse kernels are measured against
PyTorch's best, so the process begins once more with glibc's own environment variables set.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

KEEP: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**30),
}
"""glibc's settings: nothing below 4 GiB gets a mapping of its own, and the heap shrinks only when 8 GiB are free."""


def begin_again_with_pages_kept(command: str) -> None:
    """Replace this process by itself with ``KEEP`` in its environment, once.

    Nothing happens where glibc is not the C library, where the settings are there already (a user's own values stay),
    and in a process that was not started as ``mezzotint COMMAND ...`` (somebody else's program is not started anew).
    """
    own = sys.argv[1:2] == [command]
    if own and platform.libc_ver()[0] == "glibc" and not _kept(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**KEEP, **os.environ})


def default_environment() -> dict[str, str]:
    """The environment of this process without ``KEEP``: for a child whose memory is measured as users see it."""
    return {name: value for name, value in os.environ.items() if name not in KEEP}


def in_words() -> str:
    """One sentence about the allocator of this process."""
    if _kept(os.environ):
        values = " ".join(f"{name}={os.environ[name]}" for name in KEEP)
        return (
            f"The allocator keeps its pages ({values}): fresh ones would cost the dense side up to a third of its time."
        )
    return "The allocator gives pages back to the system: the dense side may lose up to a third of its time to that."


def _kept(environment: Mapping[str, str]) -> bool:
    return KEEP.keys() <= environment.keys()
