"""Is each of two hundred damaged and odd files either read or refused by name, without a crash and without a hang?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from damaged import write_damaged

HERE = Path(__file__).parent
COUNT = 200


def shared_or_none(request: pytest.FixtureRequest) -> Path | None:
    """The shared data, whose absence shall not skip these tests."""
    try:
        found: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return None
    return found


@pytest.mark.parametrize("threads", [0, 2])
def test_every_damaged_file_is_accounted_for(threads: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write_damaged(tmp_path, COUNT, shared_or_none(request), seed=7 + threads)
    result = read_in_child(tmp_path, threads)
    read = result["read"]
    assert len(read) == COUNT
    refused = {name for name, found in read.items() if isinstance(found, str)}
    for name, found in read.items():
        if name in refused:
            assert name in found, "the error names the file"
            assert "received" in found
        else:
            height, width, channels = found
            assert height >= 1
            assert width >= 1
            assert channels == 3
    assert not any("whole" in name for name in refused)
    assert 0.2 * COUNT < len(refused) < 0.9 * COUNT, "the mutator neither spares nor ruins everything"
    assert sorted(result["names"]) == sorted(read), "no file is passed over"
    assert result["seen"] == [list(range(COUNT))] * 2, "the epochs keep their length"
    assert {entry["name"] for entry in result["report"]} == refused
    assert len(result["report"]) == len(refused), "each is told once"
    assert all(entry["name"] in entry["reason"] for entry in result["report"])
    assert result["equal"], "nothing else changes"
    assert result["megabytes"] < 1500, "no memory is spent on what a header declares"


def read_in_child(folder: Path, threads: int) -> dict[str, Any]:
    """What ``damaged.py`` tells of the files, within two minutes, every warning an error."""
    command = [sys.executable, "-W", "error", str(HERE / "damaged.py"), str(folder), str(threads)]
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result
