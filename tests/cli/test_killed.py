"""Does a run survive ``kill -9`` and SIGTERM? Real processes, killed in the middle of an epoch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

CONFIG = """
name = "killed"
threads = {threads}
[data]
source = "digits"
batch_size = 50
augment = [{{ name = "random_crop", padding = 1 }}]
[model]
name = "digits_cnn"
[sparsity]
density = 0.2
interval = 9
window = 8
[precision]
mode = "fp16"
init_scale = 16777216.0    # overflows: steps are skipped from the beginning
growth_interval = 6
[optimizer]
lr = 0.02
[schedule]
epochs = 2
[run]
log_every = 1
checkpoint_steps = 8
samples = 0
"""


def start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mezzotint", "train", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*words: str | Path) -> None:
    process = start(*words)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told


def wait_for(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the run in ``folder`` has logged ``step``."""
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None:
        file = folder / "metrics.jsonl"
        if file.exists() and f'"step": {step},' in file.read_text():
            return
        time.sleep(0.005)
    pytest.fail(f"step {step} did not come: {process.communicate()}")


def newest(folder: Path) -> Path:
    return folder / "checkpoints" / (folder / "checkpoints" / "latest").read_text().strip()


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((newest(folder) / "state.json").read_text())
    return found


def assert_same_end(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for name in ("model", "optimizer", "topology"):
        ours = safetensors.torch.load_file(newest(one) / f"{name}.safetensors")
        theirs = safetensors.torch.load_file(newest(other) / f"{name}.safetensors")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items()), name
    assert state(one)["rng"] == state(other)["rng"]
    assert state(one)["precision"] == state(other)["precision"]


KILLER = """
import os, signal, sys
from mezzotint.train import load_config, train
from mezzotint.train.progress import Silent

class Killer(Silent):
    def step(self, view):
        if view.step == 21:
            os.kill(os.getpid(), signal.SIGKILL)

train(load_config(sys.argv[1]), folder=sys.argv[2], progress=Killer())
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_kill_9_in_mid_epoch_then_resume_is_bit_identical(threads: int, tmp_path: Path) -> None:
    config = tmp_path / "killed.toml"
    config.write_text(CONFIG.format(threads=threads))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    killed = subprocess.run([sys.executable, "-c", KILLER, str(config), str(cut)], check=False, timeout=240)
    assert killed.returncode == -signal.SIGKILL
    assert not (cut / "summary.json").exists()
    saved = state(cut)
    assert saved["counters"]["step"] == saved["loader"]["position"] == 16, "in the middle of an epoch of 28"
    assert 0 < saved["precision"]["skipped"] < 16
    assert safetensors.torch.load_file(newest(cut) / "topology.safetensors"), "a window is open"
    assert (cut / "metrics.jsonl").stat().st_size > saved["offsets"]["metrics.jsonl"], "steps are to be done again"
    finish(config, "-o", cut, "--resume")
    finish(config, "-o", whole)
    assert_same_end(whole, cut)


def test_sigterm_saves_and_tells_how_to_go_on(tmp_path: Path) -> None:
    config = tmp_path / "killed.toml"
    config.write_text(CONFIG.format(threads=1).replace("checkpoint_steps = 8", "").replace("epochs = 2", "epochs = 99"))
    process = start(config, "-o", tmp_path / "run")
    wait_for(tmp_path / "run", 5, process)
    process.send_signal(signal.SIGTERM)
    told, problems = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, problems
    assert f"Go on with: mezzotint train {tmp_path / 'run'} --resume" in told
    saved = state(tmp_path / "run")["counters"]["step"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == saved >= 5, "the step under way was finished and saved"
