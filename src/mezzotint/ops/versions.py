"""Which of two versions of a package is older?"""

from __future__ import annotations

import re

_RELEASE = re.compile(r"^(\d+(?:\.\d+)*)")


def is_version(text: str) -> bool:
    """Whether ``text`` begins with numbers and dots, as ``"0.2"`` and ``"1.4.0rc1"`` do."""
    return _RELEASE.match(text) is not None


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: ``"1.0"`` and ``"1"`` are one version."""
    match = _RELEASE.match(version)
    numbers = [int(part) for part in match.group(1).split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def reached(current: str, version: str) -> bool:
    """Whether ``current`` is ``version`` or a later one."""
    return release(current) >= release(version)
