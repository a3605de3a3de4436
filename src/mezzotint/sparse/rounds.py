"""How do layers exchange weights when each has its turn at another step? A plan per update, paid turn by turn.

An update of sparse momentum moves weights from some layers to others. Growing needs a layer's dense window, and so
waits for the layer's turn; pruning needs nothing, and can be done at any step. So the layer that grows more than it
prunes is paid for at its turn by those that owe weights, which prune them then; at its own turn, an owing layer only
swaps what is left. The number of nonzeros is the same after every step, and after the last turn each layer has lost
and gained exactly what was decided. Where the number falls, what is too much goes at the first turn of all, and the
rest is exchanged. An update that raises the number moves nothing between layers: each changes at its own turn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mezzotint.sparse.apportion import apportion
from mezzotint.sparse.record import LayerChange, TopologyReport
from mezzotint.sparse.rules import Decision
from mezzotint.sparse.view import LayerView


@dataclass(kw_only=True)
class Part:
    """One layer's part in the update under way.

    Attributes:
        before: nonzeros when the update was decided.
        swaps: weights it prunes and grows at its own turn.
        gains: weights it gets from other layers at its turn.
        owes: weights it has still to give to others.
        alone: by how many weights it grows (or shrinks, below 0) at its turn without any exchange.
        share: in the redistribution.
        falls: weights it has still to lose that nobody gets.
        pruned, grown: done so far.
    """

    before: int
    swaps: int
    gains: int
    owes: int
    alone: int
    share: float
    falls: int = 0
    pruned: int = 0
    grown: int = 0


@dataclass(kw_only=True)
class Round:
    """The update under way; JSON-able by ``asdict``."""

    step: int
    prune_rate: float
    parts: dict[str, Part] = field(default_factory=dict)
    log: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def planned(cls, step: int, rate: float, views: Sequence[LayerView], decision: Decision) -> Round:
        """The plan of an update in which the layers lose and get what ``decision`` says."""
        counts = list(zip(decision.pruned, decision.grown, strict=True))
        surplus = sum(decision.pruned) - sum(decision.grown)
        losses = [max(lost - gained, 0) for lost, gained in counts]
        falls = apportion(max(surplus, 0), losses, [0] * len(losses), losses) if losses else []
        parts = {}
        for place, ((lost, gained), view) in enumerate(zip(counts, views, strict=True)):
            parts[view.name] = Part(
                before=view.pattern.nnz,
                swaps=min(lost, gained),
                gains=max(gained - lost, 0) if surplus >= 0 else 0,
                owes=losses[place] - falls[place] if surplus >= 0 else 0,
                alone=0 if surplus >= 0 else gained - lost,
                share=decision.share[place],
                falls=falls[place],
            )
        return cls(step=step, prune_rate=rate, parts=parts, log=dict(decision.log))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Round:
        """The inverse of ``asdict``."""
        parts = {name: Part(**part) for name, part in state["parts"].items()}
        return cls(step=state["step"], prune_rate=state["prune_rate"], parts=parts, log=dict(state.get("log", {})))

    def state(self) -> dict[str, Any]:
        """Plain dicts and numbers."""
        return asdict(self)

    def take_turns(self, names: Collection[str], able: Collection[str]) -> dict[str, tuple[int, int]]:
        """layer -> (loses, gets) at the turns of the layers ``names``: theirs, and what others give them.

        Only layers in ``able`` change (a layer may have been frozen since the plan was made); nothing is grown that
        nobody pays for.
        """
        moves: dict[str, tuple[int, int]] = {}
        for name, part in self.parts.items():
            if part.falls and name in able:
                moves[name], part.falls = (part.falls, 0), 0
        debtors = [name for name, part in self.parts.items() if part.owes and name in able]
        funds = sum(self.parts[name].owes for name in debtors)
        spent = 0
        for name in names:
            if name in self.parts and name in able:
                part = self.parts[name]
                gains = min(part.gains, funds - spent)
                spent += gains
                falls, _ = moves.get(name, (0, 0))
                moves[name] = (falls + part.swaps + max(-part.alone, 0), part.swaps + max(part.alone, 0) + gains)
        owed = [self.parts[name].owes for name in debtors]
        for name, pays in zip(debtors, apportion(spent, owed, [0] * len(owed), owed), strict=True):
            if pays:
                self.parts[name].owes -= pays
                lost, gained = moves.get(name, (0, 0))
                moves[name] = (lost + pays, gained)
        for name, (lost, gained) in moves.items():
            self.parts[name].pruned += lost
            self.parts[name].grown += gained
        return {name: move for name, move in moves.items() if move != (0, 0)}

    def report(self, numels: Mapping[str, int], extra: Mapping[str, Any] | None = None) -> TopologyReport:
        """What the update changed, once all turns are taken; ``extra`` joins what the decision logged."""
        changes = {}
        for name, part in self.parts.items():
            after = part.before - part.pruned + part.grown
            changes[name] = LayerChange(
                before=part.before,
                pruned=part.pruned,
                grown=part.grown,
                after=after,
                importance=part.share,
                density=after / numels[name],
            )
        return TopologyReport(
            step=self.step, prune_rate=self.prune_rate, layers=changes, extra={**self.log, **(extra or {})}
        )
