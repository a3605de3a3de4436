"""What is left at the end? Every sparse layer with its weights, and the whole network."""

from __future__ import annotations

from mezzotint.report.draw.svg import box
from mezzotint.report.figure import missing
from mezzotint.report.headline import final_layers, headline
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT, count, percent, plain
from mezzotint.report.record import Layer, Run
from mezzotint.report.section import Section
from mezzotint.report.table import Column, Heads, table

_BAR = 90.0
_COMPUTED = (
    " Multiply-adds are those of one image's forward pass: a weight of an early layer is used at more places of the"
    " image, so that a layer's share of the work is another than its share of the weights."
)


def section(run: Run) -> Section:
    """The final table."""
    return Section(
        key="layers",
        title="Layer by layer",
        short="Layers",
        lead="nnz counts the weights that exist, numel those that a dense layer would have; density is their quotient."
        + (_COMPUTED if run.arithmetic else ""),
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
        *(("multiply-adds", "of all that are left") if run.arithmetic else ()),
    )
    whole = sum(layer.nnz or 0 for layer in layers.values())
    work = _work(run, layers)
    left = sum(work.values())
    rows = [(*_row(name, layer, whole), *_told(work.get(name), left)) for name, layer in layers.items()]
    total = _sum(layers)
    sparse = sum(work.get(name, 0.0) for name in layers)
    ends = ((*row, *_told(of, left)) for row, of in zip((total, *_network(run, total)), (sparse, left), strict=False))
    return table(columns, (*rows, *ends)).html("Weights of every sparse layer")


def _work(run: Run, layers: dict[str, Layer]) -> dict[str, float]:
    """Multiply-adds of every layer as it stands, the dense ones among them; empty where they are not counted."""
    return {name: of * (layers[name].density or 0.0 if name in layers else 1.0) for name, of in run.arithmetic.items()}


def _told(work: float | None, left: float) -> tuple[str, ...]:
    """The two last cells of a row; none where nothing is counted."""
    if not left:
        return ()
    return (ABSENT, ABSENT) if work is None else (_millions(work), percent(work / left))


def _millions(number: float) -> str:
    return f"{plain(number / 1e6, 3)} M"


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
