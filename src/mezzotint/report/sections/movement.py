"""Where did weights move? What every topology update pruned and grew, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.report.draw.bars import Bar, two_sided
from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.draw.lines import Line, line_chart
from mezzotint.report.draw.scale import Axis
from mezzotint.report.figure import Chart, figures, missing, ramp, ramps
from mezzotint.report.markup import Markup
from mezzotint.report.numbers import count, percent, plain, signed
from mezzotint.report.record import Move, Run, Topology
from mezzotint.report.section import Section, bins
from mezzotint.report.sections.curves import STEPS
from mezzotint.report.sections.density import COLUMNS
from mezzotint.report.sections.exchange import flow
from mezzotint.report.table import Column, Heads, table

#: With more layers than this their bars would be much taller than the curve beside them.
_BESIDE = 9


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Weights of one layer in one column of the heat map: pruned and grown."""

    pruned: int = 0
    grown: int = 0

    @property
    def net(self) -> int:
        """Weights gained (positive) or given away."""
        return self.grown - self.pruned


def section(run: Run) -> Section:
    """The topology updates of a run."""
    return Section(
        key="movement",
        title="Where the weights moved",
        short="Movement",
        lead="An update prunes the smallest weights of every layer, shares their number out anew by importance, and "
        "grows as many missing ones.",
        body=_body(run.topology) if run.topology else missing(_why_none(run)),
    )


def _why_none(run: Run) -> str:
    none = "No topology update is recorded"
    if run.summary is None:
        return f"{none}: the pattern is fixed, or the first update is still to come."
    if run.summary.method in ("static", "dense"):
        return f"{none}: the pattern is fixed."
    return (
        f"{none}, and the training is over: 0 updates fitted into it, as one must leave a whole sparsity.interval of"
        " training. The pattern stayed as it was."
    )


def _body(updates: Sequence[Topology]) -> Markup:
    return figures(flow(updates), _net(updates), _per_update(updates), _totals(updates), _importance(updates))


def flows(updates: Sequence[Topology]) -> dict[str, list[Flow]]:
    """Layer name -> its flow in each update."""
    names = {name: None for update in updates for name in update.layers}
    return {name: [_flow(update.layers.get(name)) for update in updates] for name in names}


def _flow(move: Move | None) -> Flow:
    return Flow(pruned=move.pruned or 0, grown=move.grown or 0) if move else Flow()


def _added(part: Sequence[Flow]) -> Flow:
    return Flow(pruned=sum(flow.pruned for flow in part), grown=sum(flow.grown for flow in part))


def _net(updates: Sequence[Topology]) -> Chart:
    ends = [part[-1] for part in bins(updates, COLUMNS)]
    rows = {name: [_added(part) for part in bins(row, COLUMNS)] for name, row in flows(updates).items()}
    largest = max((abs(flow.net) for row in rows.values() for flow in row), default=0) or 1
    heat = Heat(
        rows=tuple(rows),
        columns=tuple(count(update.step) for update in ends),
        cells=tuple(tuple(_cell(flow, largest) for flow in row) for row in rows.values()),
        ends=tuple(signed(_added(row).net) for row in rows.values()),
        x_label="step of the topology update",
        each="step",
        y_label="layer",
    )
    columns: Heads = (Column(name="Layer", text=True), *heat.columns)
    cells = (
        (name, *(f"{signed(f.net)} (pruned {count(f.pruned)}, grown {count(f.grown)})" for f in row))
        for name, row in rows.items()
    )
    return Chart(
        key="net-movement",
        title="Weights gained and given away",
        says="A layer that gains in one update takes what others gave away in the same update; on the right the sum.",
        means="Early updates move much, late ones little: the pattern settles while the learning rate falls.",
        draw=lambda width: heat_map(heat, width=width),
        table=table(columns, cells),
        legend=ramps(ramp("t1", "gained: 0", signed(largest)), ramp("t2", "given away: 0", signed(-largest))),
        wide=True,
    )


def _cell(flow: Flow, largest: int) -> Cell:
    # The square root keeps small exchanges visible beside the large first ones.
    return Cell(style="t1" if flow.net > 0 else "t2", tint=(abs(flow.net) / largest) ** 0.5)


