"""``mezzotint demo``: what does sparse, half-precision training give? Three small networks, one table, one page."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mezzotint.cli.output import console, line

if TYPE_CHECKING:
    from mezzotint.train import RunConfig

EXAMPLES = """\
  mezzotint demo
  mezzotint demo -o /tmp/demo --epochs 5
"""

_NETWORKS: Final = (("dense", 1.0, "fp32"), ("sparse-bf16", 0.1, "bf16"), ("sparse-fp16", 0.1, "fp16"))
"""Name of the run, density, precision."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, default=Path("runs"), help="where the runs go (default: runs)"
    )
    parser.add_argument("--epochs", type=int, default=20, help="of each network (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument("--json", action="store_true", help="no progress and no table, but one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Train the three networks, print the table, write the pages; 0, or 128 + the signal that stopped it."""
    from mezzotint import report, train
    from mezzotint.train.progress import Silent, make_progress

    out = console()
    folders, summaries = [], []
    for name, density, mode in _NETWORKS:
        config = demo_config(name, density, mode, epochs=arguments.epochs, seed=arguments.seed)
        folder = _free(arguments.output / config.name)
        result = train.train(config, folder=folder, progress=Silent() if arguments.json else make_progress(out))
        if result.summary is None:
            line(f"stopped; nothing more is trained. What is done lies in {arguments.output}")
            return 128 + result.signal if result.signal is not None else 1
        folders.append(folder)
        summaries.append(result.summary)
    page = report.write_report(folders[1])
    both = report.write_comparison(folders, folders[1] / "comparison.html")
    if arguments.json:
        content = {"runs": [str(folder) for folder in folders], "report": str(page), "comparison": str(both)}
        line(json.dumps({**content, "summaries": summaries}))
        return 0
    out.print(comparison(summaries))
    line(f"report of the sparse run: {page}")
    line(f"all three side by side:   {both}")
    line(f"next, your own images:    {_activation()}mezzotint train FOLDER")
    return 0


def _activation() -> str:
    """What makes ``mezzotint`` a command, where it is none yet: ``make demo`` calls it by its path."""
    script = Path(sys.prefix) / "bin" / "activate"
    return f". {script} && " if shutil.which("mezzotint") is None and script.is_file() else ""


def demo_config(name: str, density: float, mode: str, *, epochs: int, seed: int) -> RunConfig:
    """The configuration of one of the demo's networks."""
    from mezzotint.train import (
        DataConfig,
        OptimizerConfig,
        PrecisionConfig,
        RunConfig,
        RunOptions,
        ScheduleConfig,
        SparsityConfig,
    )

    return RunConfig(
        name=f"demo-{name}",
        seed=seed,
        threads=1,  # so small a network keeps a second thread waiting more than working
        data=DataConfig(source="digits", batch_size=64, augment=({"name": "random_crop", "padding": 1},)),
        sparsity=SparsityConfig(density=density, window=11),
        precision=PrecisionConfig(mode=mode),
        optimizer=OptimizerConfig(lr=0.1),
        schedule=ScheduleConfig(epochs=epochs, warmup_epochs=min(1.0, epochs / 2)),
        run=RunOptions(log_every=5, keep=1),
    )


def comparison(summaries: list[dict[str, Any]]) -> Any:
    """The table of the runs, the first being what the others are compared with."""
    from rich.table import Table

    table = Table(title="Handwritten digits, 8 x 8 pixels: dense against 10 % of the weights")
    for heading in ("network", "precision", "test accuracy", "nnz", "weights + optimiser", "with index", "seconds"):
        left = heading in ("network", "precision")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading == "network")
    for summary in summaries:
        held = summary["weight_bytes"] + summary["optimizer_bytes"]
        table.add_row(
            "dense" if summary["method"] == "dense" else f"{100 * summary['density']:.0f} % dense",
            summary["precision"],
            f"{100 * summary['test_accuracy']:.1f} %",
            f"{summary['nnz']:,}",
            f"{held / 1000:.1f} kB",
            f"{(held + summary['index_bytes']) / 1000:.1f} kB",
            f"{summary['seconds']:.1f}",
        )
    return table


def _free(folder: Path) -> Path:
    """The folder, or, where a run lies in it already, one with the next number: a demo overwrites nothing."""
    if not folder.exists():
        return folder
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return folder.with_name(f"{folder.name}-{number}")
