"""How are measurements read at a shell? Tables with ratios above 1 where the sparse side wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mezzotint.bench.kernels import DIRECTIONS, Row
from mezzotint.bench.layers import Layer
from mezzotint.bench.roofline import Peaks

_GB = 1e9


def step_table(name: str, mode: str, rows: Sequence[dict[str, Any]], memory: Sequence[dict[str, Any]]) -> Table:
    """One line a batch size and density."""
    what = "training step" if mode == "train" else "forward pass in evaluation"
    table = Table(box=SIMPLE_HEAD, title=f"{name}: {what}, BF16 (dense: PyTorch in channels_last)")
    for heading in ("batch", "density", "forward", "whole", "max / min", "dense / ours"):
        table.add_column(heading, justify="right")
    if memory:
        table.add_column("peak memory", justify="right")
    peaks = {(entry["batch"], entry["density"]): f"{entry['peak'] / _GB:.2f} GB" for entry in memory}
    for row in rows:
        table.add_row(
            str(row["batch"]),
            "dense" if row["density"] == 1 else f"{row['density']:g}",
            f"{row['forward_ms']:.1f} ms",
            f"{row['step_ms']:.1f} ms",
            f"{row['spread']:.2f}",
            f"{row['dense_over_ours']:.2f}",
            *([peaks[row["batch"], row["density"]]] if memory else []),
            end_section=row is rows[-1] or rows[rows.index(row) + 1]["batch"] != row["batch"],
        )
    return table


def infer_table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    """One line an engine, density and batch."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"{name}: inference")  # 80 columns are enough
    for heading in ("engine", "density", "batch", "median", "90 %", "images/s", "cold start", "memory"):
        table.add_column(heading, justify="left" if heading == "engine" else "right", no_wrap=heading != "cold start")
    for row in rows:
        density = "dense" if row["density"] == 1 else f"{row['density']:g}"
        if "refused" in row:
            table.add_row(row["engine"], density, str(row["batch"]), "refused")
            continue
        table.add_row(
            row["engine"],
            density,
            str(row["batch"]),
            f"{row['median_ms']:.2f} ms",
            f"{row['p90_ms']:.2f} ms",
            f"{row['images_per_second']:.0f}",
            f"{row['cold_start_s']:.1f} s",
            f"{row['peak_memory_mb']:.0f} MB",
        )
    return table


def ratio_table(name: str, rows: Sequence[Row]) -> Table:
    """One line a layer, one column a density: dense BF16 time / ours for output / input / weight gradient."""
    table = Table(box=SIMPLE_HEAD, title=f"{name}: dense BF16 time / ours, by {'/'.join(DIRECTIONS)}")
    densities = list(dict.fromkeys(row["density"] for row in rows))
    table.add_column("layer", no_wrap=True)
    table.add_column("times", justify="right")
    for density in densities:
        table.add_column(f"density {density:g}", justify="right")
    for layer in dict.fromkeys(tuple(row["layer"]) for row in rows):
        mine = [row for row in rows if tuple(row["layer"]) == layer]
        cells = [
            "/".join(f"{row['dense_over_ours']:.1f}" for row in mine if row["density"] == density)
            for density in densities
        ]
        table.add_row(Layer(*layer).label, str(layer[-1]), *cells)
    return table


def totals_table(name: str, dense: str, totals: dict[str, dict[str, float]]) -> Table:
    """One line a density: sums over the network, by direction and in all; ``dense`` says what ours is compared with."""
    table = Table(box=SIMPLE_HEAD, title=f"{name}, all layers: dense {dense} time / ours")
    for heading in ("density", *DIRECTIONS, "all"):
        table.add_column(heading, justify="right", style="bold" if heading == "all" else None)
    for density, ratios in totals.items():
        table.add_row(density, *(f"{ratios[name]:.2f}" for name in (*DIRECTIONS, "all")))
    return table


def roofline_table(rows: Sequence[Row], peaks: Peaks) -> Table:
    """One line a layer and density: percent of the BF16 peak and of the bandwidth, by direction."""
    best = f"{peaks.bf16 / _GB:.0f} GFLOP/s BF16, {peaks.fp32 / _GB:.0f} FP32, {peaks.bandwidth / _GB:.1f} GB/s"
    table = Table(
        box=SIMPLE_HEAD, title=f"percent of the attained peaks ({best}): of BF16 arithmetic, of DRAM bandwidth"
    )
    table.add_column("layer", no_wrap=True)
    table.add_column("density", justify="right")
    for direction in DIRECTIONS:
        table.add_column(direction, justify="right")
    for layer in dict.fromkeys(tuple(row["layer"]) for row in rows):
        for density in dict.fromkeys(row["density"] for row in rows):
            mine = [row for row in rows if tuple(row["layer"]) == layer and row["density"] == density]
            cells = [f"{100 * row['of_bf16_peak']:.0f} %, {100 * row['of_bandwidth']:.0f} %" for row in mine]
            table.add_row(Layer(*layer).label, f"{density:g}", *cells)
    return table
