"""What is a method of moving a topology? A few pure functions, and what they need to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mezzotint.sparse.grow import Scores, rewired
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.view import LayerView


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When an update is decided, and what was remembered.

    Attributes:
        step: optimiser steps taken; with staggered turns, of the last turn of this update.
        progress: ``step`` as a fraction of the training.
        rate: the schedule's prune rate.
        memory: what the last :class:`Decision` asked to remember; JSON-able.
    """

    step: int
    progress: float
    rate: float
    memory: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many weights each layer loses and gets.

    Attributes:
        pruned, grown: counts, in the order of the views.
        share: each layer's part in the redistribution; sums to 1.
        memory: replaces ``Occasion.memory`` from the next update on.
        log: JSON-able numbers of the method's own about this update; they go into its report and ``metrics.jsonl``.
    """

    pruned: Sequence[int]
    grown: Sequence[int]
    share: Sequence[float]
    memory: Mapping[str, Any] = field(default_factory=dict)
    log: Mapping[str, Any] = field(default_factory=dict)


Decide = Callable[[Sequence[LayerView], Occasion], Decision]
Rewire = Callable[[LayerView, int, int, Scores], Pattern]
"""``rewire(view, lost, gained, scores)``: the new pattern, of ``nnz - lost + gained`` weights; ``scores()`` is
``[numel]``: the evidence of all weights, or uniform random numbers for a method without evidence."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A method as pure functions.

    Attributes:
        name: the method's name, kept in checkpoints.
        decide: counts for all layers.
        rewire: one layer's new pattern for its counts.
        evidence: a key of ``moments.EVIDENCE``: by what missing weights rank; None: grown at random, without windows.
        reads_momentum: whether ``LayerView.momentum`` is read.
        reads_gradient: whether ``LayerView.gradient`` is read.
        settings: the method's own settings, JSON-able; a checkpoint with other settings is refused.
    """

    name: str
    decide: Decide
    rewire: Rewire = rewired
    evidence: str | None = None
    reads_momentum: bool = False
    reads_gradient: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def swap_in_place(views: Sequence[LayerView], pruned: Sequence[int]) -> Decision:
    """Each layer gets back as many weights as it loses; ``pruned`` counts above a layer's missing weights are fine."""
    total = sum(view.pattern.nnz for view in views)
    share = [view.pattern.nnz / total if total else 1 / len(views) for view in views]
    return Decision(pruned=pruned, grown=pruned, share=share)
