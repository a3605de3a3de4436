"""Do several processes train the network that one process trains, and go on when one of them is killed?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from train_comparison import assert_same_run, last

from mezzotint.errors import RunError
from mezzotint.train.loop import _stops
from mezzotint.train.ranks import Ranks, _buckets, described, restarted
from mezzotint.train.run import Run
from mezzotint.train.signals import StopRequest

CONFIG = """
name = "ranks"
threads = 1
[data]
source = "digits"
batch_size = 60
augment = [{{ name = "random_crop", padding = 1 }}]
[model]
name = "{model}"
[sparsity]
density = 0.2
interval = 7
window = 4
[precision]
mode = "{mode}"
init_scale = 16777216.0
[optimizer]
lr = 0.05
clip_norm = 2.0
[schedule]
epochs = 2
[run]
log_every = 1
checkpoint_steps = 5
samples = 0
"""


def torchrun(ranks: int, *words: str | Path, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command = [
        sys.executable,
        *launcher,
        "--monitor-interval",
        "0.2",
        "--max-restarts",
        str(restarts),
        *map(str, words),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, told = process.communicate(timeout=240)
    assert process.returncode == 0, told[-4000:]
    return out


def train(config: Path, folder: Path, ranks: int, *words: str) -> str:
    arguments = ["-m", "mezzotint", "train", config, "-o", folder, *words]
    if ranks > 1:
        return finish(torchrun(ranks, *arguments))
    command = [sys.executable, *map(str, arguments)]
    return finish(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, and beside it its configuration."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "config.toml").write_text(CONFIG.format(model="lenet_300_100", mode="fp32"))
    train(folder / "config.toml", folder / "one", 1)
    return folder


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_end_with_the_topology_and_the_weights_of_one_process(ranks: int, plain: Path, tmp_path: Path) -> None:
    told = train(plain / "config.toml", tmp_path / "run", ranks)
    assert told.count("epoch 2/2") == 1  # rank 0 alone speaks
    assert told.count("test accuracy") == 1
    one, many = last(plain / "one"), last(tmp_path / "run")
    moved = 0
    for name, tensor in one.tensors["model"].items():
        other = many.tensors["model"][name]
        if name.endswith("indices"):
            assert torch.equal(tensor, other), name
            moved += 1
        else:
            # The same sums in another order, over 46 steps.
            torch.testing.assert_close(other, tensor, rtol=1e-3, atol=1e-5)
    assert moved == 3
    assert many.state["counters"]["step"] == one.state["counters"]["step"] == 46
    assert many.state["topology"]["steps"] == 46


def test_two_ranks_go_on_with_one_and_with_three(plain: Path, tmp_path: Path) -> None:
    config = plain / "config.toml"
    process = torchrun(2, "-m", "mezzotint", "train", config, "-o", tmp_path / "run")
    wait_for(tmp_path / "run", 12, process)
    # torchrun hands the signal on; every rank ends after the same step, saved.
    process.terminate()
    _, told = process.communicate(timeout=60)
    stopped = last(tmp_path / "run").state["counters"]["step"]
    assert 12 <= stopped < 46, told
    train(config, tmp_path / "run", 3, "--resume", "--set", "run.checkpoint_steps=3")
    one, many = last(plain / "one"), last(tmp_path / "run")
    for name in ("fc1", "fc2", "fc3"):
        assert torch.equal(one.tensors["model"][f"{name}.indices"], many.tensors["model"][f"{name}.indices"])


def test_a_killed_rank_costs_nothing_but_time(tmp_path: Path) -> None:
    """Batch norms, overflows from the first step on, one rank killed with SIGKILL: the bits are the same."""
    (tmp_path / "config.toml").write_text(CONFIG.format(model="digits_cnn", mode="fp16"))
    train(tmp_path / "config.toml", tmp_path / "whole", 2)
    words = ("-m", "mezzotint", "train", tmp_path / "config.toml", "-o", tmp_path / "cut")
    process = torchrun(2, *words, restarts=1)
    wait_for(tmp_path / "cut", 13, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    finish(process)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    counters = last(tmp_path / "cut").state["counters"]
    assert counters["updates"] < counters["step"]


def wait_for(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the run in ``folder`` has logged ``step``."""
    end = time.monotonic() + 120
    file = folder / "metrics.jsonl"
    while time.monotonic() < end and process.poll() is None:
        if file.is_file() and f'"kind": "step", "step": {step},' in file.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1][-4000:] if process.poll() is not None else "the run is too slow")


