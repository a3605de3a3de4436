"""How fast is inference beside other engines? One network and batch a run; runs are gathered in one file.

One process an engine, taking turns; others run the dense network, ours random masks with a dense stem and classifier.
ONNX Runtime and OpenVINO take part where they are installed. Ratios are always of one run.

    python bench/infer.py --network resnet50 --batch 1 --write
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from mezzotint.bench import infer, tables
from mezzotint.bench.machine import handover_ns, machine

APART = 100.0
"""Nanoseconds between two cores; with more they share no cache. A virtual machine may change that within minutes."""
RESULTS = Path(__file__).parent / "results" / "infer.json"


def main() -> None:
    """Measure, print, and add the run to the file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", default="resnet50", choices=tuple(infer.SUBJECTS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--densities", default="0.2,0.1,0.05")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--calls", type=int, default=10, help="of an engine in a round")
    parser.add_argument("--engines", help="comma-separated (default: all that are installed)")
    parser.add_argument("--models", type=Path, help="a folder for ONNX and plan files (default: a temporary one)")
    parser.add_argument("--write", action="store_true", help="add the run to the results")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help=f"their file (default: {RESULTS.name} beside the others)"
    )
    arguments = parser.parse_args()
    engines = arguments.engines.split(",") if arguments.engines else infer.available()
    densities = [float(density) for density in arguments.densities.split(",")]
    with TemporaryDirectory() as folder:
        models = arguments.models or Path(folder)
        wanted = infer.settings(arguments.network, densities, arguments.batch, arguments.threads, engines, models)
        between: list[float] = []
        rows = infer.measure(
            wanted, arguments.rounds, arguments.calls, each_round=lambda: between.append(handover_ns() or 0.0)
        )
    Console().print(tables.infer_table(arguments.network, rows))
    ratios = {f"others_over_ours, {of}": infer.ratios(rows, of) for of in ("median_ms", "least_ms", "computed_ms")}
    print(json.dumps(ratios, indent=1))
    between.append(handover_ns() or 0.0)
    print("between two cores, before each round and at the end:", *(f"{ns:.0f}" for ns in between), "ns")
    if arguments.write:
        apart = statistics.median(between) > APART
        name = f"{arguments.network}, batch {arguments.batch}{', cores that share no cache' if apart else ''}"
        add_run(
            arguments.results,
            name,
            {
                "machine": {**machine(), "handover_ns_by_round": between, "load": os.getloadavg()[0]},
                "rows": rows,
                **ratios,
            },
        )


def add_run(results: Path, name: str, run: dict[str, Any]) -> None:
    """Put a run beside those of other networks and batches."""
    runs = json.loads(results.read_text())["runs"] if results.exists() else {}
    results.write_text(json.dumps({"runs": {**runs, name: run}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
