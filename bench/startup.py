"""How long does a command take to answer, and what does mezzotint add to the import of torch?

Every case is a process of its own; the cases take turns, and medians are compared: of wall time, and of processor time,
which other work on the machine disturbs less. Bytecode is cached before. The name of a room (``mezzotint.sparsify``)
imports that room, ``mezzotint`` alone does not even import torch.

    python bench/startup.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mezzotint.bench.machine import write_result

RESULT = Path(__file__).parent / "results" / "startup.json"
CASES = {
    "python": ["-c", "pass"],
    "mezzotint --help": ["-m", "mezzotint", "--help"],
    "mezzotint train --help": ["-m", "mezzotint", "train", "--help"],
    "import torch": ["-c", "import torch"],
    "import torch, mezzotint": ["-c", "import torch, mezzotint"],
    "import mezzotint; mezzotint.sparsify": ["-c", "import mezzotint; mezzotint.sparsify"],
    "import mezzotint; mezzotint.train": ["-c", "import mezzotint; mezzotint.train.train"],
}


def main() -> None:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    wall: dict[str, list[float]] = {name: [] for name in CASES}
    processor: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(rounds + 1):
        for name, words in CASES.items():
            began, used = time.perf_counter(), _processor_time()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round writes bytecode and fills the page cache
                wall[name].append(time.perf_counter() - began)
                processor[name].append(_processor_time() - used)
    rows = {
        name: {
            "wall_ms": 1000 * statistics.median(wall[name]),
            "processor_ms": 1000 * statistics.median(processor[name]),
            "processor_of_import_torch": statistics.median(processor[name])
            / statistics.median(processor["import torch"]),
        }
        for name in CASES
    }
    for name, row in rows.items():
        print(
            f"{name:40} {row['wall_ms']:7.0f} ms, {row['processor_ms']:7.0f} ms of processor time,"
            f" {row['processor_of_import_torch']:6.3f} of import torch"
        )
    write_result(RESULT, {"rounds": rounds, "cases": rows})


def _processor_time() -> float:
    """Seconds that the children of this process have used, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
