"""In what do compared runs differ, measurements apart? The keys of their configurations, and the layers' densities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mezzotint.report.figure import missing
from mezzotint.report.headline import final_layers
from mezzotint.report.markup import Markup, join
from mezzotint.report.numbers import ABSENT, percent
from mezzotint.report.record import Run
from mezzotint.report.section import Section
from mezzotint.report.table import Column, Heads, table

#: Tells nothing: runs differ by it on purpose.
_NAME = "name"


def differences_section(named: Sequence[tuple[str, Run]]) -> Section:
    """Keys that are not the same in all runs, and the density of every layer in each."""
    lead = "Keys of the configurations that differ; a dash stands for a key that is left at its default."
    return Section(
        key="differences",
        title="In what they differ",
        short="Differences",
        lead=lead,
        body=join(_keys(named), _densities(named)),
    )


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Dotted key -> its value in each configuration, for keys whose values are not all the same."""
    flat = [dict(_flattened(config)) for config in configs]
    keys = dict.fromkeys(key for one in flat for key in one if key != _NAME)
    rows = {key: tuple(one.get(key, ABSENT) for one in flat) for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def _flattened(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", str(value)


def _keys(named: Sequence[tuple[str, Run]]) -> Markup:
    rows = differing([run.config for _, run in named])
    if not rows:
        return missing("Their configurations are the same, but for their names.")
    columns = tuple(Column(name=name, text=True) for name in ("Key", *(name for name, _ in named)))
    return table(columns, ((key, *row) for key, row in rows.items())).html("Configurations")


def _densities(named: Sequence[tuple[str, Run]]) -> Markup:
    """Nothing where no run has a sparse layer."""
    found = [final_layers(run) for _, run in named]
    names = dict.fromkeys(name for layers in found for name in layers)
    if not names:
        return Markup()
    columns: Heads = (Column(name="Layer", text=True), *(name for name, _ in named))
    rows = (
        (name, *(percent(layers[name].density) if name in layers else ABSENT for layers in found)) for name in names
    )
    return table(columns, rows).html("Density of every layer at the end")
