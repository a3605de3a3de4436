"""How do measurements look? PNG plots: speed-ups against density or batch, per layer, and the roofline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mezzotint.bench import machine
from mezzotint.bench.kernels import DIRECTIONS, Row
from mezzotint.bench.layers import Layer
from mezzotint.errors import InputError, message

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mezzotint.bench.roofline import Peaks

_INK, _PALE, _GRID = "#24292f", "#8b949e", "#e4e7eb"
_COLOURS: Final = ("#0b6e99", "#d9730d", "#7a3e9d", "#2e8b57", "#b3333d", "#6b7280")
"""Told apart by colour-blind readers too; markers differ beside."""
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_STYLE: Final[Any] = {
    "font.size": 9,
    "axes.edgecolor": _PALE,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_DPI: Final = 160


def require() -> None:
    """Raise InputError when matplotlib is missing: better before anything is measured than after."""
    if find_spec("matplotlib") is None:
        raise InputError(
            message(
                "mezzotint bench",
                received="a Python without matplotlib, which draws its plots",
                allowed="one that has it",
                fix="Install it: pip install 'mezzotint[bench]'.",
            )
        )


def draw_steps(file: Path, name: str, mode: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Speed-up against density; for several batch sizes against the batch, a line a density."""
    sparse = [row for row in rows if row["density"] < 1]
    several = len({row["batch"] for row in sparse}) > 1
    along, line = ("batch", "density") if several else ("density", "batch")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for at, value in enumerate(dict.fromkeys(row[line] for row in sparse)):
            mine = sorted((row for row in sparse if row[line] == value), key=lambda row: row[along])
            places, ratios = [row[along] for row in mine], [row["dense_over_ours"] for row in mine]
            label = f"{line} {value:g}"
            axes.plot(places, ratios, color=_COLOURS[at % 6], marker=_MARKERS[at % 6], ms=6, lw=1.8, label=label)
            for place, ratio in zip(places, ratios, strict=True):
                axes.annotate(f"{ratio:.2f}", (place, ratio), (0, 7), textcoords="offset points", ha="center", size=8)
        axes.set_xscale("log")
        _ticks(axes, sorted({row[along] for row in sparse}))
        if not several:
            axes.invert_xaxis()
        axes.margins(x=0.08, y=0.14)
        axes.set_xlabel("images a step" if several else "density (fraction of the weights that is kept)")
        axes.set_ylabel("dense BF16 time / sparse BF16 time")
        _parity(axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, handlelength=1.4, borderaxespad=0.2)
        what = "training step" if mode == "train" else "forward pass in evaluation"
        _headline(figure, f"{name}: how much faster is a sparse {what}?")

    return _save(file, (7.0, 4.4), draw)


def draw_layers(file: Path, name: str, rows: Sequence[Row], totals: dict[str, dict[str, float]]) -> Path:
    """Speed-up of every layer: one row a layer, one panel a direction, one mark a density."""
    layers = list(dict.fromkeys(tuple(row["layer"]) for row in rows))
    densities = list(dict.fromkeys(row["density"] for row in rows))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(DIRECTIONS), sharey=True, sharex=True)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            mine = [row for row in rows if row["direction"] == direction]
            places = range(1, len(layers) + 1)
            for place, layer in zip(places, layers, strict=True):
                ratios = [row["dense_over_ours"] for row in mine if tuple(row["layer"]) == layer]
                axes.plot([min(ratios), max(ratios)], [place, place], color=_PALE, lw=1, zorder=1)
            for at, density in enumerate(densities):
                whole = totals[f"{density:g}"][direction]
                ratios = [row["dense_over_ours"] for row in mine if row["density"] == density]
                mark = {"color": _COLOURS[at % 6], "marker": _MARKERS[at % 6], "linestyle": "none"}
                axes.plot(ratios, places, ms=5, label=f"density {density:g}", **mark)
                axes.plot([whole], [-0.2], ms=9, **mark)
                axes.annotate(f"{whole:.1f}", (whole, -0.2), (0, 8), textcoords="offset points", ha="center", size=8)
            axes.axhline(0.45, color=_PALE, lw=0.6)
            axes.axvline(1, color=_INK, lw=1)
            axes.set_xscale("log")
            _ticks(axes, [x for x in (0.25, 0.5, 1, 2, 4, 8, 16, 32) if _within(x, rows)])
            axes.set_title(direction)
            axes.set_ylim(len(layers) + 0.6, -1.3)
        labels = [f"{Layer(*layer).label}  ({layer[-1]}×)" for layer in layers]
        panels[0].set_yticks([-0.2, *range(1, len(layers) + 1)], ["the whole network", *labels])
        panels[1].set_xlabel("dense BF16 time / sparse BF16 time (right of 1: sparse wins)")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower right", ncols=len(densities))
        _headline(figure, f"{name}: how much faster are sparse convolutions, layer by layer?")

    return _save(file, (10.0, 2.6 + 0.26 * len(layers)), draw)


