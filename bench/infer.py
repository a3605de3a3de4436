"""How fast is inference beside other engines? One network and batch a run; runs are gathered in one file.

One process an engine, taking turns; others run the dense network, ours random masks with a dense stem and classifier.
ONNX Runtime and OpenVINO take part where they are installed. Ratios are always of one run.

    python bench/infer.py --network resnet50 --batch 1 --write
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from mezzotint.bench import infer, tables
from mezzotint.bench.machine import handover_ns, machine

APART = 100.0
"""Nanoseconds between two cores; with more they share no cache, and runs are kept apart from others."""
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
    parser.add_argument("--write", action="store_true", help=f"add the run to {RESULTS}")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",") if arguments.engines else infer.available()
    densities = [float(density) for density in arguments.densities.split(",")]
    with TemporaryDirectory() as folder:
        models = arguments.models or Path(folder)
        wanted = infer.settings(arguments.network, densities, arguments.batch, arguments.threads, engines, models)
        before = handover_ns()
        rows = infer.measure(wanted, arguments.rounds, arguments.calls)
    Console().print(tables.infer_table(arguments.network, rows))
    ratios = {f"others_over_ours, {of}": infer.ratios(rows, of) for of in ("median_ms", "least_ms", "computed_ms")}
    print(json.dumps(ratios, indent=1))
    apart = max(before or 0.0, handover_ns() or 0.0)
    print(f"between two cores: {apart} ns")
    if arguments.write:
        name = f"{arguments.network}, batch {arguments.batch}{', cores that share no cache' if apart > APART else ''}"
        add_run(
            name,
            {
                "machine": {**machine(), "handover_ns_before": before, "load": os.getloadavg()[0]},
                "rows": rows,
                **ratios,
            },
        )


def add_run(name: str, run: dict[str, Any]) -> None:
    """Put a run beside those of other networks and batches."""
    runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({"runs": {**runs, name: run}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
