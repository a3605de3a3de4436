"""How does a profile read as text? A table of fixed columns that fits a terminal, and a line of sums."""

from __future__ import annotations

from collections.abc import Sequence

from mezzotint.ops.graph_operator import short_name
from mezzotint.ops.graph_profile import NodeProfile, Profile

_COLUMNS = ("node", "operator", "output", "time", "share", "read", "written", "MFLOP", "active", "density", "kernel")
_LEFT = (0, 1, 2, 10)


def profile_text(profile: Profile, top: int | None = None) -> str:
    """See :meth:`mezzotint.ops.graph_profile.Profile.to_text`."""
    nodes: Sequence[NodeProfile] = profile.nodes
    if top is not None:
        nodes = sorted(nodes, key=lambda node: -node.seconds)[:top]
    rows = [_COLUMNS, *(_row(node, profile.seconds) for node in nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([_title(profile), "", *lines, "", *_sums(profile), *_reasons(nodes)])


def size_text(count: int) -> str:
    """Bytes as people read them: ``12.8 MB``."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def time_text(seconds: float) -> str:
    """Seconds as people read them: ``1.23 ms``, ``45.6 us``."""
    if seconds >= 0.9995:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 0.9995e-3 else f"{1e6 * seconds:.3g} us"


def _title(profile: Profile) -> str:
    threads = "1 thread" if profile.threads == 1 else f"{profile.threads} threads"
    runs = "1 run" if profile.repeats == 1 else f"the median of {profile.repeats} runs"
    return f"{profile.graph}: {len(profile.nodes)} operators in {time_text(profile.seconds)}, {runs}, {threads}"


def _row(node: NodeProfile, total: float) -> tuple[str, ...]:
    return (
        node.name,
        short_name(node.operator),
        "x".join(map(str, node.shape)),
        time_text(node.seconds),
        f"{100 * node.seconds / total:.1f} %" if total else "",
        size_text(node.bytes_in),
        size_text(node.bytes_out),
        _millions(node.flops),
        "" if node.density is None else _millions(node.effective_flops),
        "" if node.density is None else f"{100 * node.density:.3g} %",
        node.kernel,
    )


def _millions(flops: int) -> str:
    if not flops:
        return ""
    return f"{flops / 1e6:,.0f}" if flops >= 1e8 else f"{flops / 1e6:.3g}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if column in _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _sums(profile: Profile) -> list[str]:
    dense = sum(node.flops for node in profile.nodes)
    active = sum(node.effective_flops for node in profile.nodes)
    told = [f"computed tensors: at most {size_text(profile.peak_bytes)} at a time"]
    if dense:
        share = (
            "" if active == dense else f", {active / 1e6:,.0f} of them on active weights ({100 * active / dense:.3g} %)"
        )
        told.append(f"operations: {dense / 1e6:,.0f} MFLOP dense{share}")
    return told


def _reasons(nodes: Sequence[NodeProfile]) -> list[str]:
    """One line a kernel and reason, with how many nodes they hold for."""
    counts: dict[tuple[str, str, str], int] = {}
    for node in nodes:
        if node.density is not None or node.kernel != "torch":
            key = (node.operator, node.kernel, node.reason)
            counts[key] = counts.get(key, 0) + 1
    return [
        f"{operator}: {kernel} in {count} of them ({reason})" for (operator, kernel, reason), count in counts.items()
    ]
