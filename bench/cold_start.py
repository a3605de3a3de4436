"""How soon does a session give its first result, beside other engines? From the start of Python on.

One ResNet-50 of random weights with 90 % zeros as an ONNX file; every case is a process of its own, and the cases take
turns. Ours measures its kernels where there is no plan file, and reads them where there is one. ONNX Runtime and
OpenVINO take part where they are installed; they run the zeros.

    python bench/cold_start.py [--rounds 7] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from mezzotint.bench.infer_engines import network
from mezzotint.bench.machine import write_result
from mezzotint.deploy import Description, export

RESULT = Path(__file__).parent / "results" / "cold_start.json"
SHAPE = (3, 224, 224)
PARTS = ("import_s", "load_s", "first_result_s", "whole_s")
"""Of the libraries; of the file; the first call; all of these and Python itself."""

#: What each process does, between the clocks that are put around its parts: imports, loading, the first call.
ENGINES = {
    "mezzotint": (
        "from mezzotint.deploy import Session",
        "model = Session({file!r}, {threads}, 'bf16', plan={plan!r})",
        "model.run([x])",
    ),
    "onnxruntime": (
        "import onnxruntime",
        "options = onnxruntime.SessionOptions(); options.intra_op_num_threads = {threads}; "
        "model = onnxruntime.InferenceSession({file!r}, options, providers=['CPUExecutionProvider'])",
        "model.run(None, dict([(model.get_inputs()[0].name, x)]))",
    ),
    "openvino": (
        "import openvino",
        "model = openvino.Core().compile_model({file!r}, 'CPU', dict(INFERENCE_NUM_THREADS={threads}))",
        "model([x])",
    ),
}
SCRIPT = """
import json, time
began = time.clock_gettime(time.CLOCK_MONOTONIC)
import numpy as np
{0}
imported = time.clock_gettime(time.CLOCK_MONOTONIC)
{1}
x = np.zeros((1, *{shape}), np.float32)
loaded = time.clock_gettime(time.CLOCK_MONOTONIC)
{2}
done = time.clock_gettime(time.CLOCK_MONOTONIC)
print(json.dumps([imported - began, loaded - imported, done - loaded, done - {start!r}]))
"""


def started(engine: str, **settings: object) -> dict[str, float]:
    """Seconds of the parts of one process."""
    parts = [part.format(**settings) for part in ENGINES[engine]]
    script = SCRIPT.format(*parts, shape=SHAPE, start=time.clock_gettime(time.CLOCK_MONOTONIC))
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(zip(PARTS, json.loads(told.splitlines()[-1]), strict=True))


def main() -> None:
    """Measure, print a table, write the file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT}")
    arguments = parser.parse_args()
    times: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory() as folder:
        file, plan = f"{folder}/network.onnx", Path(folder) / "network.plan"
        export(network("resnet50", 0.1), "onnx", file, description=Description(input_shape=SHAPE))
        common = {"file": file, "threads": arguments.threads, "plan": str(plan)}
        for number in range(arguments.rounds + 1):  # the first round writes bytecode and fills the page cache
            plan.unlink(missing_ok=True)
            found = {name: started("mezzotint", **common) for name in ("mezzotint, no plan", "mezzotint, plan")}
            found |= {name: started(name, **common) for name in ENGINES if name != "mezzotint" and find_spec(name)}
            for name, row in found.items():
                times.setdefault(name, []).extend([row] if number else [])
    rows = {
        name: {part: statistics.median(row[part] for row in some) for part in PARTS} for name, some in times.items()
    }
    table = Table("engine", *(part.removesuffix("_s").replace("_", " ") + ", s" for part in PARTS))
    for name, row in rows.items():
        table.add_row(name, *(f"{row[part]:.2f}" for part in PARTS))
    Console().print(table)
    if arguments.write:
        write_result(RESULT, {"rounds": arguments.rounds, "threads": arguments.threads, "rows": rows})


if __name__ == "__main__":
    main()
