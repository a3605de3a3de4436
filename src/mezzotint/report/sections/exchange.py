"""Which layers gave weights to which? Every update's exchange, added up over the run."""

from __future__ import annotations

from collections.abc import Sequence

from mezzotint.report.draw.flow import Ribbon, flow_chart
from mezzotint.report.figure import Chart
from mezzotint.report.numbers import count
from mezzotint.report.record import Topology
from mezzotint.report.table import Column, Heads, table

#: Layers named on each side; what smaller ones gave and took is drawn together.
_NAMED = 7
_REST = "all others"


def flow(updates: Sequence[Topology]) -> Chart | None:
    """A ribbon for every pair of giver and taker; None where no weight changed its layer."""
    moved = exchanges(updates)
    if not moved:
        return None
    ribbons = _few(_by_stage(moved))
    gave, took = _sums(ribbons, 0), _sums(ribbons, 1)
    notes = {name: (f"gave {count(gave.get(name))}", f"took {count(took.get(name))}") for name in {*gave, *took}}
    drawn = [Ribbon(source=i, target=j, value=value) for (i, j), value in ribbons.items()]
    total = sum(moved.values())
    giver, taker = (max((name for name in ends if name != _REST), key=ends.__getitem__) for ends in (gave, took))
    columns: Heads = (Column(name="From and to", text=True), "weights", "of all that moved")
    rows = ((f"{i} → {j}", count(v), f"{100 * v / total:.1f} %") for (i, j), v in ribbons.items())
    return Chart(
        key="exchange",
        title="From layer to layer",
        says=f"{count(total)} weights changed their layer; {giver} gave most, {taker} took most.",
        means="In each update, what the layers on the left lose is shared among those on the right by what each gains.",
        draw=lambda width: flow_chart(drawn, notes=notes, width=width),
        table=table(columns, rows),
        legend=(("bar s2", "gives"), ("bar s1", "takes")),
        wide=True,
    )


def exchanges(updates: Sequence[Topology]) -> dict[tuple[str, str], float]:
    """(giver, taker) -> weights, over all updates: losses are shared among the gains in proportion."""
    moved: dict[tuple[str, str], float] = {}
    for update in updates:
        nets = {name: (move.grown or 0) - (move.pruned or 0) for name, move in update.layers.items()}
        gains = {name: net for name, net in nets.items() if net > 0}
        losses = {name: -net for name, net in nets.items() if net < 0}
        # A network that grows or shrinks gains or loses more than it exchanges.
        larger = max(sum(gains.values()), sum(losses.values()))
        for giver, lost in losses.items():
            for taker, gained in gains.items():
                moved[giver, taker] = moved.get((giver, taker), 0.0) + lost * gained / larger
    return moved


def _by_stage(moved: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The exchanges of a deep network between its stages, the first parts of the layers' names, where it has some."""
    layers = {name for pair in moved for name in pair}
    stages = {name: name.split(".")[0] for name in layers}
    if len(layers) <= _NAMED + 1 or not 1 < len(set(stages.values())) <= _NAMED + 1:
        return moved
    joined: dict[tuple[str, str], float] = {}
    for (i, j), value in moved.items():
        pair = (stages[i], stages[j])
        joined[pair] = joined.get(pair, 0.0) + value
    return joined


def _few(moved: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The exchanges with small givers and takers as one, in the order in which ends are stacked, the largest on top."""
    givers, takers = _largest(_sums(moved, 0)), _largest(_sums(moved, 1))
    joined: dict[tuple[str, str], float] = {}
    for (i, j), value in moved.items():
        key = (i if i in givers else _REST, j if j in takers else _REST)
        joined[key] = joined.get(key, 0.0) + value
    order = ([*givers, _REST], [*takers, _REST])
    return dict(sorted(joined.items(), key=lambda item: tuple(o.index(n) for o, n in zip(order, item[0], strict=True))))


def _sums(moved: dict[tuple[str, str], float], side: int) -> dict[str, float]:
    made: dict[str, float] = {}
    for pair, value in moved.items():
        made[pair[side]] = made.get(pair[side], 0.0) + value
    return made


def _largest(sums: dict[str, float]) -> list[str]:
    names = sorted(sums, key=lambda name: (-sums[name], name))
    return names if len(names) <= _NAMED + 1 else names[:_NAMED]
