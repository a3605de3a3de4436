"""Does a loader that was killed go on with the very next batch, with other workers and with another number of ranks?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from loader_parts import CROP, by_sample, digest, write_folder

from mezzotint.data import Batch, Loader, open_source

HERE = Path(__file__).parent
BATCHES = 8
SCRIPT = """
import json, sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from loader_parts import digest
from test_loader_resume import make
if __name__ == "__main__":
    images, log, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    loader = make(images, **options)
    done = 0
    with log.open("a") as file:
        while True:
            for batch in loader:
                print(json.dumps([digest(batch), loader.state_dict()]), file=file, flush=True)
                done += 1
                if done == {batches}:
                    time.sleep(600)  # the batches to come are being made
"""


def make(images: Path, **options: Any) -> Loader:
    return Loader(
        open_source(images), CROP, batch_size=7, seed=3, on_error="quarantine", max_bad=0.1, **{"threads": 0, **options}
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [({"threads": 2}, {"threads": 0}), ({"threads": 0}, {"processes": 2}), ({"processes": 2}, {"threads": 1})],
    ids=["two threads, then none", "none, then two processes", "two processes, then one thread"],
)
def test_killed_in_mid_epoch(first: dict[str, int], then: dict[str, int], tmp_path: Path) -> None:
    images, log = write_folder(tmp_path / "images", damaged=(2, 11)), tmp_path / "log.jsonl"
    whole = make(images)
    expected = [digest(batch) for _ in range(2) for batch in whole]
    (tmp_path / "script.py").write_text(SCRIPT.format(here=str(HERE), batches=BATCHES))
    process = subprocess.Popen([sys.executable, tmp_path / "script.py", images, log, json.dumps(first)])
    wait_for_lines(log, BATCHES, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == BATCHES
    assert (lines[-1][1]["epoch"], lines[-1][1]["position"]) == (1, 2)
    resumed = make(images, **then)
    resumed.load_state_dict(lines[-1][1])
    found = [line[0] for line in lines] + [digest(batch) for batch in resumed]
    resumed.close()
    assert found == expected
    assert resumed.quarantine.records() == whole.quarantine.records()
    assert len(resumed.quarantine) == 2


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("resumed_by", [1, 2, 3, 5])
def test_another_number_of_ranks(ranks: int, resumed_by: int, tmp_path: Path) -> None:
    """Each rank takes its part of every batch; the state of any of them is a place in the common order."""
    images = write_folder(tmp_path, damaged=(2,))
    expected = list(make(images))
    before = [make(images, shard=(rank, ranks), threads=rank % 2) for rank in range(ranks)]
    parts = [[next(batches) for _ in range(3)] for batches in map(iter, before)]
    states = [json.loads(json.dumps(loader.state_dict())) for loader in before]
    assert all({**state, "quarantine": ""} == {**states[0], "quarantine": ""} for state in states)
    after = [make(images, shard=(rank, resumed_by)) for rank in range(resumed_by)]
    for loader in after:
        loader.load_state_dict(states[0])
    parts += [list(loader) for loader in after]
    found = by_sample([batch for part in parts for batch in part])
    assert found == by_sample(expected)
    for number, batch in enumerate(expected[3:]):
        together = [part[number] for part in parts[ranks:] if number < len(part)]
        assert indices(together) == sorted(batch.indices.tolist())


def indices(batches: list[Batch]) -> list[int]:
    return sorted(index for batch in batches for index in batch.indices.tolist())


def wait_for_lines(log: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if log.exists() and log.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"the script is too slow, or has ended with {process.poll()} ({os.getpid()})")
