"""Does the doctor find what is slow, and say for every slow spot what to do?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mezzotint.bench.machine import using_threads
from mezzotint.cli import doctor, doctor_speed, main
from mezzotint.kernels import native
from mezzotint.kernels.resources import Resources

QUIET = Resources(logical=4, affinity=4, quota=None, memory=2**34, available=2**33, load=0.0)
STEP = {
    "network": "wrn_16_2",
    "batch": 64,
    "density": 0.1,
    "dense_ms": 100.0,
    "sparse_ms": 40.0,
    "dense_over_sparse": 2.5,
    "images_per_second": 1600.0,
    "spread": 1.1,
}
READING = {"data": "photos", "one_thread": 100.0, "threads": 4, "all_threads": 350.0}


@pytest.fixture
def step_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured training step takes seconds; its own tests are those of the benches."""
    monkeypatch.setattr(doctor_speed, "_step", lambda: dict(STEP))


def told(monkeypatch: pytest.MonkeyPatch, machine: Resources, threads: int = 1) -> str:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    return "\n".join(doctor._machine_advice(machine))


def test_a_machine_without_faults_gets_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert told(monkeypatch, QUIET, threads=4) == ""
    assert doctor_speed.speed_advice({"reading": READING, "step": STEP}) == []


def test_every_fault_has_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = replace(QUIET, quota=2.0)
    assert "control group allows: set threads = 2" in told(monkeypatch, limited, threads=4)
    assert "it may run on" in told(monkeypatch, replace(QUIET, affinity=1), threads=2)
    assert "set threads = 1" in told(monkeypatch, replace(QUIET, load=9.0))
    assert "data.micro_batches" in told(monkeypatch, replace(QUIET, available=2**30))
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 2**62)
    assert "run.keep = 1" in told(monkeypatch, QUIET)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert 'device = "cuda"' in told(monkeypatch, QUIET)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert all("pip install" in sentence for sentence in doctor._package_advice())
    assert len(doctor._package_advice()) == 4
    monkeypatch.setattr(native, "unavailable", lambda: "the native library is missing")
    assert "apt-get install g++" in doctor._kernel_advice()[0]


def test_slow_numbers_have_their_remedy() -> None:
    slow: dict[str, Any] = {
        "reading": {**READING, "all_threads": 110.0},
        "step": {**STEP, "dense_over_sparse": 0.9, "spread": 4.0},
    }
    pack, sparse, noise = doctor_speed.speed_advice(slow)
    assert "mezzotint data pack" in pack
    assert "mezzotint bench train --network wrn_16_2" in sparse
    assert "factor of 4.0" in noise


def test_reading_is_measured_with_given_images(tmp_path: Path, step_in_no_time: None) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (300, 200)).save(tmp_path / name / "1.jpg")
    (tmp_path / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    lines: list[str] = []
    found = doctor_speed.measured(str(tmp_path), seconds=0.05, tell=lines.append)
    assert found["reading"]["one_thread"] > 0
    assert found["reading"]["all_threads"] > 0
    assert "3 images, 2 classes" in found["reading"]["data"]
    assert len(lines) == 2


def test_arrays_and_drawn_images_are_measured_too(step_in_no_time: None) -> None:
    assert doctor_speed.measured("digits", seconds=0.05)["reading"]["one_thread"] > 0
    assert "500 x 375" in doctor_speed.measured(None, seconds=0.05)["reading"]["data"]


def test_the_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_speed, "_BATCH", 1)
    monkeypatch.setattr(doctor_speed, "_NETWORK", "digits_cnn")
    with using_threads(1):
        found = doctor_speed._step()
    assert found["dense_over_sparse"] == pytest.approx(found["dense_ms"] / found["sparse_ms"])
    assert set(found) == set(STEP)


def test_as_a_table_and_for_machines(
    step_in_no_time: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor_speed.measured, "__kwdefaults__", {"seconds": 0.05, "tell": None})
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert "dense 100 ms, density 0.1 40 ms (2.5x)" in shown.out
    assert "measuring" not in shown.out
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"facts", "speed", "advice"}
    assert told["speed"]["step"] == STEP
    assert main(["doctor", "--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["speed"] == {}
    assert main(["doctor", "--data", "nowhere"]) == 2
