"""Which methods move (or keep) a topology? One file each, one line here."""

from __future__ import annotations

from typing import Final

from mezzotint.sparse.methods.sparse_momentum import SparseMomentum
from mezzotint.sparse.methods.static import Static
from mezzotint.sparse.topology import Topology

METHODS: Final[dict[str, type[Topology]]] = {
    "static": Static,
    "sparse_momentum": SparseMomentum,
}
"""Name -> class; ``METHODS[name].build(model, optimizer, schedule)`` makes one."""
