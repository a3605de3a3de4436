"""How do labels keep their meaning when the list of classes is another one? By the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, message


def relabelled(labels: NDArray[np.int64], own: Sequence[str], wanted: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Labels that index ``own`` as labels that index ``wanted``.

    Args:
        labels: int64 [N], 0 <= label < len(own).
        own: the class names that the labels stand for.
        wanted: the complete, ordered class names to use instead.
        path: where the labels come from, for the message.

    Raises:
        DataError: ``wanted`` does not have one of the names.
    """
    if tuple(own) == tuple(wanted):
        return labels
    places = {name: place for place, name in enumerate(wanted)}
    unknown = [name for name in own if name not in places]
    if unknown:
        allowed = f"one of the {len(wanted)} classes given"
        raise DataError(message(str(path), received=f"class {unknown[0]!r}", allowed=allowed))
    return np.array([places[name] for name in own], dtype=np.int64)[labels]
