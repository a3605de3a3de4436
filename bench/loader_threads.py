"""How much faster do two threads of the loader read than one? Beside what two separate processes do.

A loader reads photographs from a folder and makes normalised batches of them, with one thread, with two, and with one
in each of two processes that know nothing of each other: no program gets more out of these two cores, so what two
threads fall short of them is lost by threads, the rest is the machine's. All take turns; figures are medians over the
rounds, ratios medians of the rounds' own ratios. What shares the cores with us changes within seconds.

    python bench/loader_threads.py [--data ../shared/data/imagenet_samples] [--images 640] [--rounds 9] [--write]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from images import MEAN, STD, as_shard, our_chains, photographs
from mezzotint.bench.machine import handover_ns, in_words, write_result
from mezzotint.data import Loader, open_source

RESULT = Path(__file__).parent / "results" / "loader_threads.json"
TASKS = tuple(our_chains())
BATCH = 16
APART = 4
"""Batches at either end of an epoch that do not count."""


def loader_of(folder: Path, task: str, threads: int) -> Loader:
    """A loader over the photographs, or over those of a shard."""
    source = open_source(folder / ("shard" if task == "shard" else "whole"), split="train")
    return Loader(source, our_chains()[task], batch_size=BATCH, threads=threads, mean=MEAN, std=STD)


def seconds(loader: Loader) -> float:
    """What a batch takes in the middle of an epoch: in the beginning and in the end not all threads are at work."""
    handed_over = [time.perf_counter() for _ in loader]
    middle = handed_over[APART : len(loader) - APART]
    return (middle[-1] - middle[0]) / (len(middle) - 1)


def alone(folder: Path, core: int, connection: Connection) -> None:
    """A process on a core of its own: answers every task with what `seconds` says."""
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {core})
    loaders: dict[str, Loader] = {}
    while (task := connection.recv()) is not None:
        if task not in loaders:
            loaders[task] = loader_of(folder, task, 1)
        connection.send(seconds(loaders[task]))


def measure(folder: Path, tasks: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """A row a task."""
    context = multiprocessing.get_context("spawn")
    ends = []
    for core in sorted(os.sched_getaffinity(0))[:2]:
        here, there = context.Pipe()
        context.Process(target=alone, args=(folder, core, there), daemon=True).start()
        ends.append(here)

    def together(task: str) -> float:
        for end in ends:
            end.send(task)
        return statistics.fmean(end.recv() for end in ends) / len(ends)

    rows = []
    for task in tasks:
        one, two = loader_of(folder, task, 1), loader_of(folder, task, 2)
        turns = [(seconds(one), seconds(two), together(task)) for _ in range(rounds + 1)][1:]
        rows.append(
            {
                "task": task,
                "one_thread": round(BATCH / statistics.median(turn[0] for turn in turns), 1),
                "two_threads": round(BATCH / statistics.median(turn[1] for turn in turns), 1),
                "two_over_one": round(statistics.median(turn[0] / turn[1] for turn in turns), 3),
                "two_processes_over_one": round(statistics.median(turn[0] / turn[2] for turn in turns), 3),
                "handover_ns": handover_ns(),
            }
        )
    for end in ends:
        end.send(None)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    table = Table("", title="images a second by the loader")
    for head in ("1 thread", "2 threads", "2 threads / 1", "2 processes / 1", "between cores, ns"):
        table.add_column(head, justify="right")
    for row in rows:
        ratios = (f"{row[key]:.2f}" for key in ("two_over_one", "two_processes_over_one"))
        between = f"{row['handover_ns'] or 0:.0f}"
        table.add_row(row["task"], f"{row['one_thread']:.0f}", f"{row['two_threads']:.0f}", *ratios, between)
    Console().print(table)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "imagenet_samples")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} into bench/results")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    paths = itertools.islice(itertools.cycle(photographs(chosen.data)), chosen.images)
    files = [path.read_bytes() for path in paths]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, contents in (("whole", files), ("shard", as_shard(files))):
            for number, content in enumerate(contents):
                file = folder / kind / "train" / f"class{number % 2}" / f"{number:04d}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        rows = measure(folder, chosen.tasks, chosen.rounds)
    show(rows)
    Console().print(f"{len(files)} files of {chosen.data}, {in_words()}")
    if chosen.write:
        write_result(RESULT, {"images": len(files), "batch": BATCH, "rounds": chosen.rounds, "rows": rows})


if __name__ == "__main__":
    main()
