"""What computes each layer? The native layout's plan where there is one, else the launcher's kernels by direction."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mezzotint.report.files import mapping, whole
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT
from mezzotint.report.record import Decision, Inside, Picture, Run
from mezzotint.report.table import Column, table

_DIRECTIONS = {"output": "", "input gradient": "_input_grad", "weight gradient": "_weight_grad"}
_JOINED = "native, in one step with "
_NATIVE = "native: "


def by_layer(run: Run) -> Markup:
    """A row for each sparse layer; nothing where the run does not tell."""
    inside = run.inside
    if inside is None or not inside.layers or not inside.layout:
        return Markup()
    plan = native_steps(inside)
    batch = whole(mapping(run.config.get("data")).get("batch_size"))
    rows = []
    for name, layer in inside.layers.items():
        found = plan.get(name)
        if found:
            told = ("native layout", *["native"] * len(_DIRECTIONS), found)
        else:
            told = _launched(layer, run.decisions or (), batch)
        rows.append((name, *told))
    heads = ("Layer", "runs in", *_DIRECTIONS, "as, or why")
    shown = table(tuple(Column(name=head, text=True) for head in heads), rows).html(inside.layout[0])
    # A small batch may take another way than the others.
    plain = [line.strip() for line in inside.layout[1:] if "last call" in line.split(":")[0]]
    return join(shown, *(tag("p", line, class_="note") for line in plain))


def native_steps(inside: Inside) -> dict[str, str]:
    """Module or node name -> what its native step computes."""
    lines = dict(line.strip().split(": ", 1) for line in inside.layout[1:] if ": " in line)
    steps = {name: text.removeprefix(_NATIVE).split(";")[0] for name, text in lines.items() if text.startswith(_NATIVE)}
    joined = {
        name: steps[end] for name, text in lines.items() if (end := text.removeprefix(_JOINED)) in steps and text != end
    }
    return steps | joined


def _launched(layer: Picture, decisions: Sequence[Decision], batch: int | None) -> tuple[str, ...]:
    """Where it runs, its kernel in every direction, and why.

    Decisions are found by the shape of the weights; of several batch sizes, that of training counts.
    """
    shape = f"weight_shape=[{', '.join(map(str, layer.shape))}]"
    own = [item for item in decisions if shape in item.problem]
    made: list[str] = []
    reasons: dict[str, None] = {}
    for ending in _DIRECTIONS.values():
        fits = [item for item in own if (item.op.endswith(ending) if ending else not item.op.endswith("_grad"))]
        trained = [item for item in fits if batch is not None and batch_of(item.problem) == batch] or fits
        made.append(", ".join(dict.fromkeys(item.kernel for item in trained)) or ABSENT)
        reasons |= dict.fromkeys(item.reason for item in trained if item.reason)
    return ("one by one", *made, "; ".join(reasons) or ABSENT)


def batch_of(problem: str) -> int | None:
    """Images of a problem, from its text."""
    found = re.search(r"(?:^| )g?[xy]\[(\d+)", problem)
    return int(found[1]) if found else None
