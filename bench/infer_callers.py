"""What do several threads get that call one session at once? Calls a second in total, and the slowest call.

One ResNet-50 of random weights, one image a call; the numbers of callers take turns, round by round. Each answer is
compared with the one that a single caller gets.

    python bench/infer_callers.py [--density 0.1] [--threads 2] [--rounds 5] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mezzotint.bench.infer_engines import Setting, images, session_of
from mezzotint.bench.machine import write_result
from mezzotint.deploy import Session

CALLERS = (1, 2, 4, 8)
SECONDS = 1.5
RESULT = Path(__file__).parent / "results" / "infer_callers.json"


def together(session: Session, x: np.ndarray, wanted: np.ndarray, callers: int) -> tuple[float, float]:
    """Calls a second of so many threads, and the longest call in milliseconds."""
    counts, longest, wrong = [0] * callers, [0.0] * callers, []
    begin = time.perf_counter()

    def call(caller: int) -> None:
        while (before := time.perf_counter()) < begin + SECONDS:
            (found,) = session.run([x])
            longest[caller] = max(longest[caller], time.perf_counter() - before)
            counts[caller] += 1
            if not np.array_equal(found, wanted):
                wrong.append(caller)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise AssertionError(f"callers {sorted(set(wrong))} got another answer than one alone")
    return sum(counts) / (time.perf_counter() - begin), 1e3 * max(longest)


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2, help="of the session")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT}")
    arguments = parser.parse_args()
    setting = Setting("mezzotint bf16", arguments.network, arguments.density, 1, arguments.threads)
    session, x = session_of(setting), images(setting)
    wanted = session.run([x])[0]
    rounds = [{callers: together(session, x, wanted, callers) for callers in CALLERS} for _ in range(arguments.rounds)]
    rows = [
        {
            "callers": callers,
            "calls_per_second": statistics.median(one[callers][0] for one in rounds),
            "of_one_caller": statistics.median(one[callers][0] / one[1][0] for one in rounds),
            "longest_ms": statistics.median(one[callers][1] for one in rounds),
        }
        for callers in CALLERS
    ]
    table = Table("callers", "calls a second", "of one caller's", "longest call", title=f"{arguments.network}, batch 1")
    for row in rows:
        table.add_row(
            f"{row['callers']:.0f}",
            f"{row['calls_per_second']:.0f}",
            f"{row['of_one_caller']:.2f}",
            f"{row['longest_ms']:.0f} ms",
        )
    Console().print(table)
    if arguments.write:
        write_result(RESULT, {"network": arguments.network, "threads": arguments.threads, "rows": rows})


if __name__ == "__main__":
    main()
