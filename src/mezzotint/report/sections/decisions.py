"""Which kernels did the work, and why? The launcher's decisions with what each rival would have cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mezzotint.report.figure import missing
from mezzotint.report.markup import Markup, join, tag
from mezzotint.report.numbers import ABSENT, count, milliseconds, plain
from mezzotint.report.record import Decision, Run
from mezzotint.report.section import Section
from mezzotint.report.sections.layer_kernels import batch_of, by_layer, native_steps
from mezzotint.report.table import Column, Heads, fold, table

#: A longer list of decisions is folded behind its overview.
_OPEN = 16
#: Images with which the native layout is planned (``mezzotint.lowering.rehearsal.IMAGES``).
_PLANNED_WITH = 2


def section(run: Run) -> Section:
    """The launcher's decisions."""
    return Section(
        key="kernels",
        title="Which kernels, and why",
        short="Kernels",
        lead="Layers run in the native layout, which joins a convolution with what follows it, or one by one; then for "
        "every problem (an operator with its shapes, type and density), the launcher picks a kernel.",
        body=join(by_layer(run), _body(run.decisions), _planning(run)),
    )


def _planning(run: Run) -> Markup:
    """A remark on the problems of two images, where the network was planned natively with two."""
    planned = run.inside is not None and bool(native_steps(run.inside))
    if not planned or not any(batch_of(item.problem) == _PLANNED_WITH for item in run.decisions or ()):
        return Markup()
    return tag(
        "p",
        "Problems of two images were decided while the layout was planned; training did not run them.",
        class_="note",
    )


def _body(decisions: Sequence[Decision] | None) -> Markup:
    if decisions is None:
        return missing("The launcher's decisions are not recorded yet.")
    if not decisions:
        return missing("The launcher took no decision: no layer of this run uses mezzotint's operators.")
    listed = _listed(decisions)
    return join(
        _overview(decisions), listed if len(decisions) <= _OPEN else fold(f"All {len(decisions)} decisions", listed)
    )


def _overview(decisions: Sequence[Decision]) -> Markup:
    counted = Counter((item.op, item.kernel, item.reason) for item in decisions)
    ordered = sorted(counted.items(), key=lambda pair: (pair[0][0], -pair[1], pair[0][1]))
    columns: Heads = (
        Column(name="Operator", text=True),
        Column(name="kernel", text=True),
        "problems",
        Column(name="why", text=True),
    )
    rows = ((op, kernel, count(times), reason or ABSENT) for (op, kernel, reason), times in ordered)
    return table(columns, rows).html("Kernels by operator")


def _listed(decisions: Sequence[Decision]) -> Markup:
    heads = ("Problem", "kernel", "why", "time or estimated cost", "refused")
    columns = tuple(Column(name=name, text=True) for name in heads)
    rows = ((_problem(item), item.kernel, item.reason or ABSENT, _rivals(item), _refusals(item)) for item in decisions)
    return table(columns, rows).html("Every decision", kind="data dense")


def _problem(item: Decision) -> str:
    """The problem without the operator's name in front where that would say it twice."""
    return item.problem if item.problem.startswith(item.op) else f"{item.op} {item.problem}".strip()


def _rivals(item: Decision) -> str:
    """The kernels that could do it, cheapest first: measured times where there are some, else relative estimates."""
    if item.milliseconds:
        return _lines(f"{name} {milliseconds(value)}" for name, value in _ascending(item.milliseconds))
    least = min(item.estimates.values(), default=0.0)
    if not least > 0:
        return ABSENT
    return _lines(f"{name} {plain(value / least, 3)}×" for name, value in _ascending(item.estimates))


def _ascending(values: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda pair: (pair[1], pair[0]))


def _refusals(item: Decision) -> str:
    if not item.refusals:
        return "none"
    return fold(f"{len(item.refusals)} refused", _lines(f"{name}: {why}" for name, why in item.refusals.items()))


def _lines(texts: Iterable[str]) -> Markup:
    return tag("ul", *(tag("li", text) for text in texts), class_="lines")
