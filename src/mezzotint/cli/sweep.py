"""``mezzotint sweep``: how do methods, densities and any other settings compare, over several seeds?"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.cli.output import console, line, warn

if TYPE_CHECKING:
    from rich.console import Console

    from mezzotint.train.progress import Progress
    from mezzotint.train.sweep import Cell, Outcome

EXAMPLES = """\
  mezzotint sweep configs/digits.toml --density 1 0.2 0.1 0.05
  mezzotint sweep configs/digits.toml --method static set rigl sparse_momentum --density 1 0.1 --seeds 5
  mezzotint sweep configs/digits.toml --density 0.1 --over optimizer.lr=0.2,0.1,0.05
  mezzotint sweep configs/digits.toml --density 0.1 --over sparsity.interval=epoch,50 --over sparsity.prune_rate=0.5,0.3
  mezzotint sweep configs/fast/mnist_lenet5.toml --density 0.05 0.02 --set schedule.epochs=20 -o sweeps/lenet5

Every combination is a run of its own below OUTPUT/runs. The same command goes on after a stop; started a second time
beside the first, it works on runs that the first has not begun.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help="TOML file: what all runs have in common")
    parser.add_argument(
        "--density", type=float, nargs="+", metavar="D", help="densities; 1 is dense (default: 1 and the file's)"
    )
    parser.add_argument("--method", nargs="+", metavar="NAME", help="methods (default: the file's)")
    parser.add_argument(
        "--over",
        metavar="KEY=A,B,...",
        action="append",
        default=[],
        help="one more axis: any key of the configuration with its values; may be repeated",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each combination (default: 3)")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="as for train"
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, help="default: sweeps/<name of the configuration>"
    )
    parser.add_argument("--json", action="store_true", help="no progress and no table, but one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress, only the table")


def run(arguments: argparse.Namespace) -> int:
    """Train what is missing, print the table, write the page; 0, 2 when a run failed, or 128 + a signal."""
    from mezzotint import report
    from mezzotint.errors import ConfigError, message
    from mezzotint.train import load_config
    from mezzotint.train.progress import Silent, make_progress, time_left
    from mezzotint.train.sweep import plan, sweep
    from mezzotint.train.sweep_axes import parse_axes

    if arguments.seeds < 1:
        raise ConfigError(message("--seeds", received=arguments.seeds, allowed="a number of runs, at least 1"))
    axes = parse_axes(arguments.over)
    for override in arguments.overrides:
        if (key := override.partition("=")[0].strip()) in axes:
            raise ConfigError(message("--set", received=f"{key}, over which is swept", allowed="other keys"))
    config = load_config(arguments.config, arguments.overrides)
    if config.sparsity.layers and config.sparsity.density == 1 and not arguments.density:
        fix = 'Set it; layers that are named all the same do not mind which it is. "*" = 1.0 names all others.'
        raise ConfigError(message("sparsity.density", received="1 with sparsity.layers", allowed="below 1", fix=fix))
    densities = arguments.density or sorted({1.0, config.sparsity.density}, reverse=True)
    methods = arguments.method or [config.sparsity.method]
    cells = plan(methods, densities, range(config.seed, config.seed + arguments.seeds), axes)
    out, starts = console(), [time.perf_counter()]

    def watched(cell: Cell, number: int) -> Progress:
        if arguments.quiet or arguments.json:
            return Silent()
        done = len(starts) - 1
        left = (time.perf_counter() - starts[0]) / done * (len(cells) - number) if done else None
        starts.append(time.perf_counter())
        line(f"[{number + 1}/{len(cells)}] {cell.name}" + (f" · about {time_left(left)} left" if left else ""))
        return make_progress(out)

    outcome = sweep(config, cells, arguments.output or Path("sweeps") / config.name, progress=watched)
    found = report.read_sweep(outcome.folder)
    page = report.write_sweep(outcome.folder)
    if arguments.json:
        line(_as_json(found, outcome, page))
        return _code(outcome)
    _print(out, _table(found))
    return _last_words(outcome, len(cells), page)


def _as_json(found: Any, outcome: Outcome, page: Path) -> str:
    import json

    results = [
        {
            "method": group.method,
            "density": group.density,
            **({"over": group.values} if group.over else {}),
            "runs": len(group.trials),
            "finished": len(group.finished),
            "test_accuracy": None if group.accuracy is None else group.accuracy.record(),
        }
        for group in found.groups
    ]
    content = {
        "sweep": str(outcome.folder),
        "page": str(page),
        "results": results,
        "done": [cell.name for cell in outcome.done],
        "failed": {cell.name: text for cell, text in outcome.failed.items()},
        "elsewhere": [cell.name for cell in outcome.elsewhere],
        "signal": outcome.signal.name if outcome.signal is not None else None,
    }
    return json.dumps(content)


def _code(outcome: Outcome) -> int:
    if outcome.signal is not None:
        return 128 + outcome.signal
    return 2 if outcome.failed else 0


def _table(found: Any) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from mezzotint.report import sweep_rows

    heads, rows = sweep_rows(found)
    title = f"{found.folder.name}: test accuracy over seeds, mean ± standard error"
    table = Table(title=title, min_width=len(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(heads):
        table.add_column(heading, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _print(out: Console, table: Any) -> None:
    """A table with all of its numbers, however narrow the terminal is: lines run over rather than being cut."""
    from rich.measure import Measurement

    out.width = max(out.width, Measurement.get(out, out.options.update(max_width=1000), table).maximum)
    out.print(table)


def _last_words(outcome: Outcome, asked: int, page: Path) -> int:
    for cell, text in outcome.failed.items():
        warn(f"run {cell.name} failed: {text}")
    if outcome.elsewhere:
        names = ", ".join(cell.name for cell in outcome.elsewhere)
        line(f"another process is training {names}; the same command adds them to the table when they are done")
    if outcome.signal is not None:
        done = len(outcome.done)
        line(f"stopped by {outcome.signal.name}; {done} of {asked} runs are finished. The same command goes on.")
    line(f"page: {page}")
    return _code(outcome)
