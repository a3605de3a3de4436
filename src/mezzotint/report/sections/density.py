"""Where do the weights sit? The density of every layer over time, and at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.draw.grid import Cell, Heat, heat_map
from mezzotint.report.figure import Chart, figures, missing, ramp, ramps
from mezzotint.report.headline import final_layers
from mezzotint.report.markup import Markup
from mezzotint.report.numbers import count, percent
from mezzotint.report.record import Run
from mezzotint.report.section import Section, thinned
from mezzotint.report.table import Column, Heads, Table, table

#: Columns of a heat map at most; more would be narrower than a finger or a pixel.
COLUMNS = 120
#: Densities spread over more than this factor are tinted by their logarithm.
_LOG_SPREAD = 8.0
#: With more layers than this the bars show the last density only; the table and the heat map have both.
_BOTH = 20
#: Densities that differ by no more than this factor are told to be alike.
_EVEN = 1.25


@dataclass(frozen=True, kw_only=True)
class History:
    """Densities of the layers: ``layers[name][i]`` at ``columns[i]``; ``unit`` says what the columns count."""

    unit: str
    columns: tuple[str, ...]
    layers: dict[str, tuple[float | None, ...]]

    @property
    def moves(self) -> bool:
        """Whether any layer's density ever changed."""
        return any(len({value for value in row if value is not None}) > 1 for row in self.layers.values())


def section(run: Run) -> Section:
    """Density over time and at the end."""
    return Section(
        key="density",
        title="Where the weights sit",
        short="Density",
        lead=f"Density is the share of a layer's possible weights that exist. {_trade(run)}".strip(),
        body=_body(run, history(run)),
    )


def _trade(run: Run) -> str:
    """What happens to the densities; nothing where the pattern stayed as it was."""
    if not run.topology:
        return ""
    sums = [sum(move.after or 0 for move in update.layers.values()) for update in (run.topology[0], run.topology[-1])]
    if sums[0] != sums[1]:
        return "The network as a whole changes its number of weights, and the layers trade them."
    return "The network as a whole keeps its number of weights; the layers trade them."


def history(run: Run) -> History:
    """The densities by topology update where there were any, else by epoch."""
    if run.topology:
        return _by_update(run)
    epochs = thinned(run.epochs, COLUMNS)
    names = {name: None for epoch in epochs for name in epoch.layers}
    layers = {
        name: tuple(epoch.layers[name].density if name in epoch.layers else None for epoch in epochs) for name in names
    }
    return History(unit="epoch", columns=tuple(count(epoch.epoch + 1) for epoch in epochs), layers=layers)


def _by_update(run: Run) -> History:
    updates = thinned(run.topology, COLUMNS)
    names = {name: None for update in updates for name in update.layers}
    numel = {name: layer.numel for name, layer in final_layers(run).items()}
    layers = {}
    for name in names:
        first = run.topology[0].layers.get(name)
        size = numel.get(name)
        start = first.before / size if first and first.before is not None and size else None
        after = (update.layers[name].density if name in update.layers else None for update in updates)
        layers[name] = (start, *after)
    return History(unit="step", columns=("0", *(count(update.step) for update in updates)), layers=layers)


def _body(run: Run, past: History) -> Markup:
    if not past.layers:
        return missing(
            "Densities by layer are not recorded: the network has no sparse layer, or no epoch has ended yet."
        )
    if not past.moves:
        return figures(_final(past))
    return figures(_over_time(run, past), _final(past))


def _over_time(run: Run, past: History) -> Chart:
    known = [value for row in past.layers.values() for value in row if value is not None and value > 0]
    low, high = min(known, default=0.1), max(known, default=1.0)
    logarithmic = high > _LOG_SPREAD * low
    heat = Heat(
        rows=tuple(past.layers),
        columns=past.columns,
        cells=tuple(
            tuple(
                None if value is None else Cell(style="t1", tint=_tint(value, low, high, logarithmic)) for value in row
            )
            for row in past.layers.values()
        ),
        ends=tuple(percent(_last(row)) for row in past.layers.values()),
        x_label="step of the topology update" if past.unit == "step" else "epoch",
        each=past.unit,
        y_label="layer",
    )
    strip = ramp("t1", percent(low) if logarithmic else "0 %", percent(high), "log scale" if logarithmic else "")
    return Chart(
        key="density-over-time",
        title="Density of every layer over time",
        says=_trend(past),
        means="A dark row is a layer that keeps many of its weights; small layers usually do.",
        draw=lambda width: heat_map(heat, width=width),
        table=_table(past),
        legend=ramps(strip),
        wide=True,
    )


def _tint(value: float, low: float, high: float, logarithmic: bool) -> float:
    if not logarithmic or value <= 0:
        return value / high
    return 0.06 + 0.94 * math.log(value / low) / math.log(high / low)


def _trend(past: History) -> str:
    """Which layer gained and which lost most, in their own terms."""
    changes = {
        name: last / first
        for name, row in past.layers.items()
        if (first := row[0]) and (last := _last(row)) is not None
    }
    if not changes:
        return "The last column is the density now."
    up, down = max(changes, key=changes.__getitem__), min(changes, key=changes.__getitem__)
    parts = [
        _change(name, past.layers[name], verb)
        for name, verb in ((up, "grew"), (down, "shrank"))
        if _moved(changes[name], verb)
    ]
    return f"{' and '.join(parts)} most." if parts else "No layer changed by more than a percent."


def _moved(factor: float, verb: str) -> bool:
    return factor > 1.01 if verb == "grew" else factor < 0.99


def _change(name: str, row: Sequence[float | None], verb: str) -> str:
    return f"{name} {verb} from {percent(row[0])} to {percent(_last(row))}"


def _last(row: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(row) if value is not None), None)


def _table(past: History) -> Table:
    columns: Heads = (Column(name="Layer", text=True), *past.columns)
    return table(columns, ((name, *map(percent, row)) for name, row in past.layers.items()))


def _final(past: History) -> Chart:
    both = past.moves and len(past.layers) <= _BOTH
    groups = [_group(name, row, both) for name, row in past.layers.items()]
    rows = ((name, percent(row[0]), percent(_last(row))) for name, row in past.layers.items())
    keys = (("bar pale", "at the start"), ("bar s1", "now")) if both else ()
    return Chart(
        key="density-now",
        title="Density now, layer by layer",
        means=_spread(past),
        says="The pattern as it stands." if past.moves else "The pattern did not change during this run.",
        draw=lambda width: bar_chart(groups, width=width),
        table=table((Column(name="Layer", text=True), "at the start", Column(name="now", style="s1")), rows),
        legend=keys,
        wide=True,
    )


def _spread(past: History) -> str:
    """How to read the bars: of an even pattern there is not much to see."""
    now = [value for row in past.layers.values() if (value := _last(row)) is not None]
    if now and max(now) <= _EVEN * min(now):
        return "Every layer has about the same share of its weights."
    return "Layers with few possible weights often keep most of them, large ones can spare nearly all."


def _group(name: str, row: Sequence[float | None], both: bool) -> Group:
    first, last = row[0], _last(row)
    now = Bar(value=last or 0.0, style="s1", text=percent(last))
    return Group(name=name, bars=(Bar(value=first or 0.0, style="pale", text=percent(first)), now) if both else (now,))
