"""Do the examples run? Each is started as a reader would start it, with few epochs, in a copy of its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: File -> (arguments, what the last line must hold).
RUNS = {
    "plain_loop.py": (["--epochs", "2"], "weights"),
    "own_method.py": ([], "test accuracy"),
    "finetune_dense.py": (["--epochs", "1"], "trained on"),
    "two_ranks.py": (["--epochs", "1"], "1 processes"),
    "export_and_run.py": (["--epochs", "1"], "right: ["),
    "lightning_module.py": (["--epochs", "1"], "test accuracy"),
    "hf_trainer.py": (["--epochs", "1"], "test accuracy"),
}
NEEDS = {"lightning_module.py": ["lightning"], "hf_trainer.py": ["transformers", "accelerate"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("runs", "operator_package"))
    return tmp_path / "examples"


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_example(name: str, folder: Path) -> None:
    for package in NEEDS.get(name, []):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    arguments, expected = RUNS[name]
    if name == "own_method.py":  # its epochs are the configuration's
        text = (folder / "digits.toml").read_text(encoding="utf-8").replace("epochs = 10", "epochs = 2")
        (folder / "digits.toml").write_text(text, encoding="utf-8")
    told = run([sys.executable, name, *arguments], folder)
    assert expected in told.splitlines()[-1]


def test_two_ranks(folder: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = run([*launch, "two_ranks.py", "--epochs", "1"], folder)
    assert "2 processes: test accuracy" in told


def test_configuration_runs_with_an_own_method(folder: Path) -> None:
    settings = ["--set", "schedule.epochs=1", "sparsity.method=own_method:BusyChannels"]
    told = run([sys.executable, "-m", "mezzotint", "train", "digits.toml", *settings], folder)
    assert "test accuracy" in told
    record = (folder / "runs" / "digits" / "summary.json").read_text(encoding="utf-8")
    assert '"method": "own_method:BusyChannels"' in record
