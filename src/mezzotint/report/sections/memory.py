"""How much memory does the training hold, against the same network trained dense?"""

from __future__ import annotations

from mezzotint.report.draw.bars import Bar, Group, bar_chart
from mezzotint.report.figure import Chart, figures, missing
from mezzotint.report.markup import Markup
from mezzotint.report.numbers import count, ratio, size
from mezzotint.report.record import Memory, Run, Summary
from mezzotint.report.section import Section
from mezzotint.report.table import Column, table

_PARTS = {
    "weights": "Weights",
    "optimizer": "Optimiser state",
    "index": "Index",
}
_TOTAL = "All together"
#: Held within a step alone, and therefore in no sum.
_PASSING = "gradients"


def section(run: Run) -> Section:
    """Memory of weights, gradients, optimiser state and index."""
    return Section(
        key="memory",
        title="Memory against dense",
        short="Memory",
        lead="Bytes that live from step to step. A sparse layer pays for an index and saves on everything else; "
        "gradients, which live within a step, stand beside the sum, and activations, the same in both, are left out.",
        body=_body(run),
    )


def _body(run: Run) -> Markup:
    memory = run.memory or _from_summary(run.summary)
    if memory is None or not memory.sparse:
        return missing("Memory is not recorded: it is measured once, after the first step.")
    return figures(_chart(memory, measured=run.memory is not None))


def _from_summary(summary: Summary | None) -> Memory | None:
    if summary is None or summary.weight_bytes is None:
        return None
    sparse = {"weights": summary.weight_bytes, "optimizer": summary.optimizer_bytes, "index": summary.index_bytes}
    dense = {"weights": summary.dense_weight_bytes, "optimizer": summary.dense_optimizer_bytes}
    return Memory(
        sparse={key: value for key, value in sparse.items() if value is not None},
        dense={key: value for key, value in dense.items() if value is not None},
    )


def rows(memory: Memory) -> list[tuple[str, float, float | None]]:
    """(name, bytes of the run, bytes of the dense twin or None) of every part, then the sum, then what is not in it."""
    parts = [
        (name, memory.sparse.get(key, 0.0), memory.dense.get(key, 0.0) if memory.dense else None)
        for key, name in _PARTS.items()
        if key in memory.sparse or key in memory.dense
    ]
    dense = sum(full or 0.0 for _, _, full in parts) if memory.dense else None
    made = [*parts, (_TOTAL, sum(held for _, held, _ in parts), dense)]
    if _PASSING in memory.sparse:
        made.append(("Gradients, within a step", memory.sparse[_PASSING], memory.dense.get(_PASSING)))
    return made


def _chart(memory: Memory, *, measured: bool) -> Chart:
    parts = rows(memory)
    held, full = next((held, full) for name, held, full in parts if name == _TOTAL)
    says = f"{size(held)} in all" + (f" instead of {size(full)}: {ratio(held, full)}." if full else ".")
    source = "Measured after the first step." if measured else "From the run's summary."
    lines = ((name, size(run), count(run), size(dense), count(dense), ratio(run, dense)) for name, run, dense in parts)
    head = (
        Column(name="Part", text=True),
        Column(name="this run", style="s1"),
        "bytes",
        Column(name="dense", style="pale"),
        "bytes (dense)",
        "ratio",
    )
    return Chart(
        key="memory-bars",
        title="Bytes held between steps",
        says=f"{says} {source}",
        means="Grey is what the same network would hold if every weight existed.",
        draw=lambda width: bar_chart([_group(*part) for part in parts], width=width),
        table=table(head, lines),
        legend=(("bar s1", "this run"), ("bar pale", "dense twin")),
        wide=True,
    )


def _group(name: str, held: float, full: float | None) -> Group:
    note = f" · {ratio(held, full)}" if full else ""
    own = Bar(value=held, style="s1", text=f"{size(held)}{note}")
    return Group(name=name, bars=(own,) if full is None else (own, Bar(value=full, style="pale", text=size(full))))
