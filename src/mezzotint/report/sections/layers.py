"""What is left at the end? Every sparse layer with its weights, and the whole network."""

from __future__ import annotations

from mezzotint.report.draw.svg import box
from mezzotint.report.figure import missing
from mezzotint.report.headline import final_layers, headline
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import count, percent
from mezzotint.report.record import Layer, Run
from mezzotint.report.section import Section
from mezzotint.report.table import Column, Heads, table

_BAR = 90.0


def section(run: Run) -> Section:
    """The final table."""
    return Section(
        key="layers",
        title="Layer by layer",
        short="Layers",
        lead="nnz counts the weights that exist, numel those that a dense layer would have; density is their quotient.",
        body=_body(run),
    )


def _body(run: Run) -> Markup:
    layers = final_layers(run)
    if not layers:
        return missing("Layers are not recorded: the network has no sparse layer, or no epoch has ended yet.")
    columns: Heads = (
        Column(name="Layer", text=True),
        "nnz",
        "numel",
        "density",
        Column(name="drawn", text=True),
        "share of all nnz",
    )
    whole = sum(layer.nnz or 0 for layer in layers.values())
    rows = [_row(name, layer, whole) for name, layer in layers.items()]
    total = _sum(layers)
    return table(columns, (*rows, total, *_network(run, total))).html("Weights of every sparse layer")


def _row(name: str, layer: Layer, whole: int) -> tuple[str, ...]:
    share = layer.nnz / whole if layer.nnz is not None and whole else None
    return (name, count(layer.nnz), count(layer.numel), percent(layer.density), _bar(layer.density), percent(share))


def _sum(layers: dict[str, Layer]) -> tuple[str, ...]:
    nnz, numel = (sum(getattr(layer, key) or 0 for layer in layers.values()) for key in ("nnz", "numel"))
    return _row("all sparse layers", Layer(nnz=nnz, numel=numel, density=nnz / numel if numel else None), nnz)


def _network(run: Run, total: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The network with its dense layers, where the run counts them too."""
    head = headline(run)
    row = ("whole network", count(head.nnz), count(head.numel), percent(head.density), _bar(head.density), "")
    return [] if head.nnz is None or row[1:3] == total[1:3] else [row]


def _bar(density: float | None) -> Markup:
    drawn = join(
        box(0, 1, _BAR, 10, "bar ground", round_=1), box(0, 1, _BAR * min(density or 0.0, 1.0), 10, "bar s1", round_=1)
    )
    return tag("svg", drawn, viewBox=f"0 0 {_BAR:g} 12", width=f"{_BAR:g}", height=12, aria_hidden="true")