def draw_roofline(file: Path, name: str, rows: Sequence[Row], peaks: Peaks) -> Path:
    """Attained GFLOP/s of every sparse kernel against FLOP per byte, under the machine's own peaks."""
    densities = list(dict.fromkeys(row["density"] for row in rows))
    lowest, highest = (pick(row["flop_per_byte"] for row in rows) for pick in (min, max))
    left, right = lowest / 2, max(2 * highest, 2 * peaks.bf16 / peaks.bandwidth)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for peak, label in ((peaks.bf16, "dense BF16 product"), (peaks.fp32, "dense FP32 product")):
            ridge = peak / peaks.bandwidth
            axes.plot([ridge, right], [1e-9 * peak] * 2, color=_INK, lw=1.5 if peak == peaks.bf16 else 1)
            text = f"{label}, {1e-9 * peak:,.0f} GFLOP/s"
            axes.annotate(text, (right, 1e-9 * peak), (-4, 4), textcoords="offset points", size=8, ha="right")
        top = max(peaks.bf16, peaks.fp32) / peaks.bandwidth
        axes.plot([left, top], [1e-9 * peaks.bandwidth * x for x in (left, top)], color=_INK, lw=1.5)
        middle = (left * top) ** 0.5
        axes.annotate(
            f"main memory, {1e-9 * peaks.bandwidth:.1f} GB/s",
            (middle, 1e-9 * peaks.bandwidth * middle),
            (-4, 6),
            textcoords="offset points",
            rotation=45,
            rotation_mode="anchor",
            transform_rotates_text=True,
            ha="center",
            size=8,
        )
        for colour, direction in zip(_COLOURS, DIRECTIONS, strict=False):
            for marker, density in zip(_MARKERS, densities, strict=False):
                mine = [row for row in rows if (row["direction"], row["density"]) == (direction, density)]
                places = [[row[key] for row in mine] for key in ("flop_per_byte", "gflop_per_s")]
                axes.plot(*places, color=colour, marker=marker, ls="none", ms=5, alpha=0.75, mew=0)
        for colour, direction in zip(_COLOURS, DIRECTIONS, strict=False):
            axes.plot([], [], color=colour, marker="o", ls="none", label=direction)
        for marker, density in zip(_MARKERS, densities, strict=False):
            axes.plot([], [], color=_PALE, marker=marker, ls="none", label=f"density {density:g}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(_plain)
        axes.yaxis.set_major_formatter(_plain)
        axes.yaxis.set_minor_formatter(_plain_where_there_is_room)
        axes.set_xlim(left, right)
        axes.set_xlabel("FLOP on the nonzeros per byte of main-memory traffic (input and output once, in 16 bits)")
        axes.set_ylabel("GFLOP/s on the nonzeros")
        axes.legend(loc="lower right", ncols=2)
        _headline(figure, f"{name}: what bounds the sparse kernels?")

    return _save(file, (8.0, 5.2), draw)


def _within(x: float, rows: Sequence[Row]) -> bool:
    ratios = [row["dense_over_ours"] for row in rows]
    return bool(min(*ratios, 1) / 1.5 <= x <= max(*ratios, 1) * 1.5)


def _plain(value: float, _: object) -> str:
    return f"{value:g}"


def _plain_where_there_is_room(value: float, place: object) -> str:
    """On a logarithmic axis: 2, 3, 4 and 6 times a power of ten."""
    return _plain(value, place) if f"{value:e}"[0] in "2346" else ""


def _ticks(axes: Axes, places: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())


def _parity(axes: Axes) -> None:
    """The line where neither side wins, always in sight."""
    axes.axhline(1, color=_INK, lw=1)
    axes.annotate("as fast as dense", (1, 1), (-2, 4), xycoords=("axes fraction", "data"), size=8, ha="right",
                  textcoords="offset points", color=_PALE)  # fmt: skip
    axes.set_ylim(bottom=min(0.9, axes.get_ylim()[0]))


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", size=12, weight="bold")
    figure.supxlabel(machine.in_words(), x=0.01, ha="left", size=7, color=_PALE)


def _save(file: Path, inches: tuple[float, float], draw: Callable[[Figure], None]) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=_DPI)
    return file
