"""What did a topology update change? One frozen record per update, ready for a run's metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """One layer's part in an update.

    Attributes:
        before: nonzeros before the update.
        pruned: how many were pruned.
        grown: how many were grown; some of them may be weights that were just pruned.
        after: nonzeros after the update: ``before - pruned + grown``.
        importance: the layer's share in the redistribution, 0 to 1; the shares of all layers sum to 1.
        density: nnz / numel after the update.
    """

    before: int
    pruned: int
    grown: int
    after: int
    importance: float
    density: float


@dataclass(frozen=True, kw_only=True)
class TopologyReport:
    """One update.

    Attributes:
        step: optimiser steps taken before it; skipped steps do not count.
        prune_rate: fraction of the active weights that were to be pruned.
        layers: dotted name -> change, in module order.
        extra: what the method itself tells of the update (``Decision.log``; ``explored`` of RigL-ITOP).
    """

    step: int
    prune_rate: float
    layers: dict[str, LayerChange]
    extra: dict[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Plain dicts and numbers, JSON-able; without ``extra`` where there is none."""
        record = asdict(self)
        if not self.extra:
            del record["extra"]
        return record
