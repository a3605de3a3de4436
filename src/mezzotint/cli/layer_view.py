"""How is an answer about a layer laid out? The verdict first, then one block a direction, then what would change it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mezzotint.cli.layer_decisions import Candidate, DirectionAnswer, LayerAnswer

#: A margin below which either kernel would do.
_CLOSE: Final = 1.1
_NATIVELY: Final = (
    "The native kernel needs no decision there; what the launcher says holds where a layer gets ordinary tensors, as "
    "with mz.sparsify(..., layout='plain')."
)
_GROUNDS: Final = {
    "rule": "By the cost estimate",
    "measured": "Timed just now",
    "restored": "Timed before and read from the disk",
    "forced": "Forced",
}


def layer(answer: LayerAnswer) -> RenderableType:
    """The whole answer about one layer."""
    parts: list[RenderableType] = [_title(answer), _facts(answer), ""]
    for direction in answer.directions:
        parts += [*_direction(direction), ""]
    parts += [_notes(answer)]
    return Group(*parts)


def network(title: str, answers: Sequence[LayerAnswer]) -> RenderableType:
    """One row a layer: which kernel each direction has."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("density", justify="right")
    titles = list(dict.fromkeys(direction.title for answer in answers for direction in answer.directions))
    for name in titles:
        table.add_column(name)
    for answer in answers:
        told = {direction.title: direction for direction in answer.directions}
        cells = [_short(told[name]) if name in told else Text("-", style="dim") for name in titles]
        table.add_row(answer.name, f"{100 * answer.nnz / answer.numel:.3g} %", *cells)
    first = answers[0]
    lines: list[RenderableType] = [
        Text.assemble((title, "bold"), f", batch {first.input[0]}, {first.dtype}"),
        "",
        table,
        "",
        Text("Behind a kernel: how many times as much the next best one would cost."),
    ]
    if first.led_reason:
        lines.append(_network_layout(first))
    lines.append(Text(f"One layer in full: mezzotint ops explain ... {answers[-1].name}", style="dim"))
    return Group(*lines)


def _title(answer: LayerAnswer) -> Text:
    return Text.assemble((answer.name, "bold"), " of ", answer.network)


def _facts(answer: LayerAnswer) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    share = f"{100 * answer.nnz / answer.numel:.3g} %"
    grid.add_row("layer", Text(answer.kind))
    grid.add_row("weights", Text(f"{answer.nnz:,} of {answer.numel:,} are active: density {share}"))
    grid.add_row("shapes", Text(f"{list(answer.input)} → {list(answer.output)}, {answer.dtype}"))
    grid.add_row("machine", Text(answer.environment))
    if answer.led_reason:
        grid.add_row("network", _layout(answer))
    return grid


def _layout(answer: LayerAnswer) -> Text:
    """Whether the network asks the launcher at all for this layer."""
    where, _, step = answer.step.partition(":")
    if where == "plain":
        return Text(f"leaves this layer to the launcher: {step.strip()}")
    if not answer.led:
        return Text(f"keeps ordinary tensors at this batch, so that the launcher decides: {answer.led_reason}")
    joined = step.partition(";")[0].strip() if where == "native" else where.removeprefix("native, ")
    return Text(
        f"runs in the native layout at this batch, since {answer.led_reason}. "
        f"{f'This layer: {joined}. ' if joined else ''}{_NATIVELY}"
    )


def _network_layout(answer: LayerAnswer) -> Text:
    """The same of the network as a whole."""
    if not answer.led:
        return Text(f"The network keeps ordinary tensors at this batch, and the launcher decides: {answer.led_reason}.")
    return Text(f"The network runs in the native layout at this batch, since {answer.led_reason}. {_NATIVELY}")


def _direction(direction: DirectionAnswer) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    for _ in range(2):
        grid.add_column(no_wrap=True, justify="right")
    grid.add_column(overflow="fold")
    for candidate in direction.candidates:
        chosen = candidate.name == direction.kernel
        time = "" if candidate.milliseconds is None else f"{candidate.milliseconds:.3g} ms"
        million = candidate.cost / 1e6
        cost = f"cost {million:,.0f} M" if million >= 10 else f"cost {million:.2g} M"
        note = "chosen" if chosen else _compared(candidate, direction)
        grid.add_row(Text(candidate.name, style="green" if chosen else ""), time, cost, Text(note))
    for name, why in direction.refusals.items():
        grid.add_row(Text(name, style="dim"), "", "", Text(f"cannot: {why}", style="dim"))
    return [
        Text.assemble((direction.title, "bold"), ": ", (direction.kernel, "bold green")),
        Padding(Group(Text(_verdict(direction)), grid), (0, 0, 0, 2)),
    ]


def _compared(candidate: Candidate, direction: DirectionAnswer) -> str:
    """A candidate against the winner, by time where both were timed."""
    mine = next((one for one in direction.candidates if one.name == direction.kernel), None)
    if mine is None:
        return ""
    if mine.milliseconds and candidate.milliseconds:
        return f"{_times(candidate.milliseconds / mine.milliseconds)} as long"
    return f"{_times(candidate.cost / mine.cost)} the cost" if mine.cost else ""


def _verdict(direction: DirectionAnswer) -> str:
    ground = _GROUNDS.get(direction.source, direction.source)
    if direction.margin is None:
        return f"{ground}: {direction.reason}."
    ratio, name = direction.margin
    timed = direction.source in ("measured", "restored")
    verb = f"takes {_times(ratio)} as long" if timed else f"is predicted to cost {_times(ratio)} as much"
    if ratio < 1:
        return f"{ground}, although {name} {verb}."
    close = " A close call: either would do." if ratio < _CLOSE else ""
    return f"{ground}: {name}, the next best, {verb}.{close}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.0f} times"


def _short(direction: DirectionAnswer) -> Text:
    margin = "" if direction.margin is None else f" {direction.margin[0]:.1f}x"
    style = "yellow" if direction.margin is not None and direction.margin[0] < _CLOSE else "dim"
    return Text.assemble(direction.kernel, (margin, style))


def _notes(answer: LayerAnswer) -> RenderableType:
    low, high = answer.bounds
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(
        "costs", Text("in dense multiply-adds: a prediction, good for the order of kernels within a factor of two")
    )
    grid.add_row(
        "decided again",
        Text(
            f"when the density leaves {100 * low:.3g} to {100 * high:.3g} % "
            f"({round(low * answer.numel):,} to {round(high * answer.numel):,} weights), or with another batch, image "
            "size, type, memory format or number of threads"
        ),
    )
    grid.add_row("timed", Text(_timing(answer.directions)))
    op, kernel = _another(answer.directions)
    grid.add_row("to force", Text(f'mezzotint.kernels.launch.set_policy("rule", force={{"{op}": "{kernel}"}})'))
    grid.add_row("", Text(f'in a run, wherever it can: mezzotint train ... --set run.kernels="{kernel}"'))
    return grid


def _timing(directions: Iterable[DirectionAnswer]) -> str:
    files = {direction.file for direction in directions if direction.file}
    if files:
        return (
            f"stored in {', '.join(sorted(files))}: the same from now on, until processor, PyTorch or mezzotint change"
        )
    return 'nothing was: add --measure here, or set_policy("measure"), or --set run.kernels="measure" in a run'


def _another(directions: Sequence[DirectionAnswer]) -> tuple[str, str]:
    """(operator, kernel) that could be forced: another one than the winner where there is one."""
    for direction in directions:
        for candidate in direction.candidates:
            if candidate.name != direction.kernel:
                return direction.op, candidate.name
    return directions[0].op, directions[0].kernel