def _per_update(updates: Sequence[Topology]) -> Chart:
    parts = bins(updates, COLUMNS)
    xs = [float(part[-1].step) for part in parts]
    totals = [[_total(update) for update in part] for part in parts]
    pruned = [sum(flow.pruned for flow in part) / len(part) for part in totals]
    exchanged = [sum(exchange(update) for update in part) / len(part) for part in parts]
    lines = (
        Line(name="replaced", style="s1", values=pruned),
        Line(name="exchanged", style="s2 dashed", values=exchanged),
    )
    columns: Heads = ("Step", Column(name="replaced", style="s1"), Column(name="exchanged between layers", style="s2"))
    rows = ((count(x), count(a), count(b)) for x, a, b in zip(xs, pruned, exchanged, strict=True))
    return Chart(
        key="per-update",
        title="Weights moved by an update",
        means="Replaced weights stay in their layer or change it; the second line counts those that change it.",
        says=f"{count(pruned[0])} weights in the first update, {count(pruned[-1])} in the last of {len(updates)}.",
        draw=lambda width: line_chart(
            xs, lines, x=STEPS, y=Axis(label="weights", write=plain, kind="linear", zero=True), width=width
        ),
        table=table(columns, rows),
        legend=(("line s1", "replaced"), ("line s2 dashed", "exchanged between layers")),
        wide=len(updates[0].layers) > _BESIDE,
    )


def _total(update: Topology) -> Flow:
    return _added([_flow(move) for move in update.layers.values()])


def exchange(update: Topology) -> int:
    """Weights that changed their layer in an update: the sum of what layers gained."""
    return sum(max(_flow(move).net, 0) for move in update.layers.values())


def _totals(updates: Sequence[Topology]) -> Chart:
    sums = {name: _added(row) for name, row in flows(updates).items()}
    rows = [
        (
            name,
            Bar(value=f.pruned, style="s2", text=count(f.pruned)),
            Bar(value=f.grown, style="s1", text=count(f.grown)),
        )
        for name, f in sums.items()
    ]
    columns: Heads = (
        Column(name="Layer", text=True),
        Column(name="pruned", style="s2"),
        Column(name="grown", style="s1"),
        "net",
    )
    total = sum(flow.pruned for flow in sums.values())
    return Chart(
        key="turnover",
        title="Pruned and grown over the whole run",
        says=f"{count(total)} weights were pruned and {count(sum(f.grown for f in sums.values()))} grown.",
        means="Where the right side is longer, the layer ends with more weights than it had.",
        draw=lambda width: two_sided(rows, width=width),
        table=table(columns, ((name, count(f.pruned), count(f.grown), signed(f.net)) for name, f in sums.items())),
        legend=(("bar s2", "pruned"), ("bar s1", "grown")),
        wide=len(updates[0].layers) > _BESIDE,
    )


def _importance(updates: Sequence[Topology]) -> Chart | None:
    """Each layer's share of the importance: the reason why it gains or gives away."""
    parts = [part[-1] for part in bins(updates, COLUMNS)]
    names = list(flows(updates))
    shares = {name: [_share(update, name) for update in parts] for name in names}
    largest = max((value for row in shares.values() for value in row if value is not None), default=0.0)
    if not largest:
        return None
    heat = Heat(
        rows=tuple(names),
        columns=tuple(count(update.step) for update in parts),
        cells=tuple(
            tuple(None if v is None else Cell(style="t3", tint=v / largest) for v in row) for row in shares.values()
        ),
        x_label="step of the topology update",
        each="step",
        y_label="layer",
    )
    rows = ((name, *(f"{plain(None if v is None else 100 * v, 3)} %" for v in row)) for name, row in shares.items())
    return Chart(
        key="importance",
        title="Importance of the layers",
        says="The share of each layer in the mean momentum of the active weights decides how many it may grow.",
        means="A layer whose weights still pull strongly in one direction can make use of more of them.",
        draw=lambda width: heat_map(heat, width=width),
        table=table((Column(name="Layer", text=True), *heat.columns), rows),
        legend=ramps(ramp("t3", "0 %", percent(largest, 2))),
        wide=True,
    )


def _share(update: Topology, name: str) -> float | None:
    whole = sum(move.importance or 0.0 for move in update.layers.values())
    own = update.layers[name].importance if name in update.layers else None
    return None if own is None or not whole > 0 or not 0 <= own <= whole else own / whole