SCRIPT = """
import os
import torch
from mezzotint.errors import RunError
from mezzotint.train.ranks import joined

with joined("cpu") as ranks:
    mine = [torch.full((3, 2), ranks.rank + 1.0), torch.tensor([10.0 * ranks.rank]), torch.zeros(0)]
    ranks.sum_(mine)
    assert mine[0].tolist() == [[3.0, 3.0]] * 3 and mine[1].tolist() == [10.0], mine
    assert ranks.payload == 4 * 7
    mean = [torch.tensor([1.0 + ranks.rank])]
    ranks.mean_(mean)
    assert mean[0].item() == 1.5
    assert ranks.totals(1.0, ranks.rank) == [2.0, 1.0]
    assert ranks.from_leader(lambda: {"rank": ranks.rank}) == {"rank": 0}
    poisoned = [torch.tensor([float("nan") if ranks.rank else 1.0])]
    ranks.sum_(poisoned)
    assert not torch.isfinite(poisoned[0]).any()

    def fail():
        raise RunError("no room")

    try:
        ranks.from_leader(fail)
    except RunError as error:
        assert str(error) == "no room"
    else:
        raise AssertionError("rank 0 failed and nobody heard of it")
    ranks.require_equal("patterns", "same")
    try:
        ranks.require_equal("patterns", f"of rank {ranks.rank}")
    except RunError as error:
        assert "patterns: received another one on rank 1 than on rank 0" in str(error), error
    else:
        raise AssertionError("ranks differ and nobody said so")
    import torch._dynamo  # as a model's first trace does
    talking = len(os.listdir("/proc/self/task"))
# A thread of Gloo that is alive when the interpreter ends may abort the process.
assert len(os.listdir("/proc/self/task")) == 1 < talking
print(f"rank {ranks.rank} is content")
"""


def test_what_ranks_say_to_each_other(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    told = finish(torchrun(2, tmp_path / "script.py"))
    assert sorted(re.findall(r"rank \d is content", told)) == ["rank 0 is content", "rank 1 is content"]


def test_a_mistake_is_told_once_and_ends_all_ranks(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    process = torchrun(2, "-m", "mezzotint", "train", plain / "config.toml", "-o", tmp_path / "run")
    _, told = process.communicate(timeout=120)
    assert process.returncode != 0
    assert told.count("error: run folder") == 1
    assert [item.name for item in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_one_process_sends_nothing() -> None:
    ranks = Ranks()
    tensor = torch.ones(3)
    ranks.sum_([tensor])
    ranks.mean_([tensor])
    assert tensor.tolist() == [1.0] * 3
    assert ranks.totals(2.0) == [2.0]
    assert ranks.from_leader(lambda: 5) == 5
    assert ranks.payload == 0


def test_a_signal_that_comes_after_the_vote_waits_for_the_next_one() -> None:
    """Else one rank would stop, and the others wait for it in the next step."""
    stop = StopRequest()

    class Interrupted(Ranks):
        def totals(self, *numbers: float) -> list[float]:
            stop.signal = signal.SIGINT
            return list(numbers)

    run = SimpleNamespace(parts=SimpleNamespace(ranks=Interrupted()), stop=None)
    assert not _stops(cast(Run, run), stop)
    assert run.stop is None
    assert _stops(cast(Run, run), stop)
    assert run.stop == signal.SIGINT


def test_a_stop_that_another_rank_was_asked_for_stops_this_one() -> None:
    class Other(Ranks):
        def totals(self, *numbers: float) -> list[float]:
            return [number + 1 for number in numbers]

    run = SimpleNamespace(parts=SimpleNamespace(ranks=Other()), stop=None)
    assert _stops(cast(Run, run), StopRequest())
    assert run.stop == signal.SIGTERM


def test_buckets_keep_the_order_and_the_type() -> None:
    large = torch.zeros(7 << 20)
    tensors = [torch.zeros(3), torch.zeros(2), large, torch.zeros(5), torch.zeros(4, dtype=torch.float64)]
    assert [[t.numel() for t in bucket] for bucket in _buckets(tensors)] == [[3, 2], [7 << 20], [5], [4]]


def test_the_environment_is_that_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert described() == Ranks()
    assert not restarted()
    for name, value in zip(names, "12122", strict=True):
        monkeypatch.setenv(name, value)
    assert described() == Ranks(rank=1, size=2, local_rank=1, local_size=2)
    assert restarted()
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(RunError, match="RANK=2, WORLD_SIZE=2, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2"):
        described()
