"""How are two runs compared? By the bytes of their metrics and the bits of their last checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mezzotint.train import checkpoint

#: Parts of a checkpoint's state that tell of times, or of what the process has met since it began.
APART = ("offsets", "counters", "decisions")


def last(folder: Path) -> checkpoint.Checkpoint:
    """The newest checkpoint of a run."""
    return checkpoint.load(checkpoint.locate(folder))


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """The state without what may differ between processes."""
    kept = {key: value for key, value in state.items() if key not in APART}
    counters = {key: value for key, value in state["counters"].items() if key != "seconds"}
    return {**kept, "counters": counters, "metrics": state["offsets"]["metrics.jsonl"]}


def assert_same_run(one: Path, other: Path) -> None:
    """Equal metrics, weights, patterns, optimiser, topology, loss scale, random state: bit for bit."""
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    first, second = last(one), last(other)
    assert first.folder.name == second.folder.name
    assert comparable(first.state) == comparable(second.state)
    for name in checkpoint.TENSORS:
        ours, theirs = first.tensors[name], second.tensors[name]
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert torch.equal(tensor, theirs[key]), f"{name}: {key}"
